// AdamW, SGD and LARS over one flat parameter buffer.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <system_error>
#include <tuple>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/rank_part.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// Which optimiser updates the student.
enum class OptimiserKind : std::uint8_t { adamw, sgd, lars };

/// The name that programs and checkpoints use.
[[nodiscard]] constexpr std::string_view name_of(OptimiserKind kind) {
  return kind == OptimiserKind::adamw ? "adamw" : kind == OptimiserKind::sgd ? "sgd" : "lars";
}

/// Which gradients are clipped together, by the norm of all of them.
enum class ClipOver : std::uint8_t {
  tensor,  ///< each tensor by itself (DINO)
  part,    ///< the backbone, and each head (DINOv2)
  network  ///< all of it
};

/// The name that programs and checkpoints use.
[[nodiscard]] constexpr std::string_view name_of(ClipOver over) {
  return over == ClipOver::tensor ? "tensor" : over == ClipOver::part ? "part" : "network";
}

/// Learning rates of single tensors, in times of the run's.
///
/// A tensor's rate is the product of those that concern it:
///  - layer_decay^(L + 1 - l), L blocks: l = 0 for what comes before the first block (embeddings, positions, tokens),
///    b + 1 for block b, L + 1 for everything else (last norm, heads);
///  - patch_embedding, for the patch embedding;
///  - vectors, for tensors of one dimension (biases, norms).
/// Sources: BEiT's layer-wise decay as DINOv2 has it, and its 0.2 for the patch embedding; Barlow Twins' own rate for
/// biases (0.001 with LARS). Test: tests/optim/rates.cpp; the fixtures training_barlow, training_dinov2_*.
struct RateOptions {
  double layer_decay = 1;
  double patch_embedding = 1;
  double vectors = 1;

  [[nodiscard]] constexpr bool operator==(const RateOptions&) const = default;
  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const;
};

/// Numbers of the optimisation; defaults are the published ones.
struct OptimiserOptions {
  OptimiserKind kind = OptimiserKind::adamw;
  double learning_rate = 5e-4;         ///< for 256 images; the peak is this * batch * accumulate / 256
  double final_learning_rate = 1e-6;   ///< at the end of the run, not scaled
  Index warmup_epochs = 10;            ///< of the learning rate, from 0
  double weight_decay = 0.04;
  double final_weight_decay = 0.4;
  double beta1 = 0.9;                  ///< AdamW
  double beta2 = 0.999;                ///< AdamW
  double epsilon = 1e-8;               ///< AdamW
  double momentum = 0.9;               ///< SGD and LARS
  double trust = 0.001;                ///< LARS: eta
  double clip = 3.0;                   ///< largest norm of a gradient; 0: no clipping
  ClipOver clip_over = ClipOver::tensor;  ///< of which gradients that is the norm
  RateOptions rates{};                 ///< of single tensors
  Index freeze_prototypes_epochs = 1;  ///< epochs at the start in which the prototypes are not updated
  bool frozen_moments = false;         ///< moments of frozen prototypes go on (DINOv2: their rate is 0), or are left alone

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const;
};

/// The layout as an optimiser sees it. Prototypes are left alone where `freeze_prototypes`, or their rate is 0 where
/// `frozen_moments` besides. Throws `OptionError` where a layer decay is asked for and no tensor is of a numbered block.
[[nodiscard]] std::vector<Segment> optimiser_segments(const ParameterLayout& layout, const OptimiserOptions& options,
                                                      bool freeze_prototypes);
/// For each tensor the number of the first that its gradient is clipped together with.
[[nodiscard]] std::vector<std::size_t> clipped_together(const ParameterLayout& layout, ClipOver over);

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

inline constexpr std::string_view backbone_prefix = "backbone.";

/// The number of the block that a tensor is of, `backbone.blocks.B.*`; -1: of none.
[[nodiscard]] inline Index block_of(std::string_view name) {
  return name.starts_with(backbone_prefix) ? block_number(name.substr(backbone_prefix.size())) : -1;
}

/// A backbone's tensor that no block has before it.
[[nodiscard]] inline bool before_blocks(std::string_view name) {
  return name.starts_with(backbone_prefix) && block_of(name) < 0 && !is_last_norm(name.substr(backbone_prefix.size()));
}

}  // namespace detail

DSSL_INLINE void RateOptions::validate() const {
  const auto times = [](std::string_view name, double value) {
    if (!(value > 0 && value <= std::numeric_limits<double>::max())) throw OptionError(name, value, "above 0");
  };
  if (!(layer_decay > 0 && layer_decay <= 1)) throw OptionError("optimiser.rates.layer_decay", layer_decay, "above 0, at most 1");
  times("optimiser.rates.patch_embedding", patch_embedding);
  times("optimiser.rates.vectors", vectors);
}

