// Steps of the published recipe on backbones with options of other families, on any backend.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "train/tiny_heads.hpp"
#include "train/tiny_model.hpp"

#include <dssl/loss/objective.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/training_step.hpp>

namespace dssl::test {

/// As DINOv2's with registers: LayerScale, SwiGLU, an antialiased table.
inline constexpr ViTConfig options_of_dinov2{.image = 8,
                                             .patch = 2,
                                             .width = 8,
                                             .depth = 2,
                                             .heads = 2,
                                             .mlp_ratio = 3,
                                             .channels = 1,
                                             .registers = 2,
                                             .position_rule = PositionRule::size_antialiased,
                                             .swiglu = true,
                                             .layer_scale = true,
                                             .layer_scale_exponent = 0};
/// As DINOv3's: rotary positions, keys without bias, another epsilon; and norms of queries and keys.
inline constexpr ViTConfig options_of_dinov3{.image = 8,
                                             .patch = 2,
                                             .width = 8,
                                             .depth = 2,
                                             .heads = 2,
                                             .mlp_ratio = 2,
                                             .channels = 1,
                                             .registers = 1,
                                             .positions = Positions::rotary,
                                             .qkv_bias = QkvBias::no_key,
                                             .norm_exponent = 5,
                                             .layer_scale = true,
                                             .qk_norm = true};

/// As DINOv3's, with last norms of class tokens' own: in all views, and in local ones.
inline constexpr ViTConfig options_of_class_norms{.image = 8,
                                                  .patch = 2,
                                                  .width = 8,
                                                  .depth = 2,
                                                  .heads = 2,
                                                  .mlp_ratio = 2,
                                                  .channels = 1,
                                                  .class_norm = true,
                                                  .local_class_norm = true};

template <ViTConfig Size>
using WithOptions = TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, Size, tiny_head>;

inline StepOptions option_step(bool recompute, bool stream_views) {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 1, .points = 2, .views = {{8, 8}, {8, 8}, {4, 6}}};
  options.loss.student_temperature = 0.3;
  options.loss.image_all_views = true;  // local views have norms of their own
  options.recompute = recompute;
  options.stream_views = stream_views;
  return options;
}

/// The same weights and batch for a step on any backend.
template <class Step>
ViewBatch prepare(Step& step, const StepOptions& options) {
  using T = typename Step::T;
  const auto student = drawn_weights<T>(step.layout(), 1), teacher = drawn_weights<T>(step.layout(), 2);
  step.backend().upload(step.student().data(), std::span<const T>(student));
  step.backend().upload(step.teacher().data(), std::span<const T>(teacher));
  return drawn_batch(options.shape, 5);
}

/// The loss of a step and its gradients, tensor by tensor.
struct StepOutcome {
  double loss = 0;
  std::vector<std::pair<std::string, std::vector<double>>> gradients;
};

/// `dropped`: which of every few branches of sequences stochastic depth drops; 0: there is none.
template <class Recipe, class B>
StepOutcome outcome_of(const B& backend, bool recompute = false, bool stream_views = false, std::size_t dropped = 0) {
  using T = typename B::Scalar;
  StepOptions options = option_step(recompute, stream_views);
  if (dropped > 0) options.stochastic_depth = 0.2;
  TrainingStep<Recipe, B> step(backend, options);
  const ViewBatch batch = prepare(step, options);
  std::vector<T> keep(dropped > 0 ? static_cast<std::size_t>(step.keep_size()) : 0, T(1.25));
  for (std::size_t i = 0; i < keep.size(); i += dropped) keep[i] = 0;
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4, keep);
  std::vector<T> flat(static_cast<std::size_t>(step.gradients().size()));
  step.backend().download(std::span<T>(flat), static_cast<const T*>(step.gradients().data()));
  StepOutcome out{.loss = report.loss, .gradients = {}};
  for (const auto& spec : step.layout().specs()) {
    const auto part = tensor_of<T>(flat, spec);
    out.gradients.emplace_back(spec.name.view(), std::vector<double>(part.begin(), part.end()));
  }
  return out;
}

}  // namespace dssl::test
