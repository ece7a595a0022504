// What every way of finding defects gives: a score and a heat map for each image, and their counts.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/features/bilinear.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/metrics/detection.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/views/blur.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// The mean of the `top` largest scores, or of all where there are fewer; there must be one.
/// Test: tests/defects/defect_bank.cpp.
[[nodiscard]] inline double mean_of_largest(std::vector<float> scores, Index top) {
  const auto some = std::min(top, static_cast<Index>(scores.size()));
  std::partial_sort(scores.begin(), scores.begin() + some, scores.end(), std::greater<>());
  double sum = 0;
  for (Index n = 0; n < some; ++n) sum += static_cast<double>(scores[static_cast<std::size_t>(n)]);
  return sum / static_cast<double>(some);
}

/// The two classes of a mask of defects: 0 normal, 1 defect.
[[nodiscard]] inline ClassMap defect_classes() { return ClassMap({.classes = 2, .void_ids = {}}); }

/// A source whose masks say 1 for every pixel of a defect, whatever the file calls it, and `ClassMap::ignored` for every pixel
/// that is not on the foreground. Test: tests/defects/foreground.cpp.
template <class Source>
class BinaryMasks {
 public:
  explicit BinaryMasks(const Source& source, const Foreground& foreground = {}) : x_source(source), x_foreground(foreground) {}
  [[nodiscard]] Index size() const { return x_source.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_source.name(i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = detail::with_mask(x_source.load(i));
    for (std::uint8_t& id : out.mask.pixels()) id = id != 0 ? 1 : 0;
    const Image<std::uint8_t> counts = x_foreground.of(out, name(i));
    for (std::size_t p = 0; p < counts.pixels().size(); ++p) {
      if (counts.pixels()[p] == 0) out.mask.pixels()[p] = ClassMap::ignored;
    }
    return out;
  }

 private:
  const Source& x_source;
  Foreground x_foreground;
};

/// One scored image, at the size of the input, or by windows at its own; valid during the callback.
struct DefectScore {
  DefectScore(Index place, double value, const LabelledInput& from, std::span<const float> map,
              const InputOptions& size)
      : DefectScore(place, value, from, map, size.height, size.width) {}
  DefectScore(Index place, double value, const LabelledInput& from, std::span<const float> map, Index map_height, Index map_width)
      : index(place),
        score(value),
        defect(std::find(from.labels.begin(), from.labels.end(), std::uint8_t{1}) != from.labels.end()),
        height(map_height),
        width(map_width),
        input(from.image),
        heat_map(map),
        truth(from.labels) {}

  Index index = 0;      ///< in the source
  double score = 0;     ///< of the image
  bool defect = false;  ///< its mask at the input's size shows one, on the foreground
  Index height = 0;     ///< of input and heat map
  Index width = 0;
  Index patches = 0;      ///< that the score was chosen from; 0: pixels, or not told
  std::span<const float> input;         ///< (C,h,w); the probe's `renderer` makes it a picture
  std::span<const float> heat_map;      ///< (h,w)
  std::span<const std::uint8_t> truth;  ///< (h,w): 0 normal, 1 defect, `ClassMap::ignored` outside the image and off its foreground
};

/// The scores of a set, and what they are worth.
struct DefectResult {
  DetectionTally tally;
  std::vector<double> normal_scores{};  ///< of images without a defect, in the source's order
  std::vector<double> defect_scores{};
  Index unreadable = 0;  ///< images left out

  /// Counts an image's score, and its heat map against its mask. Throws `NonFiniteError`.
  void add(const DefectScore& image) {
    add_image(image.score, image.defect);
    tally.add_map(image.heat_map, image.truth, image.height, image.width, ClassMap::ignored);
  }

  /// Counts an image's score alone. Throws `NonFiniteError`.
  void add_image(double score, bool defect) {
    tally.add_image(score, defect);
    (defect ? defect_scores : normal_scores).push_back(score);
  }
};

/// Heat maps (h,w) from the scores (N) of an image's patches: enlarged bilinearly, then blurred.
/// Test: tests/defects/defect_probe.cpp.
class HeatMaps {
 public:
  /// `smoothing`: standard deviation of the blur in pixels of the map; 0: none.
  HeatMaps(GridSize grid, Index height, Index width, double smoothing)
      : x_grid(grid), x_height(height), x_width(width), x_smoothing(smoothing) {}

  /// Valid until the next call. Throws `ShapeError` unless there is a score for each cell of the grid.
  [[nodiscard]] std::span<const float> of(std::span<const float> scores) {
    require_shape(static_cast<Index>(scores.size()) == x_grid.size(), "heat map of ", scores.size(),
                  " scores; expected ", x_grid.height, " x ", x_grid.width);
    x_heat.reshape(1, x_height, x_width);
    const std::span<float> pixels(x_heat.plane(0), static_cast<std::size_t>(x_height * x_width));
    enlarge<float>(pixels, scores, x_grid, x_height, x_width);
    gaussian_blur(x_heat, x_smoothing, x_blur);
    return pixels;
  }

