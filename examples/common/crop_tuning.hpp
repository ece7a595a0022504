// Options of training a whole backbone by masks, on crops of images at their own resolution.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>

namespace dssl::programs {

struct CropTuning {
  std::string crop = "96";
  Index overlap = 32;
  double scale = 1;
  double balanced = 0.5;
  Index steps = 500;
  Index batch = 8;
  double rate = 5e-4;
  double layer_decay = 0.75;
  Index look_every = 50;
  Index patience = 4;
  Index folds = 4;
  double hold_out = 0.2;

  [[nodiscard]] nlohmann::ordered_json json() const {
    return {{"crop", crop},         {"crop_overlap", overlap}, {"crop_scale", scale}, {"balanced", balanced},       {"tune_steps", steps},
            {"tune_batch", batch},  {"tune_rate", rate},       {"layer_decay", layer_decay}, {"look_every", look_every},
            {"patience", patience}, {"folds", folds},          {"hold_out", hold_out}};
  }
};

/// Adds them, with their help. `steps_help`: what no steps mean, where that is allowed.
void add_crop_tuning_options(CLI::App& app, CropTuning& s, const std::string& group, Index least_steps,
                             const std::string& steps_help);

/// Their names, as they are typed.
[[nodiscard]] std::vector<std::string> crop_tuning_options();

}  // namespace dssl::programs
