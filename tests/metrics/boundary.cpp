// Bands along the boundaries of classes, against the definition pixel by pixel and cases drawn by hand.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/metrics/boundary.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Digits are classes, a dot is void.
std::vector<int> labels_of(const std::string& drawing) {
  std::vector<int> out;
  for (const char c : drawing) {
    if (c != ' ') out.push_back(c == '.' ? 255 : c - '0');
  }
  return out;
}

std::vector<std::uint8_t> band_of(const std::string& drawing) {
  std::vector<std::uint8_t> out;
  for (const char c : drawing) {
    if (c != ' ') out.push_back(c == '#' ? 1 : 0);
  }
  return out;
}

std::span<const int> view(const std::vector<int>& labels) { return labels; }

/// Whether pixel i is of the class and within r of a pixel that is not, by going over every pixel and one frame around the image.
bool slow_in_band(const std::vector<int>& labels, Index h, Index w, Index r, Index i, int c) {
  if (labels[static_cast<std::size_t>(i)] != c) return false;
  for (Index y = -1; y <= h; ++y) {
    for (Index x = -1; x <= w; ++x) {
      const bool outside = y < 0 || y == h || x < 0 || x == w;
      if (!outside && labels[static_cast<std::size_t>(y * w + x)] == c) continue;
      if (std::max(std::abs(y - i / w), std::abs(x - i % w)) <= r) return true;
    }
  }
  return false;
}

struct SlowCounts {
  std::vector<std::int64_t> both, either;
};

SlowCounts slow_counts(const std::vector<int>& truth, std::vector<int> predicted, Index h, Index w, Index classes, Index r) {
  SlowCounts out;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    if (truth[i] < 0 || truth[i] >= classes) predicted[i] = truth[i];
  }
  for (int c = 0; c < classes; ++c) {
    std::int64_t both = 0, either = 0;
    for (Index i = 0; i < h * w; ++i) {
      const bool t = slow_in_band(truth, h, w, r, i, c), p = slow_in_band(predicted, h, w, r, i, c);
      both += t && p ? 1 : 0;
      either += t || p ? 1 : 0;
    }
    out.both.push_back(both);
    out.either.push_back(either);
  }
  return out;
}

/// Blocks of random classes, so that regions have insides; a few pixels are void.
std::vector<int> random_labels(std::mt19937& random, Index h, Index w, int classes, Index block, bool with_void) {
  std::vector<int> cells(static_cast<std::size_t>((h / block + 1) * (w / block + 1)));
  for (int& c : cells) c = static_cast<int>(random() % static_cast<unsigned>(classes));
  std::vector<int> out;
  for (Index i = 0; i < h * w; ++i) {
    out.push_back(cells[static_cast<std::size_t>((i / w) / block * (w / block + 1) + (i % w) / block)]);
    if (random() % 17 == 0) out.back() = static_cast<int>(random() % static_cast<unsigned>(classes));
    if (with_void && random() % 13 == 0) out.back() = random() % 2 == 0 ? 255 : -1;
  }
  return out;
}

}  // namespace

TEST_CASE("a band is the pixels near another label or near the image's edge") {
  const auto labels = labels_of(
      "0000000 "
      "0000000 "
      "0000000 "
      "0000100 "
      "0000000 "
      "0000000 "
      "0000000");
  CHECK(boundary_band(view(labels), 7, 7, 1) == band_of("####### "
                                                       "#.....# "
                                                       "#..#### "
                                                       "#..#### "
                                                       "#..#### "
                                                       "#.....# "
                                                       "#######"));
  // Two pixels wide: the nine that lie deeper all lie within two of the 1, or are it.
  CHECK(boundary_band(view(labels), 7, 7, 2) == band_of("####### "
                                                       "####### "
                                                       "####### "
                                                       "####### "
                                                       "####### "
                                                       "####### "
                                                       "#######"));
  const std::vector<int> wide(9 * 9, 3);
  CHECK(boundary_band(view(wide), 9, 9, 4)[4 * 9 + 4] == 0);
  CHECK(boundary_band(view(wide), 9, 9, 5)[4 * 9 + 4] == 1);
}

TEST_CASE("a band's width is a share of the diagonal, at least a pixel") {
  CHECK(boundary_width(300, 400, 0.02) == 10);
  CHECK(boundary_width(448, 448, 0.02) == 13);  // 12.67
  CHECK(boundary_width(10, 10, 0.02) == 1);
}

