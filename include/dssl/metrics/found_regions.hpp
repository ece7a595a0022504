// Which regions of masks are found, by their size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A region of a mask and the highest score in it.
struct RegionPeak {
  Index area = 0;   ///< pixels
  double peak = 0;
};

/// Regions of areas from `from` on, below `below`.
struct AreaClass {
  Index from = 1;
  std::optional<Index> below{};  ///< none: of any size
  Index regions = 0;
  Index found = 0;
};

/// What was found at one threshold.
struct FoundRegions {
  std::vector<AreaClass> classes;     ///< ascending, all areas together
  std::optional<Index> half_from{};   ///< the smallest area from which on at least half are found; none: of no area
};

/// Counts regions whose peak is at least the threshold, in the classes of area that `bounds` divide, and finds the smallest
/// area a among the regions' own from which on at least half are found, however far one goes on:
///
///   for every b >= a:  |{r found, a <= area(r) <= b}|  >=  |{r, a <= area(r) <= b}| / 2
///
/// so that large regions that are found do not speak for small ones that are not. O(n log n) for n regions. Throws
/// `OptionError` unless bounds are above 1 and ascend. Test: tests/metrics/found_regions.cpp.
[[nodiscard]] inline FoundRegions found_regions(std::span<const RegionPeak> regions, double threshold, std::span<const Index> bounds) {
  FoundRegions out;
  out.classes.emplace_back();
  for (const Index bound : bounds) {
    if (bound <= out.classes.back().from) throw OptionError("bounds", bound, "areas above 1 that ascend");
    out.classes.back().below = bound;
    out.classes.push_back({.from = bound});
  }
  std::vector<RegionPeak> by_area(regions.begin(), regions.end());
  std::ranges::sort(by_area, [](const RegionPeak& a, const RegionPeak& b) { return a.area > b.area; });
  // From the largest down: found less missed of this area and on up to the end where that is least.
  Index least = 0;
  for (std::size_t i = 0; i < by_area.size();) {
    const Index area = by_area[i].area;
    const auto place = std::ranges::upper_bound(bounds, area) - bounds.begin();
    AreaClass& own = out.classes[static_cast<std::size_t>(place)];
    Index more = 0;
    for (; i < by_area.size() && by_area[i].area == area; ++i) {
      const bool found = by_area[i].peak >= threshold;
      ++own.regions;
      own.found += found ? 1 : 0;
      more += found ? 1 : -1;
    }
    least = more + std::min<Index>(0, least);
    if (least >= 0) out.half_from = area;
  }
  return out;
}

}  // namespace dssl
