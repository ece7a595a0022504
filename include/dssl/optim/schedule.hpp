// Schedules: values that change with the step or the epoch.
#pragma once

#include <cmath>
#include <numbers>

#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A cosine from `start` to `end` over the steps after a linear warm-up from 0; one value a step.
struct CosineSchedule {
  double start = 0;
  double end = 0;
  Index steps = 1;         ///< of the whole run, warm-up included
  Index warmup_steps = 0;  ///< value 0 at step 0, `start` at step warmup_steps - 1

  /// Source: the published schedule (a linear ramp with both ends, then a cosine over what is left).
  /// Test: fixtures `training_*`.
  [[nodiscard]] double operator()(Index step) const {
    if (step < warmup_steps) {
      return warmup_steps == 1 ? 0.0 : start * static_cast<double>(step) / static_cast<double>(warmup_steps - 1);
    }
    const double progress = static_cast<double>(step - warmup_steps) / static_cast<double>(steps - warmup_steps);
    return end + 0.5 * (start - end) * (1.0 + std::cos(std::numbers::pi * progress));
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
