// Connected regions of a mask.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// The regions of one mask.
struct Regions {
  std::vector<std::int32_t> region;  ///< (H,W): the number of each pixel's region, -1 outside all
  std::vector<Index> sizes;          ///< pixels of each region

  [[nodiscard]] Index count() const { return static_cast<Index>(sizes.size()); }
};

/// The connected regions of the pixels of a mask (H,W) that are not 0; neighbours are the 8 around a pixel.
///
/// Regions are numbered in the order of their first pixels, row by row. O(H W); 12 bytes a pixel at most.
/// Throws `ShapeError`. Test: tests/metrics/region_overlap.cpp.
template <class Label>
[[nodiscard]] Regions connected_regions(std::span<const Label> mask, Index height, Index width) {
  require_shape(height >= 0 && width >= 0 && static_cast<Index>(mask.size()) == height * width,
                "regions of a mask of ", mask.size(), " values; expected ", height, " x ", width);
  Regions out;
  out.region.assign(mask.size(), -1);
  std::vector<Index> open;  // pixels whose neighbours are still to be looked at
  for (Index start = 0; start < height * width; ++start) {
    const auto at = static_cast<std::size_t>(start);
    if (mask[at] == Label{0} || out.region[at] >= 0) continue;
    const auto number = static_cast<std::int32_t>(out.sizes.size());
    Index size = 0;
    out.region[at] = number;
    open.push_back(start);
    while (!open.empty()) {
      const Index pixel = open.back();
      open.pop_back();
      ++size;
      const Index y = pixel / width;
      const Index x = pixel % width;
      for (Index v = std::max<Index>(0, y - 1); v <= std::min(height - 1, y + 1); ++v) {
        for (Index u = std::max<Index>(0, x - 1); u <= std::min(width - 1, x + 1); ++u) {
          const auto next = static_cast<std::size_t>(v * width + u);
          if (mask[next] == Label{0} || out.region[next] >= 0) continue;
          out.region[next] = number;
          open.push_back(v * width + u);
        }
      }
    }
    out.sizes.push_back(size);
  }
  return out;
}

}  // namespace dssl
