// Regions of masks, and the per-region overlap, against a flood fill and a curve computed the slow way.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <dssl/metrics/detection.hpp>
#include <dssl/metrics/regions.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

std::vector<std::uint8_t> mask_of(const std::string& drawing) {
  std::vector<std::uint8_t> out;
  for (const char c : drawing) {
    if (c != ' ') out.push_back(c == '#' ? 255 : 0);
  }
  return out;
}

struct Picture {
  std::vector<float> scores;
  std::vector<std::uint8_t> mask;
};

/// Smallest number of any pixel that is connected to each pixel, by repeated passes.
std::vector<Index> slow_regions(const std::vector<std::uint8_t>& mask, Index h, Index w) {
  std::vector<Index> label(mask.size(), -1);
  for (std::size_t i = 0; i < mask.size(); ++i) label[i] = mask[i] != 0 ? static_cast<Index>(i) : -1;
  for (bool changed = true; changed;) {
    changed = false;
    for (Index a = 0; a < h * w; ++a) {
      for (Index b = 0; b < h * w; ++b) {
        if (std::abs(a / w - b / w) > 1 || std::abs(a % w - b % w) > 1) continue;
        Index& from = label[static_cast<std::size_t>(b)];
        Index& to = label[static_cast<std::size_t>(a)];
        if (from < 0 || to < 0 || from >= to) continue;
        to = from;
        changed = true;
      }
    }
  }
  return label;
}

/// The definition, threshold by threshold.
double slow_aupro(const std::vector<Picture>& pictures, Index h, Index w, double limit) {
  std::set<float, std::greater<>> thresholds;
  for (const Picture& p : pictures) thresholds.insert(p.scores.begin(), p.scores.end());
  double area = 0;
  double rate_before = 0;
  double overlap_before = 0;
  for (const float t : thresholds) {
    double regions = 0;
    double overlap = 0;
    double normal = 0;
    double alarms = 0;
    for (const Picture& p : pictures) {
      const auto label = slow_regions(p.mask, h, w);
      for (const Index region : std::set<Index>(label.begin(), label.end())) {
        double size = 0;
        double found = 0;
        for (std::size_t i = 0; i < label.size(); ++i) {
          if (label[i] != region) continue;
          size += 1;
          found += p.scores[i] >= t ? 1 : 0;
        }
        if (region < 0) {
          normal += size;
          alarms += found;
        } else {
          regions += 1;
          overlap += found / size;
        }
      }
    }
    const double rate = alarms / normal;
    overlap /= regions;
    const double end = std::min(rate, limit);
    if (end > rate_before) {
      const double at_end =
          overlap_before + (overlap - overlap_before) * (end - rate_before) / (rate - rate_before);
      area += (end - rate_before) * (overlap_before + at_end) / 2;
    }
    rate_before = rate;
    overlap_before = overlap;
  }
  return area / limit;
}

}  // namespace

TEST_CASE("regions touch along sides and corners, and are numbered by their first pixels") {
  const auto mask = mask_of(
      "#..#. "
      ".#.#. "
      "....# "
      "##... "
      "##..#");
  const Regions regions = connected_regions(std::span<const std::uint8_t>(mask), 5, 5);
  CHECK(regions.sizes == std::vector<Index>{2, 3, 4, 1});
  CHECK(regions.region == std::vector<std::int32_t>{0,  -1, -1, 1, -1, -1, 0,  -1, 1, -1, -1, -1, -1,
                                                    -1, 1,  2,  2, -1, -1, -1, 2,  2, -1, -1, 3});
  const std::vector<std::uint8_t> none(6);
  CHECK(connected_regions(std::span<const std::uint8_t>(none), 2, 3).count() == 0);
  CHECK(contains(thrown_by<ShapeError>([&] {
                   static_cast<void>(connected_regions(std::span<const std::uint8_t>(none), 2, 2));
                 }),
                 "6 values"));
}

TEST_CASE("AUPRO equals its definition, on maps full of ties") {
  constexpr Index h = 6;
  constexpr Index w = 7;
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    std::vector<Picture> pictures(3);
    DetectionTally tally;
    Index count = 0;
    for (std::size_t n = 0; n < pictures.size(); ++n) {
      Picture& p = pictures[n];
      for (Index i = 0; i < h * w; ++i) {
        // The second picture is normal; its mask is left out below.
        p.mask.push_back(n != 1 && random() % 3 == 0 ? 255 : 0);
        p.scores.push_back(static_cast<float>(random() % 6) + (p.mask.back() != 0 ? 1.5F : 0.0F));
      }
      const std::span<const std::uint8_t> mask(p.mask);
      tally.add_map(std::span<const float>(p.scores), n == 1 ? mask.first(0) : mask, h, w);
      auto label = slow_regions(p.mask, h, w);
      std::erase(label, -1);
      count += static_cast<Index>(std::set<Index>(label.begin(), label.end()).size());
    }
    INFO("seed " << seed);
    CHECK(tally.region_count() == count);
    CHECK(tally.regions().positives() == Approx(static_cast<double>(count)));
    for (const double limit : {0.3, 0.05, 1.0}) {
      CHECK(tally.aupro(limit) == Approx(slow_aupro(pictures, h, w, limit)).epsilon(1e-9));
    }
    // The pixels' own numbers count each pixel once.
    std::vector<float> scores;
    std::vector<std::uint8_t> labels;
    for (const Picture& p : pictures) {
      scores.insert(scores.end(), p.scores.begin(), p.scores.end());
      labels.insert(labels.end(), p.mask.begin(), p.mask.end());
    }
    CHECK(
        auroc(tally.pixels()) ==
        Approx(auroc(std::span<const float>(scores), std::span<const std::uint8_t>(labels))).epsilon(1e-12));
  }
}

TEST_CASE("small regions count as much as large ones") {
  // One region of one pixel is found at once, one of nine never before all else.
  const auto mask = mask_of(
      "#..... "
      "...### "
      "...### "
      "...###");
  std::vector<float> scores(mask.size(), 1.0F);
  scores[0] = 3.0F;
  for (std::size_t i = 6; i < mask.size(); ++i) scores[i] = mask[i] != 0 ? 0.0F : 1.0F;
  DetectionTally tally;
  tally.add_map(std::span<const float>(scores), std::span<const std::uint8_t>(mask), 4, 6);
  CHECK(tally.aupro() == Approx(0.5));
  CHECK(auroc(tally.pixels()) == Approx(0.1));
}

TEST_CASE("ignored pixels count for nothing, not even as a bridge between regions") {
  const std::vector<std::uint8_t> mask{1, 255, 1, 0, 0, 255};
  const std::vector<float> scores{5, 9, 4, 3, 2, 9};
  DetectionTally tally;
  tally.add_map(std::span<const float>(scores), std::span<const std::uint8_t>(mask), 1, 6, 255);
  CHECK(tally.region_count() == 2);
  CHECK(tally.pixels().positives() == 2);
  CHECK(tally.pixels().negatives() == 2);
  CHECK(auroc(tally.pixels()) == 1);
}

TEST_CASE("maps without defects, or without anything else, cannot be scored") {
  DetectionTally tally;
  const std::vector<float> scores{1, 2, 3, 4};
  tally.add_map(std::span<const float>(scores), std::span<const std::uint8_t>(), 2, 2);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(tally.aupro()); }), "positives are needed"));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   tally.add_map(std::span<const float>(scores), std::span<const std::uint8_t>(), 2, 3);
                 }),
                 "4 scores"));
  tally.add_image(0.5, true);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(auroc(tally.images())); }),
                 "negatives are needed"));
}