TEST_CASE("boundary IoU of squares drawn by hand") {
  const auto truth = labels_of(
      "000000 "
      "011110 "
      "011110 "
      "011110 "
      "011110 "
      "000000");
  const auto shifted = labels_of(
      "000000 "
      "001111 "
      "001111 "
      "001111 "
      "001111 "
      "000000");
  BoundaryTally tally(3, 0.02);  // a pixel
  tally.add(view(truth), view(truth), 6, 6);
  CHECK(tally.scores().iou[0] == 1);
  CHECK(tally.scores().iou[1] == 1);
  CHECK(std::isnan(tally.scores().iou[2]));
  CHECK(tally.scores().absent == 1);
  CHECK(tally.scores().mean_iou == 1);
  CHECK(tally.scores(AbsentClasses::zero).mean_iou == Approx(2.0 / 3));

  BoundaryTally moved(2, 0.02);
  moved.add(view(truth), view(shifted), 6, 6);
  // Rings of 12 of the 16 pixels of 1. Both have columns 2 to 4 of the top and the bottom row: 6; the ring's other pixels
  // stand in column 1 and 4 here, 2 and 5 there, where the other has its inside or nothing.
  CHECK(moved.both(1) == 6);
  CHECK(moved.either(1) == 18);
  CHECK(moved.scores().iou[1] == Approx(1.0 / 3));
  // The plain IoU of the same is 12 of 20: the outline is told apart sooner than the area.
  ConfusionMatrix plain(2);
  plain.add(view(truth), view(shifted));
  CHECK(plain.scores().iou[1] == Approx(12.0 / 20));
}

TEST_CASE("void pixels are of no class, in truth and prediction") {
  const auto truth = labels_of(
      "00000 "
      "00000 "
      "00.00 "
      "00000 "
      "00000");
  const auto predicted = labels_of(
      "00000 "
      "00000 "
      "00100 "
      "00000 "
      "00000");
  BoundaryTally tally(2, 0.02);
  tally.add(view(truth), view(predicted), 5, 5);
  CHECK(tally.either(1) == 0);  // the 1 lies where nobody knows
  CHECK(tally.both(0) == 24);   // the frame, and the eight around the hole
  CHECK(tally.either(0) == 24);
}

TEST_CASE("bands and their meeting agree with the definition pixel by pixel, image after image") {
  std::mt19937 random(5);
  const Index classes = 4;
  for (const double share : {0.02, 0.1, 0.3}) {
    BoundaryTally tally(classes, share);
    SlowCounts expected{std::vector<std::int64_t>(4), std::vector<std::int64_t>(4)};
    for (const auto& [h, w] : {std::pair<Index, Index>{1, 1}, {1, 9}, {12, 17}, {23, 14}}) {
      for (const Index block : {1, 5, 9}) {
        const auto truth = random_labels(random, h, w, 4, block, true);
        const auto predicted = random_labels(random, h, w, 3, block, false);
        const Index r = std::max<Index>(1, std::lround(share * std::sqrt(static_cast<double>(h * h + w * w))));
        tally.add(view(truth), view(predicted), h, w);
        const SlowCounts own = slow_counts(truth, predicted, h, w, classes, r);
        for (std::size_t c = 0; c < 4; ++c) {
          expected.both[c] += own.both[c];
          expected.either[c] += own.either[c];
        }
      }
    }
    for (Index c = 0; c < classes; ++c) {
      CAPTURE(share, c);
      CHECK(tally.both(c) == expected.both[static_cast<std::size_t>(c)]);
      CHECK(tally.either(c) == expected.either[static_cast<std::size_t>(c)]);
    }
  }
}

TEST_CASE("what has no boundary IoU is refused by name") {
  const auto labels = labels_of("0 1 2 0");
  BoundaryTally tally(2, 0.02);
  CHECK(std::isnan(tally.scores().mean_iou));
  CHECK(contains(thrown_by<ShapeError>([&] { tally.add(view(labels), view(labels), 2, 3); }), "expected 2 x 3"));
  const auto known = labels_of("0 1 1 0");
  CHECK(contains(thrown_by<ShapeError>([&] { tally.add(view(known), view(labels), 2, 2); }), "class 2 predicted"));
  CHECK(tally.either(0) == 0);
  CHECK(contains(thrown_by<OptionError>([] { static_cast<void>(BoundaryTally(2, 0)); }), "'share' is 0"));
  CHECK(contains(thrown_by<ShapeError>([] { static_cast<void>(BoundaryTally(0)); }), "0 classes"));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(boundary_band(view(labels), 2, 2, 0)); }), "a band of 0"));
}
