// What changes over a run from step to step, and how: the options' numbers as schedules.
// Tests: tests/train/trainer.cpp, tests/optim/schedule.cpp.
#pragma once

#include <algorithm>

#include <dssl/core/tensor_view.hpp>
#include <dssl/optim/schedule.hpp>
#include <dssl/train/options.hpp>

namespace dssl {

/// The schedules of a run.
struct RunSchedules {
  CosineSchedule learning_rate, weight_decay, momentum;
  EpochWarmup temperature;
  Index frozen_steps = 0;  ///< at the start, in which prototypes stay as they are
};

/// Those of a run of `options.epochs` epochs of so many steps; the peak learning rate is options.optimiser.learning_rate
/// * (images of an update) / 256.
[[nodiscard]] inline RunSchedules run_schedules(const RunOptions& options, Index epoch_steps) {
  const Index steps = options.epochs * epoch_steps;
  const auto& o = options.optimiser;
  const auto& t = options.teacher;
  const double peak = o.learning_rate * static_cast<double>(options.update_images()) / 256.0;
  return {.learning_rate = {.start = peak,
                            .end = o.final_learning_rate,
                            .steps = steps,
                            .warmup_steps = std::min(o.warmup_epochs, options.epochs) * epoch_steps},
          .weight_decay = {.start = o.weight_decay, .end = o.final_weight_decay, .steps = steps},
          .momentum = {.start = t.momentum, .end = t.final_momentum, .steps = steps},
          .temperature = {.start = t.warmup_temperature,
                          .end = t.temperature,
                          .warmup_epochs = t.warmup_temperature_epochs},
          .frozen_steps = std::min(o.freeze_prototypes_epochs, options.epochs) * epoch_steps};
}

}  // namespace dssl
