// Every number of a training run, with the published values as defaults.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/optim/optimiser.hpp>
#include <dssl/views/multi_crop.hpp>

namespace dssl {

/// Numbers of the teacher.
struct TeacherOptions {
  double momentum = 0.996;              ///< of the moving average, rising to `final_momentum`
  double final_momentum = 1.0;
  double temperature = 0.04;            ///< after the warm-up
  double warmup_temperature = 0.04;     ///< at the first epoch
  Index warmup_temperature_epochs = 0;
};

/// Everything a `Trainer` can be told at run time.
struct TrainerOptions {
  Index epochs = 100;
  Index batch = 64;        ///< images a forward pass
  Index accumulate = 1;    ///< forward passes an update; gradients and centres average over all of them
  std::uint64_t seed = 0;
  Index channels = 0;      ///< of the images; 0: the backbone's own number
  Index prototypes = 0;    ///< of each head; 0: the head's own number
  Index points = 0;        ///< a view pair; 0: the sampler's own number
  double stochastic_depth = 0.1;  ///< rate of the last block
  OptimiserOptions optimiser;
  TeacherOptions teacher;
  LossOptions loss;
  MultiCropOptions views;
  Index prefetch = 0;             ///< images prepared ahead; 0: two batches
  double max_unreadable = 0.1;    ///< share of unreadable images that ends the run
  std::string checkpoint;         ///< file that is written after every epoch; empty: none
  Index checkpoint_steps = 0;     ///< also after every so many steps; 0: only after epochs

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const {
    const auto at_least = [](std::string_view name, auto value, auto least) {
      if (!(value >= least)) throw OptionError(name, value, join("at least ", least));
    };
    const auto share = [](std::string_view name, double value) {
      if (!(value >= 0 && value <= 1)) throw OptionError(name, value, "0 to 1");
    };
    const auto positive = [](std::string_view name, double value) {
      if (!(value > 0)) throw OptionError(name, value, "above 0");
    };
    at_least("epochs", epochs, Index{1});
    at_least("batch", batch, Index{1});
    at_least("accumulate", accumulate, Index{1});
    at_least("channels", channels, Index{0});
    at_least("points", points, Index{0});
    at_least("prefetch", prefetch, Index{0});
    at_least("checkpoint_steps", checkpoint_steps, Index{0});
    if (prototypes != 0) at_least("prototypes", prototypes, Index{2});
    if (!(stochastic_depth >= 0 && stochastic_depth < 1)) {
      throw OptionError("stochastic_depth", stochastic_depth, "at least 0 and below 1");
    }
    share("max_unreadable", max_unreadable);
    share("teacher.momentum", teacher.momentum);
    share("teacher.final_momentum", teacher.final_momentum);
    positive("teacher.temperature", teacher.temperature);
    positive("teacher.warmup_temperature", teacher.warmup_temperature);
    at_least("teacher.warmup_temperature_epochs", teacher.warmup_temperature_epochs, Index{0});
    optimiser.validate();
    loss.validate();
  }
};

}  // namespace dssl