 private:
  GridSize x_grid;
  Index x_height;
  Index x_width;
  double x_smoothing;
  PlanarImage<float> x_heat;
  BlurWorkspace<float> x_blur;
};

/// Heat maps of images whose grids differ, and whose last patches may reach beyond them: enlarged over the whole grid,
/// blurred, and cut off at the image's ends. Test: tests/defects/tiles.cpp.
class CroppedHeatMaps {
 public:
  /// As `HeatMaps::of`, of a grid of patches of that many pixels over an image of height x width; valid until the next
  /// call. Throws `ShapeError`.
  [[nodiscard]] std::span<const float> of(std::span<const float> scores, GridSize grid, Index patch, Index height, Index width,
                                          double smoothing) {
    const Index full_height = std::max(height, grid.height * patch), full_width = std::max(width, grid.width * patch);
    HeatMaps maps(grid, full_height, full_width, smoothing);
    const std::span<const float> full = maps.of(scores);
    x_map.clear();
    for (Index y = 0; y < height; ++y) {
      const auto row = full.subspan(static_cast<std::size_t>(y * full_width), static_cast<std::size_t>(width));
      x_map.insert(x_map.end(), row.begin(), row.end());
    }
    return x_map;
  }

 private:
  std::vector<float> x_map;
};

/// A grid of patches, and where the input below it shows the image; around that it is padded.
struct ShownGrid {
  GridSize grid{};
  Index patch = 0;              ///< pixels
  Index top = 0, left = 0;      ///< first row and column of the input that show the image
  Index height = 0, width = 0;  ///< how many do

  /// Of labels (h,w) of the input, `ClassMap::ignored` outside the image. Throws `ShapeError` where all are.
  [[nodiscard]] static ShownGrid of(std::span<const std::uint8_t> labels, Index height, Index width, GridSize grid, Index patch) {
    require_shape(static_cast<Index>(labels.size()) == height * width, "labels of ", labels.size(), " pixels; expected ", height,
                  " x ", width);
    Index top = height, bottom = -1, left = width, right = -1;
    for (Index i = 0; i < height * width; ++i) {
      if (labels[static_cast<std::size_t>(i)] == ClassMap::ignored) continue;
      top = std::min(top, i / width);
      bottom = std::max(bottom, i / width);
      left = std::min(left, i % width);
      right = std::max(right, i % width);
    }
    require_shape(bottom >= 0, "an input of ", height, " x ", width, " pixels shows nothing of an image");
    return {grid, patch, top, left, bottom + 1 - top, right + 1 - left};
  }
};

/// Scores (n) of the patches of one grid as those (m) of another over the same image: each is read at the place in the image
/// that the middle of its patch shows, bilinearly, of patches of `from` that show a part of the image. Throws `ShapeError`.
/// Test: tests/defects/patch_rules.cpp.
[[nodiscard]] inline std::vector<float> on_other_grid(std::span<const float> scores, const ShownGrid& from, const ShownGrid& to) {
  require_shape(static_cast<Index>(scores.size()) == from.grid.size(), scores.size(), " scores of a grid of ", from.grid.height,
                " x ", from.grid.width, " patches");
  // One axis: of so many cells, each the two of `from` that it lies between.
  const auto reads = [&](Index cells, Index to_begin, Index to_pixels, Index begin, Index pixels, Index from_cells) {
    const Index first = begin / from.patch, last = std::min((begin + pixels - 1) / from.patch, from_cells - 1);
    std::vector<BilinearRead> out;
    for (Index i = 0; i < cells; ++i) {
      const double share = ((static_cast<double>(i) + 0.5) * static_cast<double>(to.patch) - static_cast<double>(to_begin)) /
                           static_cast<double>(to_pixels);
      const double at = (static_cast<double>(begin) + share * static_cast<double>(pixels)) / static_cast<double>(from.patch) - 0.5;
      const double inside = std::clamp(at, static_cast<double>(first), static_cast<double>(last));
      const auto near = static_cast<Index>(std::floor(inside));
      out.push_back({near, std::min(near + 1, last), inside - static_cast<double>(near)});
    }
    return out;
  };
  const auto across = reads(to.grid.width, to.left, to.width, from.left, from.width, from.grid.width);
  std::vector<float> out;
  for (const BilinearRead& y : reads(to.grid.height, to.top, to.height, from.top, from.height, from.grid.height)) {
    for (const BilinearRead& x : across) {
      const auto of = [&](Index row, Index column) {
        return static_cast<double>(scores[static_cast<std::size_t>(row * from.grid.width + column)]);
      };
      const double upper = std::lerp(of(y.near, x.near), of(y.near, x.far), x.share);
      const double lower = std::lerp(of(y.far, x.near), of(y.far, x.far), x.share);
      out.push_back(static_cast<float>(std::lerp(upper, lower, y.share)));
    }
  }
  return out;
}

}  // namespace dssl
