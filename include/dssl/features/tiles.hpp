// How windows of one size cover an image of any size, at its own resolution.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/even_windows.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// How images are cut into windows of the extractor's size, in place of being resized to it.
struct TileOptions {
  double scale = 1;    ///< every image is resized by this one factor first; 1: as it is
  Index overlap = 32;  ///< pixels that neighbouring windows have in common, at least; rounded up to whole patches

  /// For windows of that many pixels a side (the shorter one) and patches. Throws `OptionError` naming the field.
  void validate(Index window, Index patch) const {
    if (!(scale > 0 && std::isfinite(scale))) throw OptionError("scale", scale, "above 0");
    if (overlap < 0 || (overlap + patch - 1) / patch >= window / patch) {
      throw OptionError("overlap", overlap, join("0 to ", (window / patch - 1) * patch, " pixels, for windows of ", window));
    }
  }

  /// Pixels of an extent after resizing: at least 1.
  [[nodiscard]] Index resized(Index pixels) const {
    return std::max<Index>(1, static_cast<Index>(std::lround(scale * static_cast<double>(pixels))));
  }
};

/// Windows along one axis of an image, in patches.
///
/// Windows begin at whole patches, spread by `EvenWindows`: neighbours overlap by at least the overlap, and together they
/// cover the axis from the first patch to the last. Of an axis shorter than a window there is one, which reaches beyond
/// the end. Each patch is read from the window in whose ends it is deepest, the first among equals, so that what a
/// window does at its rim is not seen inside an image. Test: tests/defects/tiles.cpp.
struct TileAxis {
  Index cells = 0;            ///< patches that hold pixels of the image, the last one perhaps in part
  std::vector<Index> begins;  ///< first patch of each window, ascending
  std::vector<Index> window;  ///< (cells) the window that each patch is read from

  TileAxis() = default;
  /// Of `pixels` pixels, for windows of `tile` patches that overlap by `overlap` patches, less than `tile`.
  TileAxis(Index pixels, Index patch, Index tile, Index overlap) : cells((pixels + patch - 1) / patch) {
    require_shape(pixels >= 1 && patch >= 1 && overlap >= 0 && overlap < tile, "windows of ", tile, " patches that overlap by ",
                  overlap, " over ", pixels, " pixels");
    const EvenWindows even(cells, tile, overlap);
    const Index count = even.count;
    for (Index i = 0; i < count; ++i) begins.push_back(even.begin(i));
    for (Index c = 0; c < cells; ++c) {
      Index best = -1, depth = -1;
      for (Index i = 0; i < count; ++i) {
        const Index from = c - begins[static_cast<std::size_t>(i)];
        if (const Index own = std::min(from, tile - 1 - from); own > depth) {
          best = i;
          depth = own;
        }
      }
      window.push_back(best);
    }
  }
};

/// The windows of an image: every pair of one down and one across.
struct TilePlan {
  TileAxis down, across;

  /// Of an image of height x width pixels, resized already, for windows of `tile` patches.
  TilePlan(Index height, Index width, Index patch, GridSize tile, Index overlap_pixels)
      : down(height, patch, tile.height, (overlap_pixels + patch - 1) / patch),
        across(width, patch, tile.width, (overlap_pixels + patch - 1) / patch) {}

  [[nodiscard]] GridSize grid() const { return {down.cells, across.cells}; }
  [[nodiscard]] Index windows() const { return static_cast<Index>(down.begins.size() * across.begins.size()); }
};

/// Where pixel i of an axis of n lies that goes on beyond its ends as in a mirror that stands on its last pixel: n is n - 2,
/// n + 1 is n - 3, and so on, to and fro.
[[nodiscard]] inline Index mirrored(Index i, Index n) {
  if (n <= 1) return 0;
  const Index period = 2 * (n - 1);
  const Index at = (i % period + period) % period;
  return at < n ? at : period - at;
}

}  // namespace dssl
