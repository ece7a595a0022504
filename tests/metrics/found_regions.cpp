// Regions found by their size, against the definition and cases made by hand.
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include <dssl/metrics/detection.hpp>
#include <dssl/metrics/found_regions.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr std::array<Index, 3> bounds{16, 64, 256};

/// The definition, every area against every larger one.
std::optional<Index> slow_half_from(const std::vector<RegionPeak>& regions, double threshold) {
  std::optional<Index> out;
  for (const RegionPeak& start : regions) {
    bool all = true;
    for (const RegionPeak& end : regions) {
      if (end.area < start.area) continue;
      Index count = 0, found = 0;
      for (const RegionPeak& r : regions) {
        if (r.area < start.area || r.area > end.area) continue;
        ++count;
        found += r.peak >= threshold ? 1 : 0;
      }
      all = all && 2 * found >= count;
    }
    if (all && (!out || start.area < *out)) out = start.area;
  }
  return out;
}

}  // namespace

TEST_CASE("regions are counted by area; large ones that are found do not speak for small ones") {
  const std::vector<RegionPeak> regions{{3, 0.1},  {15, 0.2}, {16, 0.9}, {40, 0.2}, {63, 0.8},
                                        {64, 0.5}, {99, 0.9}, {256, 0.9}, {5000, 0.9}, {700, 0.9}};
  const FoundRegions found = found_regions(regions, 0.5, bounds);
  REQUIRE(found.classes.size() == 4);
  const auto is = [&](std::size_t i, Index from, std::optional<Index> below, Index count, Index seen) {
    const AreaClass& c = found.classes[i];
    return c.from == from && c.below == below && c.regions == count && c.found == seen;
  };
  CHECK(is(0, 1, 16, 2, 0));
  CHECK(is(1, 16, 64, 3, 2));
  CHECK(is(2, 64, 256, 2, 2));
  CHECK(is(3, 256, std::nullopt, 3, 3));
  // Of all ten seven are found, and yet neither of the two smallest: from 16 on.
  CHECK(found.half_from == 16);
  CHECK(found_regions(regions, 0.1, bounds).half_from == 3);
  CHECK(found_regions(regions, 0.95, bounds).half_from == std::nullopt);
  CHECK(found_regions({}, 0.5, bounds).half_from == std::nullopt);
  CHECK(found_regions(regions, std::numeric_limits<double>::infinity(), {}).classes.front().found == 0);
  const std::array<Index, 2> wrong{16, 16};
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(found_regions(regions, 0.5, wrong)); }), "'bounds' is 16"));
}

TEST_CASE("the smallest area from which on half are found agrees with the definition") {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<RegionPeak> regions;
    const auto count = random() % 14;
    for (unsigned i = 0; i < count; ++i) {
      const auto area = static_cast<Index>(1 + random() % 9);
      regions.push_back({area, static_cast<double>(area) + static_cast<double>(random() % 8)});
    }
    const auto threshold = static_cast<double>(random() % 16);
    CAPTURE(round, threshold);
    REQUIRE(found_regions(regions, threshold, bounds).half_from == slow_half_from(regions, threshold));
  }
}

TEST_CASE("a tally of maps keeps each region's highest score, and that of images without one") {
  DetectionTally tally;
  const std::vector<float> map{1, 2, 0, 0, 7, 0, 0, 0, 3};
  const std::vector<std::uint8_t> mask{1, 1, 0, 0, 0, 0, 0, 0, 1};
  tally.add_map(map, std::span<const std::uint8_t>(mask), 3, 3);
  REQUIRE(tally.region_peaks().size() == 2);
  CHECK(tally.region_peaks()[0].area == 2);
  CHECK(tally.region_peaks()[0].peak == 2);
  CHECK(tally.region_peaks()[1].area == 1);
  CHECK(tally.region_peaks()[1].peak == 3);
  // An image without a region is normal, its highest score a false alarm; what is ignored counts nowhere.
  tally.add_map(map, std::span<const std::uint8_t>(), 3, 3);
  const std::vector<std::uint8_t> around{9, 9, 9, 9, 9, 0, 0, 0, 0};
  tally.add_map(map, std::span<const std::uint8_t>(around), 3, 3, std::uint8_t{9});
  const std::vector<std::uint8_t> nothing(9, 9);
  tally.add_map(map, std::span<const std::uint8_t>(nothing), 3, 3, std::uint8_t{9});
  CHECK(tally.peaks().positives() == 2);
  CHECK(tally.peaks().negatives() == 2);
  // A defect that the mask has lost is no normal image.
  tally.add_map(map, std::span<const std::uint8_t>(), 3, 3, std::nullopt, true);
  CHECK(tally.peaks().negatives() == 2);
  // Half of the normal images may reach it: 7 does, the other's 3 does not, and so neither do the regions.
  const OperatingPoint half = at_false_alarms(tally.peaks(), 0.5);
  CHECK(half.threshold == 7);
  CHECK(half.missed() == 1);
  CHECK(at_false_alarms(tally.peaks(), 1).recall == 1);
}