DSSL_INLINE std::vector<Segment> optimiser_segments(const ParameterLayout& layout, const OptimiserOptions& options,
                                                    bool freeze_prototypes) {
  const RateOptions& rates = options.rates;
  std::vector<Segment> segments = layout.segments(freeze_prototypes && !options.frozen_moments);
  Index blocks = 0;
  for (const ParameterSpec& spec : layout.specs()) {
    blocks = std::max(blocks, detail::block_of(spec.name.view()) + 1);
  }
  if (rates.layer_decay != 1 && blocks == 0) {
    throw OptionError("optimiser.rates.layer_decay", rates.layer_decay, "1 for a backbone without numbered blocks");
  }
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const ParameterSpec& spec = layout.specs()[s];
    const std::string_view name = spec.name.view();
    const Index block = detail::block_of(name);
    const Index layer = block >= 0 ? block + 1 : detail::before_blocks(name) ? 0 : blocks + 1;
    double rate = std::pow(rates.layer_decay, static_cast<double>(blocks + 1 - layer));
    if (name.starts_with("backbone.patch_embed.")) rate *= rates.patch_embedding;
    if (spec.rank < 2) rate *= rates.vectors;
    segments[s].rate = spec.prototype && freeze_prototypes ? 0.0 : rate;
  }
  return segments;
}

DSSL_INLINE std::vector<std::size_t> clipped_together(const ParameterLayout& layout, ClipOver over) {
  const auto part_of = [](const ParameterSpec& spec) { return spec.name.view().substr(0, spec.name.view().find('.')); };
  std::vector<std::size_t> with;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    std::size_t first = over == ClipOver::network ? 0 : i;
    if (over == ClipOver::part) {
      first = 0;
      while (part_of(layout.specs()[first]) != part_of(layout.specs()[i])) ++first;
    }
    with.push_back(first);
  }
  return with;
}

DSSL_INLINE void OptimiserOptions::validate() const {
  const auto finite = [](std::string_view name, double value) {
    if (value > std::numeric_limits<double>::max()) throw OptionError(name, value, "a finite number");
  };
  const auto not_negative = [&](std::string_view name, auto value) {
    if (!(value >= 0)) throw OptionError(name, value, "at least 0");
    finite(name, static_cast<double>(value));
  };
  const auto decay_rate = [](std::string_view name, double value) {
    if (!(value >= 0 && value < 1)) throw OptionError(name, value, "at least 0 and below 1");
  };
  not_negative("optimiser.learning_rate", learning_rate);
  not_negative("optimiser.final_learning_rate", final_learning_rate);
  not_negative("optimiser.warmup_epochs", warmup_epochs);
  not_negative("optimiser.weight_decay", weight_decay);
  not_negative("optimiser.final_weight_decay", final_weight_decay);
  decay_rate("optimiser.beta1", beta1);
  decay_rate("optimiser.beta2", beta2);
  decay_rate("optimiser.momentum", momentum);
  if (!(epsilon > 0)) throw OptionError("optimiser.epsilon", epsilon, "above 0");
  if (!(trust > 0)) throw OptionError("optimiser.trust", trust, "above 0");
  finite("optimiser.epsilon", epsilon);
  finite("optimiser.trust", trust);
  rates.validate();
  not_negative("optimiser.clip", clip);
  not_negative("optimiser.freeze_prototypes_epochs", freeze_prototypes_epochs);
}
#endif

/// Numbers of one update.
struct UpdateStep {
  double learning_rate = 0;
  double weight_decay = 0;
  Index step = 0;                ///< updates made before this one
  Index frozen_steps = 0;        ///< updates at the start in which prototypes stay as they are
};

/// Numbers of one update of student and teacher that change from step to step.
struct UpdateNumbers {
  UpdateStep optimiser{};
  double teacher_momentum = 1;
};

/// The optimiser's state beside the flat parameter buffer.
template <class T>
class OptimiserState {
 public:
  OptimiserState() = default;

  /// Of all weights.
  template <Backend B>
  static OptimiserState place(const B& backend, Arena& arena, const ParameterLayout& layout,
                              const OptimiserOptions& options) {
    return place(backend, arena, layout, options, RankPart::all(layout.total()));
  }
  /// Of a part of them, which is all that is measured and updated: views that are handed over are of the part.
  template <Backend B>
  static OptimiserState place(const B& backend, Arena& arena, const ParameterLayout& layout,
                              const OptimiserOptions& options, const RankPart& part) {
    OptimiserState state;
    state.x_part = part;
    const auto of_part = [&](std::vector<Segment> segments) {
      for (Segment& segment : segments) std::tie(segment.offset, segment.size) = part.overlap(segment.offset, segment.size);
      return segments;
    };
    state.x_segments = place_copy(backend, arena, of_part(optimiser_segments(layout, options, false)));
    state.x_frozen_segments = place_copy(backend, arena, of_part(optimiser_segments(layout, options, true)));
    if (options.clip > 0 && options.clip_over != ClipOver::tensor) {
      state.x_together = clipped_together(layout, options.clip_over);
    }
    state.x_norms = arena.vector<double>(static_cast<Index>(layout.size()));
    state.x_first = arena.vector<T>(part.size);
    if (options.kind == OptimiserKind::adamw) state.x_second = arena.vector<T>(part.size);
    return state;
  }

