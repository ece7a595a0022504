// Options of training a whole backbone by masks, on crops of images at their own resolution.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>

#include "common/tuning_steps.hpp"

namespace dssl::programs {

/// Beside the steps, the crops and what says how long to train.
struct CropTuning : TuningSteps {
  std::string crop = "96";
  Index overlap = 32;
  double scale = 1;
  double balanced = 0.5;
  Index look_every = 50;
  Index patience = 4;
  Index folds = 4;
  double hold_out = 0.2;

  [[nodiscard]] nlohmann::ordered_json json() const {
    nlohmann::ordered_json out{{"crop", crop}, {"crop_overlap", overlap}, {"crop_scale", scale}, {"balanced", balanced}};
    out.update(TuningSteps::json());
    out.update({{"look_every", look_every}, {"patience", patience}, {"folds", folds}, {"hold_out", hold_out}});
    return out;
  }
};

/// Adds them, with their help. `steps_help`: what no steps mean, where that is allowed.
void add_crop_tuning_options(CLI::App& app, CropTuning& s, const std::string& group, Index least_steps,
                             const std::string& steps_help);

/// Their names, as they are typed.
[[nodiscard]] std::vector<std::string> crop_tuning_options();

}  // namespace dssl::programs
