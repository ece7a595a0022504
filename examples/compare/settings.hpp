// What dssl-compare compares: the step, and the combinations that compute it.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/backbone/vit.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/training_step.hpp>

#include "common/recipes.hpp"

namespace dssl::programs {

/// One way to compute the step, by the names of the command line.
struct Combination {
  std::string backend, products, precision;
  int threads = 0;  ///< 0: all
};

struct CompareSettings {
  CompareSettings() { options.batch = 2; }

  std::string recipe = "densedino";
  std::string arch = "tiny16";
  Index points = 2;  ///< K
  ViewSizes views;
  TrainerOptions options;

  std::vector<std::string> backends{"cpu"};
  std::vector<std::string> products{"own"};
  std::vector<std::string> precisions{"f32", "bf16"};
  std::vector<int> threads{0};
  bool emulate_bf16 = false;

  int turns = 7;
  int warm_up = 2;
  bool no_check = false;
  std::string out;

  /// Throws `OptionError` for a step that nothing could compute.
  void validate() const;
  [[nodiscard]] const RecipeFacts& facts() const { return named(known_recipes, "recipe", recipe); }
  [[nodiscard]] NetworkConfig<ViTConfig> network() const;
  [[nodiscard]] StepOptions step() const;
  /// Every backend with all products, with all precisions, with all numbers of threads.
  [[nodiscard]] std::vector<Combination> combinations() const;
  [[nodiscard]] nlohmann::ordered_json json() const;
};

/// Adds all options, with their help, to the program.
void add_options(CLI::App& app, CompareSettings& s);

}  // namespace dssl::programs