  [[nodiscard]] const RankPart& part() const { return x_part; }
  /// The part of a flat buffer of all weights; empty of an empty one.
  template <class U>
  [[nodiscard]] VectorView<U> part_of(VectorView<U> flat) const {
    return flat.empty() ? flat : VectorView<U>(flat.data() + x_part.first, x_part.size);
  }

  /// First moment (AdamW) or momentum (SGD, LARS); second moment (AdamW only, else empty).
  [[nodiscard]] VectorView<T> first() const { return x_first; }
  [[nodiscard]] VectorView<T> second() const { return x_second; }
  /// Squared norm of each tensor's gradient, after `measure`.
  [[nodiscard]] VectorView<const double> squared_norms() const { return x_norms; }

  /// Squared norms of the gradients, a tensor each.
  template <Backend B>
  void measure(const B& backend, VectorView<const T> gradients) const {
    backend.squared_norms(x_norms, gradients, x_segments);
  }

  /// Squared norms of the gradients that are clipped together in the place of each tensor's own. `norms`: those of
  /// `measure`, on the host, or of several parts their sums (`of_parts`); overwritten where there is something to do.
  template <Backend B>
  void share_norms(const B& backend, std::span<double> norms, bool of_parts = false) const {
    if (x_together.empty() && !of_parts) return;
    for (std::size_t i = 0; i < x_together.size(); ++i) {
      if (x_together[i] != i) norms[x_together[i]] += norms[i];
    }
    for (std::size_t i = 0; i < x_together.size(); ++i) norms[i] = norms[x_together[i]];
    backend.upload(x_norms.data(), std::span<const double>(norms));
  }

  /// One update of the weights from gradients that were measured before, and of the teacher, which follows them:
  /// teacher = momentum teacher + (1 - momentum) weights.
  ///
  /// Clipping acts on each tensor, or as `share_norms` says. During the first `frozen_steps` updates prototypes are
  /// skipped whole: no decay, no moments; their AdamW bias correction counts from their own first update. With
  /// `frozen_moments` their rate is 0, and moments and bias correction go on. The teacher follows all tensors;
  /// an empty one is none.
  /// Cost: one pass over weights, moments, gradients and teacher where the backend can (AdamW: 36 bytes a parameter
  /// in float), else another pass for the teacher (40 bytes).
  /// Test: fixtures `training_*`.
  template <Backend B>
  void update(const B& backend, VectorView<T> weights, VectorView<T> teacher, VectorView<const T> gradients,
              const OptimiserOptions& options, const UpdateStep& now, double momentum) const {
    const auto segments = now.step < now.frozen_steps ? x_frozen_segments : x_segments;
    if (teacher.empty()) return x_step(backend, weights, gradients, segments, options, now);
    if constexpr (FusedUpdate<B>) {
      x_step(backend, weights, gradients, segments, options, now, teacher, momentum);
    } else {
      x_step(backend, weights, gradients, segments, options, now);
      backend.lerp(teacher, weights, momentum);
    }
  }

 private:
  /// `follow`: what the fused steps take besides.
  template <Backend B, class... Follow>
  void x_step(const B& backend, VectorView<T> weights, VectorView<const T> gradients,
              VectorView<const Segment> segments, const OptimiserOptions& options, const UpdateStep& now,
              const Follow&... follow) const {
    if (options.kind == OptimiserKind::adamw) {
      backend.adamw_step(weights, x_first, x_second, gradients, x_norms, segments,
                         AdamWStep{.learning_rate = now.learning_rate,
                                   .weight_decay = now.weight_decay,
                                   .beta1 = options.beta1,
                                   .beta2 = options.beta2,
                                   .epsilon = options.epsilon,
                                   .step = now.step + 1,
                                   .prototype_step = now.step + 1 - (options.frozen_moments ? 0 : now.frozen_steps),
                                   .clip = options.clip},
                         follow...);
      return;
    }
    const MomentumStep step{.learning_rate = now.learning_rate,
                            .weight_decay = now.weight_decay,
                            .momentum = options.momentum,
                            .trust = options.trust,
                            .clip = options.clip};
    if (options.kind == OptimiserKind::sgd) {
      backend.sgd_step(weights, x_first, gradients, x_norms, segments, step, follow...);
    } else {
      backend.lars_step(weights, x_first, gradients, x_norms, segments, step, follow...);
    }
  }

  RankPart x_part;
  VectorView<const Segment> x_segments;
  VectorView<const Segment> x_frozen_segments;
  std::vector<std::size_t> x_together;  // empty: each tensor is clipped by itself
  VectorView<double> x_norms;
  VectorView<T> x_first;
  VectorView<T> x_second;
};

}  // namespace dssl
