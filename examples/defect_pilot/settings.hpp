// The command line of dssl-defect-pilot.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>

#include "common/backbone.hpp"
#include "common/crop_tuning.hpp"
#include "defects/look.hpp"

namespace dssl::programs {

struct PilotSettings {
  BackboneSettings backbone;
  std::vector<std::string> normal, defects, test_normal, test_defects;
  std::string images, masks;
  std::string foreground;  // as of dssl-defects
  std::string out;
  std::string title = "Finding defects with few labels";
  std::optional<int> mask_threshold;
  double test_share = 0.4;
  double false_alarms = 0.05;
  Index pretrain_epochs = 0;
  std::vector<Index> labels{1, 5, 10, 50};
  Index draws = 5;
  CropTuning tuning{{.steps = 300}};
  Index tune_draws = 1;
  Index pool = 50'000;
  double coreset = 0.1;
  double smoothing = 4;
  LookSettings look;
  bool choose = false;
  Index choose_images = 100;
  Index shown = 4;

  /// Throws `OptionError` for options that do not go together.
  void validate() const;
  [[nodiscard]] nlohmann::ordered_json json() const;
};

/// Adds all options, with their help, to the program.
void add_options(CLI::App& app, PilotSettings& settings);

}  // namespace dssl::programs
