// The command line of dssl-segment.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>

#include "common/crop_tuning.hpp"
#include "common/labelled_set.hpp"
#include "common/published.hpp"
#include "common/references.hpp"

namespace dssl::programs {

struct SegmentSettings {
  LabelledData set;
  std::string weights;
  std::string by = "linear";
  CropTuning tuning;
  MapSettings map;
  std::string arch = "tiny16";
  PublishedSettings published{};
  std::string out;
  std::string size = "448";
  std::string fit = "stretch";
  Index channels = 3;
  Index epochs = 25;
  Index batch = 60;
  double learning_rate = 0.01;
  bool no_augment = false;
  bool cache_features = false;
  bool standardise = false;
  Index at_once = 4;
  std::string backend = "cpu";
  int threads = 0;
  std::string precision = "f32";
  std::uint64_t seed = 0;
  Index overlays = 8;
  ReadOptions read{};

  /// Height and width of the input from `size`. Throws `OptionError`.
  [[nodiscard]] std::pair<Index, Index> input_size() const;
  [[nodiscard]] bool random_weights() const { return weights == "random"; }
  [[nodiscard]] bool tunes() const { return by == "tune"; }
  /// Throws `OptionError` for options that were typed and do not belong to the way that is asked for.
  void require_fitting(const CLI::App& app) const;
  [[nodiscard]] nlohmann::ordered_json json() const;
};

/// Adds all options, with their help, to the program.
void add_options(CLI::App& app, SegmentSettings& settings);

}  // namespace dssl::programs
