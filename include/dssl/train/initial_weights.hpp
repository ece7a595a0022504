// Beginning a run with weights that are there already, or with positions that are not drawn.
// Tests: tests/train/initial_weights.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/sincos.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// Begins a run with a backbone's weights, in the student, in its teacher and in a copy of that; heads stay as they were
/// drawn, and so do mask and reference tokens and the norm of local views' class tokens that the file does not have.
///
/// `trainer`: a `Trainer` before its first step. `file`: what `load_backbone` reads, as a checkpoint's or a `BackboneFile` with
/// the prefix "". Its heads, optimiser and other networks are left. Throws `CheckpointError` as `load_backbone`, and `Error`
/// after a first step; nothing has changed then.
template <class Run>
LoadedBackbone begin_with(Run& trainer, const TensorFile& file, std::optional<std::string> prefix = std::nullopt) {
  if (trainer.steps_done() > 0) {
    throw Error(join("begin_with: ", trainer.steps_done(), " steps were made already; expected a run before its first step"));
  }
  const auto& step = trainer.step();
  using Step = std::remove_cvref_t<decltype(step)>;
  using T = typename Step::T;
  constexpr std::string_view own = "backbone.";
  if (!prefix) prefix = backbone_prefix(file);
  const auto in_both = [&](std::string_view token) {
    bool known = false;
    for (const ParameterSpec& spec : step.layout().specs()) known = known || spec.name.view() == join(own, token);
    return known && file.contains(join(*prefix, token));
  };
  ParameterLayout layout;
  auto sizes = step.config().backbone;
  if constexpr (requires { sizes.local_class_norm; }) {
    sizes.local_class_norm = sizes.local_class_norm && in_both("local_cls_norm.weight");
  }
  Step::Backbone::add_parameters(
      layout, sizes,
      LearnedTokens{.reference = in_both("ref_learn_token"), .mask = in_both("mask_token")}, "");
  std::vector<T> values(static_cast<std::size_t>(layout.total()));
  LoadedBackbone loaded = load_fresh_backbone(std::span<T>(values), layout, file, *prefix);
  for (const ParameterSpec& spec : layout.specs()) {
    const ParameterSpec& to = step.layout().find(join(own, spec.name.view()));
    const auto from = std::span<const T>(values).subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
    for (const VectorView<T> network : {step.student(), step.teacher(), step.snapshot()}) {
      if (!network.empty()) step.backend().upload(network.data() + to.offset, from);
    }
  }
  return loaded;
}

/// Begins a run with a position table of sines and cosines (`sincos_positions`, as MAE's), scaled to this root mean square,
/// in the place of drawn positions, whose standard deviation is 0.02: in student, teacher and a copy of that. It is trained
/// from there.
///
/// `trainer`: a `Trainer` before its first step, of a backbone with a table (`patch_pos_embed`). Throws `OptionError` for no
/// positive number, `ShapeError` for a width that is no multiple of 4, `Error` for a backbone without a table and after a
/// first step; nothing has changed then.
template <class Run>
void begin_with_sincos(Run& trainer, double root_mean_square) {
  if (!(root_mean_square > 0) || !std::isfinite(root_mean_square)) {
    throw OptionError("root_mean_square", root_mean_square, "a number above 0");
  }
  if (trainer.steps_done() > 0) {
    throw Error(join("begin_with_sincos: ", trainer.steps_done(), " steps were made already; expected a run before its first step"));
  }
  const auto& step = trainer.step();
  using T = typename std::remove_cvref_t<decltype(step)>::T;
  const ParameterSpec& spec = step.layout().find("backbone.patch_pos_embed");
  const Index width = step.config().backbone.width;
  std::vector<T> values(static_cast<std::size_t>(spec.size));
  sincos_positions(MatrixView<T>(values.data(), spec.size / width, width), step.config().backbone.native_grid(),
                   SincosOrder::column_first);
  // Sine and cosine of one angle: half of the squares' sum is 1.
  for (T& value : values) value = static_cast<T>(static_cast<double>(value) * root_mean_square * std::sqrt(2.0));
  for (const VectorView<T> network : {step.student(), step.teacher(), step.snapshot()}) {
    if (!network.empty()) step.backend().upload(network.data() + spec.offset, std::span<const T>(values));
  }
}

}  // namespace dssl
