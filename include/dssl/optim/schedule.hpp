// Schedules: values that change with the step or the epoch.
#pragma once

#include <cmath>
#include <numbers>

#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A cosine from `start` to `end` over the steps after a linear warm-up; one value a step, and `end` from step `steps`
/// on.
struct CosineSchedule {
  double start = 0;
  double end = 0;
  Index steps = 1;         ///< of the whole run, frozen steps and warm-up included
  Index warmup_steps = 0;  ///< value `warmup_start` at the first, `start` at the last, and again at the cosine's first
  double warmup_start = 0;
  Index frozen_steps = 0;  ///< before the warm-up, with value 0: DINOv2's rate of prototypes
  /// In times of its steps, how much longer the cosine is than what the run sees of it (DINOv3: trunc_extra). What it
  /// sees is stretched to `end`, which its last step has: where the cosine is still steep, not flat.
  double truncated = 0;

  /// Source: the published schedule (a linear ramp with both ends, then a cosine over what is left).
  /// Test: tests/optim/schedule.cpp, fixtures `schedules`, `training_*`.
  [[nodiscard]] double operator()(Index step) const {
    if (step < frozen_steps) return 0.0;
    const Index warm = step - frozen_steps;
    if (warm < warmup_steps) {
      if (warmup_steps == 1) return warmup_start;
      return warmup_start + (start - warmup_start) * static_cast<double>(warm) / static_cast<double>(warmup_steps - 1);
    }
    if (step >= steps) return end;
    const Index fall = steps - frozen_steps - warmup_steps;
    const auto now = static_cast<double>(warm - warmup_steps);
    if (truncated == 0) {
      return end + 0.5 * (start - end) * (1.0 + std::cos(std::numbers::pi * (now / static_cast<double>(fall))));
    }
    if (fall == 1) return start;
    const double last_of_all = std::floor((1.0 + truncated) * static_cast<double>(fall)) - 1.0;
    const double cut = std::cos(std::numbers::pi * (static_cast<double>(fall - 1) / last_of_all));
    return end + (start - end) * (std::cos(std::numbers::pi * (now / last_of_all)) - cut) / (1.0 - cut);
  }
};

/// A linear warm-up from `start` towards `peak`, a cosine from `peak` to `end`, then `end`; one value a step.
///
/// The cosine's first step has `peak`, which the warm-up stops short of, and its last has `end`: other steps than
/// `CosineSchedule`'s. Source: dinov3 6876159 linear_warmup_cosine_decay. Test: tests/optim/schedule.cpp, fixture
/// `schedules`.
struct PeakSchedule {
  double start = 0;
  double peak = 0;
  double end = 0;
  Index warmup_steps = 0;
  Index cosine_steps = 1;

  [[nodiscard]] double operator()(Index step) const {
    if (step < warmup_steps) {
      return start + (peak - start) * static_cast<double>(step) / static_cast<double>(warmup_steps);
    }
    const Index now = step - warmup_steps;
    if (now >= cosine_steps) return end;
    if (now == 0) return peak;
    const double progress = static_cast<double>(now) / static_cast<double>(cosine_steps - 1);
    return end + 0.5 * (peak - end) * (1.0 + std::cos(std::numbers::pi * progress));
  }
};

/// A linear warm-up over some epochs, then constant; one value an epoch.
struct EpochWarmup {
  double start = 0.04;
  double end = 0.04;
  Index warmup_epochs = 0;  ///< value `start` at epoch 0, `end` at epoch warmup_epochs - 1

  [[nodiscard]] double operator()(Index epoch) const {
    if (epoch >= warmup_epochs || warmup_epochs == 1) return epoch < warmup_epochs ? start : end;
    return start + (end - start) * static_cast<double>(epoch) / static_cast<double>(warmup_epochs - 1);
  }
};

}  // namespace dssl
