// Beginning a run with weights that are there already.
// Tests: tests/train/initial_weights.cpp.
#pragma once

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
  LoadedBackbone loaded = load_backbone(std::span<T>(values), layout, file, *prefix);
  for (const ParameterSpec& spec : layout.specs()) {
    const ParameterSpec& to = step.layout().find(join(own, spec.name.view()));
    const auto from = std::span<const T>(values).subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
    for (const VectorView<T> network : {step.student(), step.teacher(), step.snapshot()}) {
      if (!network.empty()) step.backend().upload(network.data() + to.offset, from);
    }
  }
  return loaded;
}

}  // namespace dssl
