// Steps of small models, for tests of what they allocate.
#pragma once

#include <span>
#include <vector>

#include <dssl/train/training_step.hpp>

#include "cuda/kinds.hpp"
#include "train/tiny_model.hpp"

namespace dssl::test {

inline constexpr ViTConfig planned_size{.image = 16, .patch = 4, .width = 24, .depth = 2, .heads = 2, .channels = 3};
inline constexpr HeadConfig planned_head{.hidden = 40, .bottleneck = 8, .prototypes = 96};
inline constexpr HeadConfig normed_head{.hidden = 40, .bottleneck = 8, .prototypes = 96, .batch_norm = true};

template <AttentionRelation R>
using PlannedDense = TinyRecipe<ReferenceTokens<R>, ImageAndPointLoss, planned_size, planned_head>;
using PlannedDino = TinyRecipe<ClassToken, ImageLoss, planned_size, planned_head>;
using PlannedSampled = TinyRecipe<FeatureMap, ImageAndPointLoss, planned_size, planned_head>;
using PlannedNormed = TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, planned_size, normed_head>;

inline StepOptions planned_options() {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 3, .points = 3, .views = {{16, 16}, {16, 16}, {8, 12}}};
  return options;
}

/// Puts drawn weights into student and teacher.
template <class Recipe, class B>
void draw_into(const B& backend, TrainingStep<Recipe, B>& step) {
  using T = typename B::Scalar;
  const std::vector<T> weights = drawn_weights<T>(step.layout(), 1, 0.1);
  backend.upload(step.student().data(), std::span<const T>(weights));
  backend.upload(step.teacher().data(), std::span<const T>(weights));
}

/// The step of that number, with everything that a run does in it.
template <class Recipe, class B>
StepReport one_step(TrainingStep<Recipe, B>& step, Index number, double teacher_temperature = 0.1) {
  StepReport report;
  step.begin();
  step.forward_backward(report, drawn_batch(step.options().shape, 5, 2 * number), teacher_temperature);
  step.update(report, {.optimiser = {.learning_rate = 1e-3, .step = number}, .teacher_momentum = 0.99});
  step.inspect(report);
  return report;
}

template <class Recipe, class B>
void two_steps(const B& backend, TrainingStep<Recipe, B>& step) {
  draw_into(backend, step);
  for (Index number = 0; number < 2; ++number) static_cast<void>(one_step(step, number));
}

}  // namespace dssl::test
