// The command line of dssl-defects.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/filter_labels.hpp>

#include "common/backbone.hpp"
#include "common/ranks.hpp"
#include "defects/look.hpp"

namespace dssl::programs {

struct DefectSettings {
  BackboneSettings backbone;
  std::string scorer = "bank";
  std::string out;

  std::vector<std::string> normal;
  std::vector<std::string> defects;  // labelled images to learn from, too
  std::string bank;  // a bank of an earlier run
  std::vector<std::string> calibrate;
  static constexpr double usual_hold_out = 0.2;
  std::optional<double> hold_out;            // absent: the usual share, where that is enough
  std::optional<double> asked_false_alarms;  // --false-alarms, where it was given
  double false_alarms = 0.05;                // the rate that holds: asked for, of the bank, or this
  std::vector<std::string> test;
  std::string images, masks, boxes, templates;
  std::string foreground;  // a mask of what counts, or a folder of one for each image
  std::string image_file = "{}", template_file = "{}";
  std::vector<std::string> good{"good"};
  std::optional<int> mask_threshold;
  bool missing_is_normal = false;

  Index label_trees = FilterLabelOptions{}.trees.trees;
  Index label_folds = FilterLabelOptions{}.folds;
  Index pool = 100'000;
  double coreset = 0.1;
  Index coreset_size = 0;
  Index projection = 0;
  Index reweighting = 9;
  Index neighbourhood = 3;
  LookSettings look;
  double smoothing = 4;
  Index reach = 1;

  bool maps = false;
  int map_bits = 16;
  double map_scale = 0;  // 0: each map's own largest score

  RankSettings processes;

  [[nodiscard]] bool pairs() const { return !templates.empty(); }
  /// Whether what was learned is written, and read again.
  [[nodiscard]] bool has_bank() const { return scorer == "bank" || scorer == "filters"; }
  /// Whether normal images are looked at before the test images.
  [[nodiscard]] bool learns() const { return scorer == "bank" || scorer == "filters" || (scorer == "difference" && !pairs()); }
  [[nodiscard]] bool has_backbone() const { return scorer == "bank" || scorer == "template"; }
  /// Throws `OptionError` for options that do not go together.
  void validate() const;
  [[nodiscard]] nlohmann::ordered_json json() const;

  /// Options that were typed beside `--bank` though they matter only where a bank is made.
  [[nodiscard]] std::vector<std::string> without_effect() const;
  /// Throws `OptionError` for an option that was typed and has another value in `of_bank`, whose settings the bank brought.
  void require_agreement(const DefectSettings& of_bank) const;

  const CLI::App* app = nullptr;  ///< knows what was typed; none where settings were not parsed

 private:
  [[nodiscard]] bool x_given(const std::string& option) const { return app != nullptr && app->count(option) > 0; }
};

/// Adds all options, with their help, to the program.
void add_options(CLI::App& app, DefectSettings& settings);

}  // namespace dssl::programs
