// AdamW, SGD and LARS over one flat parameter buffer.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// Which optimiser updates the student.
enum class OptimiserKind : std::uint8_t { adamw, sgd, lars };

/// The name that programs and checkpoints use.
[[nodiscard]] constexpr std::string_view name_of(OptimiserKind kind) {
  return kind == OptimiserKind::adamw ? "adamw" : kind == OptimiserKind::sgd ? "sgd" : "lars";
}

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
  double clip = 3.0;                   ///< norm of each parameter tensor's gradient; 0: no clipping
  Index freeze_prototypes_epochs = 1;  ///< epochs at the start in which the prototypes are not updated

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const;
};

#if defined(DSSL_WITH_DEFINITIONS)
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

/// The optimiser's state beside the flat parameter buffer.
template <class T>
class OptimiserState {
 public:
  OptimiserState() = default;

  template <Backend B>
  static OptimiserState place(const B& backend, Arena& arena, const ParameterLayout& layout, OptimiserKind kind) {
    OptimiserState state;
    state.x_segments = place_copy(backend, arena, layout.segments(false));
    state.x_frozen_segments = place_copy(backend, arena, layout.segments(true));
    state.x_norms = arena.vector<double>(static_cast<Index>(layout.size()));
    state.x_first = arena.vector<T>(layout.total());
    if (kind == OptimiserKind::adamw) state.x_second = arena.vector<T>(layout.total());
    return state;
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

  /// One update of the weights from gradients that were measured before, and of the teacher, which follows them:
  /// teacher = momentum teacher + (1 - momentum) weights.
  ///
  /// Clipping acts on each tensor. During the first `frozen_steps` updates prototypes are skipped whole: no
  /// decay, no moments; their AdamW bias correction counts from their own first update. The teacher follows all tensors;
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
                                   .prototype_step = now.step + 1 - now.frozen_steps,
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

  VectorView<const Segment> x_segments;
  VectorView<const Segment> x_frozen_segments;
  VectorView<double> x_norms;
  VectorView<T> x_first;
  VectorView<T> x_second;
};

}  // namespace dssl
