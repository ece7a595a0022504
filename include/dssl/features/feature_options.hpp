// What a feature extractor is made for, and what it gives of one image.
// Tests: tests/features/features.cpp, tests/features/image_features.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/views/multi_crop.hpp>

namespace dssl {

/// Reference tokens in the place of patches: the map that is read is theirs, at any points of the image.
///
/// Since no other token sees a reference, and under a private relation it sees no other, each tells what its point has
/// whether it is asked alone or among thousands. Weights must have been trained with references (DenseDINO's).
struct ReferenceMap {
  Index per_patch = 0;          ///< n x n a patch, at the centres of its n x n cells: 1 at its centre; 0: patches are read
  std::vector<Point> points{};  ///< instead: these, in [-1, 1]^2, the same in every image; a map of one row
  bool learned = false;         ///< the weights have a learned reference vector
  bool content = false;         ///< they were trained with `PointContent`: references begin with what is embedded there

  /// Whether references are read.
  [[nodiscard]] bool any() const { return per_patch > 0 || !points.empty(); }
  /// Whether the cells of a grid, on patches of so many pixels, are whole pixels a side.
  [[nodiscard]] bool has_whole_cells(Index patch) const { return per_patch == 0 || patch % per_patch == 0; }
  /// The map's rows and columns, on so many patches.
  [[nodiscard]] GridSize grid(GridSize patches) const {
    if (!points.empty()) return {1, static_cast<Index>(points.size())};
    return {patches.height * per_patch, patches.width * per_patch};
  }
};

/// Sizes a feature extractor is made for.
struct FeatureOptions {
  Index height = 224;  ///< of the images in pixels; a multiple of the backbone's patch
  Index width = 224;
  Index batch = 1;                                     ///< images at a time, at most
  Index channels = 0;                                  ///< 0: the backbone's own number
  GroupSet reads{.class_token = true, .patch = true};  ///< which tokens are read; no references
  /// Blocks whose tokens are read, side by side in this order, from 0; negative ones count from the end (-1
  /// is the last). Empty: the last alone.
  std::vector<Index> blocks{};
  bool norm = true;    ///< the backbone's last norm is applied to the tokens of each block
  ReferenceMap references{};  ///< what is read as `reads.patch`, where it is not patches
  bool flips = false;  ///< tokens are the mean of those of the image and of its mirror image, mirrored back
  /// How `features(image)` makes an input of an image: resized by this, normalised by mean and deviation (a value a
  /// channel, on the scale 0..1). Both empty: those of training, (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) for
  /// three channels, 0.5 and 0.25 for any other number.
  Interpolation interpolation = Interpolation::bicubic;
  std::vector<float> mean{};
  std::vector<float> deviation{};

  /// For a backbone of that patch, with the number of channels known. Throws `OptionError` naming the field.
  void validate(Index patch) const {
    const auto check_extent = [&](const char* field, Index value) {
      if (value < patch || value % patch != 0) {
        throw OptionError(field, value, join("a multiple of the patch, ", patch, " pixels"));
      }
    };
    check_extent("height", height);
    check_extent("width", width);
    if (batch < 1) throw OptionError("batch", batch, "at least 1");
    if (channels < 1) throw OptionError("channels", channels, "at least 1");
    if (reads.reference)
      throw OptionError("reads", "reference tokens", "class token, patches or both");
    if (!reads.class_token && !reads.patch) {
      throw OptionError("reads", "nothing", "class token, patches or both");
    }
    if (references.per_patch < 0 || references.per_patch > 64) {
      throw OptionError("references.per_patch", references.per_patch, "0 (patches) to 64");
    }
    if (references.per_patch > 0 && !references.points.empty()) {
      throw OptionError("references.points", join(references.points.size(), " points"), "none beside 'references.per_patch'");
    }
    if (references.any() && !reads.patch) throw OptionError("reads", "no patches", "the map, which references make");
    for (const Point& point : references.points) {
      if (!(std::abs(point.x) <= 1 && std::abs(point.y) <= 1)) {
        throw OptionError("references.points", join("(", point.x, ", ", point.y, ")"), "coordinates from -1 to 1");
      }
    }
    if (!mean.empty() && static_cast<Index>(mean.size()) != channels) {
      throw OptionError("mean", join(mean.size(), " values"), join("one a channel, ", channels));
    }
    if (deviation.size() != mean.size()) {
      throw OptionError("deviation", join(deviation.size(), " values"), "as many as 'mean'");
    }
    for (const float d : deviation) {
      if (!(d > 0)) throw OptionError("deviation", d, "positive values");
    }
  }
};

/// The tokens of one image, in host memory.
template <class T>
struct ImageFeatures {
  GridSize grid{};             ///< patches down and across, or references
  std::vector<T> class_token;  ///< (W); empty where it is not read
  std::vector<T> patches;      ///< (N,W), row after row of the grid; empty where they are not read

  /// (W) of the patch in row y, column x.
  [[nodiscard]] std::span<const T> patch(Index y, Index x) const {
    const std::size_t width = patches.size() / static_cast<std::size_t>(grid.size());
    return std::span<const T>(patches).subspan(static_cast<std::size_t>(y * grid.width + x) * width, width);
  }
};

}  // namespace dssl
