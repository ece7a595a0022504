// The command line of dssl-show.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/views/multi_crop_options.hpp>

#include "common/camera_views.hpp"
#include "common/published.hpp"
#include "common/references.hpp"
#include "common/samplers.hpp"

namespace dssl::programs {

struct ShowSettings {
  std::string kind;
  std::vector<std::string> images;
  std::string out = "show.png";
  Index count = 4;

  std::string weights;
  std::string arch = "tiny16";
  PublishedSettings published{};
  std::string size = "224";
  std::string fit = "stretch";
  Index channels = 3;
  std::string backend = "cpu";
  std::string precision = "f32";
  int threads = 0;
  std::uint64_t seed = 0;
  ReadOptions read{};
  MapSettings map{.option = "reference_points"};

  std::vector<double> point;  // x, y in [0, 1]
  std::string query;          // empty: the kind's own
  Index block = -1;
  double foreground = 0;
  bool reversed = false;
  Index matches = 40;
  SamplerSettings points;
  Index locals = 4;
  std::vector<double> global_scale, local_scale, global_zoom, local_zoom;
  double rotation = 0, perspective = 0;
  CameraViews camera_views;
  std::string camera;
  std::string second, between, second_camera;  // of pairs of two cameras; empty: one camera
  std::vector<std::string> masks, heat;
  std::string enlarge;  // empty: the kind's own
  double alpha = 0.6;
  Index columns = 0;  // 0: the kind's own
  Index letters = 1;
  Index zoom = 2;

  /// Height and width of the input. Throws `OptionError`.
  [[nodiscard]] std::pair<Index, Index> input_size() const;
  [[nodiscard]] bool needs_backbone() const { return kind != "views" && kind != "overlay"; }
  /// The chosen point in [-1, 1]^2; none where none was named.
  [[nodiscard]] std::optional<Point> chosen() const;
  [[nodiscard]] Enlargement enlargement(Enlargement otherwise) const;
  /// Views of the kinds that cut them out. Throws `FileError` where the camera's file cannot be read.
  [[nodiscard]] MultiCropOptions views() const;
  /// Throws `OptionError` for options that do not go together.
  void validate() const;
};

/// Adds all options, with their help, to the program.
void add_options(CLI::App& app, ShowSettings& settings);

}  // namespace dssl::programs
