// How long and how fast a whole backbone is trained: the options that programs share.
#pragma once

#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>

namespace dssl::programs {

/// The numbers of `TuningOptions` that programs let choose.
struct TuningSteps {
  Index steps = 500;
  Index batch = 8;
  double rate = 5e-4;
  double layer_decay = 0.75;

  [[nodiscard]] nlohmann::ordered_json json() const {
    return {{"tune_steps", steps}, {"tune_batch", batch}, {"tune_rate", rate}, {"layer_decay", layer_decay}};
  }
};

/// What a program says of them in their help.
struct TuningWords {
  std::string group;
  std::string crops;       ///< behind "Steps of AdamW on crops"
  std::string no_steps{};  ///< what no steps mean, where `least_steps` is 0
  std::string batch;
  std::string head;  ///< what is trained on the backbone
  Index least_steps = 1;
};

/// Adds them, with their help.
inline void add_tuning_steps(CLI::App& app, TuningSteps& s, const TuningWords& words) {
  app.add_option("--tune-steps", s.steps,
                 "Steps of AdamW on crops" + words.crops + "; the rate rises, then falls to 0" + words.no_steps)
      ->check(CLI::Range(words.least_steps, Index{1000000000}))
      ->capture_default_str()
      ->group(words.group);
  app.add_option("--tune-batch", s.batch, words.batch)
      ->check(CLI::Range(Index{1}, Index{4096}))
      ->capture_default_str()
      ->group(words.group);
  app.add_option("--tune-rate", s.rate, "Peak learning rate of the " + words.head)
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(words.group);
  app.add_option("--layer-decay", s.layer_decay,
                 "A block's rate is this share of the next one's; 0 trains the " + words.head + " and the last norm alone")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(words.group);
}

}  // namespace dssl::programs
