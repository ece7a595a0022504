// Which patches count and what is taken out of them; images of one brightness; defects that are made up.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <dssl/data/source.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/pasted_defect.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/defects/standardised_images.hpp>

#include "noise_images.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <PixelType P>
Image<P> noise(Index height, Index width, Index channels, std::uint64_t seed) {
  return noise_image<P>(height, width, channels, {.seed = seed}, [](RandomStream& random) {
    return (0.3 + 0.4 * random.uniform()) * static_cast<double>(full_scale<P>);
  });
}

}  // namespace

TEST_CASE("a border is taken off the image's own patches, not off the input's") {
  constexpr Index patch = 2;
  const GridSize grid{4, 6};
  std::vector<std::uint8_t> labels(8 * 12, ClassMap::ignored);
  const auto counted = [&](Index border) { return counted_patches(labels, 8, 12, grid, patch, {.border = border}, "image"); };
  CHECK(counted(0).empty());
  CHECK(counted(3).empty());
  // The image fills rows 2..7 and columns 4..10: patches 1..3 down, 2..5 across, the last half filled.
  for (Index y = 2; y < 8; ++y) {
    for (Index x = 4; x < 11; ++x) labels[static_cast<std::size_t>(y * 12 + x)] = 0;
  }
  CHECK(counted(0) == std::vector<std::int32_t>{8, 9, 10, 11, 14, 15, 16, 17, 20, 21, 22, 23});
  CHECK(counted(1) == std::vector<std::int32_t>{15, 16});
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(counted(2)); }),
                 "image: has 3 x 4 patches; a border of 2 leaves none of them"));
  // An input that ends within its last patches.
  const std::vector<std::uint8_t> all(7 * 11, 0);
  CHECK(counted_patches(all, 7, 11, grid, patch, {.border = 1}, "image") == std::vector<std::int32_t>{7, 8, 9, 10, 13, 14, 15, 16});
  CHECK(contains(thrown_by<OptionError>([] { PatchRules{.border = -1}.validate(); }), "'border' is -1"));
  CHECK(contains(thrown_by<OptionError>([] { PatchRules{.place = -0.5}.validate(); }), "'place' is -0.5"));
}

TEST_CASE("a patch shows a defect that fills a quarter of it, or no other patch more") {
  CHECK(shows_defect(16, 40, 8));
  CHECK_FALSE(shows_defect(15, 40, 8));
  CHECK(shows_defect(3, 3, 8));
  CHECK_FALSE(shows_defect(0, 0, 8));
}

TEST_CASE("standardised columns have mean 0 and deviation 1, whatever gain and offset they had; what does not vary is 0") {
  std::vector<double> rows{1, 5, 7, 2, 5, 9, 6, 5, -4, 3, 5, 1};
  std::vector<double> changed;
  for (std::size_t i = 0; i < rows.size(); ++i) changed.push_back(i % 3 == 0 ? 4 * rows[i] + 3 : i % 3 == 1 ? rows[i] : rows[i] - 100);
  standardise_columns(std::span(rows), 3);
  standardise_columns(std::span(changed), 3);
  for (std::size_t d = 0; d < 3; ++d) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      mean += rows[3 * i + d] / 4;
      square += rows[3 * i + d] * rows[3 * i + d] / 4;
      CHECK(changed[3 * i + d] == Approx(rows[3 * i + d]).margin(1e-9));
    }
    CHECK(mean == Approx(0).margin(1e-12));
    CHECK(square == Approx(d == 1 ? 0 : 1).margin(1e-12));
  }
  CHECK(rows[3] < rows[9]);
  CHECK(rows[9] < rows[6]);
}

TEST_CASE("rows with places are apart by features and by place; typical distance is that of all pairs") {
  const std::vector<double> rows{0, 0, 1, 2, 4, 1, 3, 3};
  double sum = 0;
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int d = 0; d < 2; ++d) sum += std::pow(rows[static_cast<std::size_t>(2 * i + d)] - rows[static_cast<std::size_t>(2 * j + d)], 2) / 16;
    }
  }
  CHECK(typical_distance(std::span<const double>(rows), 2) == Approx(std::sqrt(sum)));
  const std::vector<std::int32_t> cells{0, 3, 9, 11};
  const auto placed = append_places(std::span<const double>(rows), 2, cells, {3, 4}, 5.0, 0.25);
  REQUIRE(placed.size() == 16);
  // Patches 0 and 3: three of four columns apart, in one row; 3 and 11: two of three rows.
  const auto apart = [&](std::size_t i, std::size_t j) {
    double squared = 0;
    for (std::size_t d = 2; d < 4; ++d) squared += std::pow(placed[4 * i + d] - placed[4 * j + d], 2);
    return std::sqrt(squared);
  };
  CHECK(apart(0, 1) == Approx(5 / 0.25 * 0.75));
  CHECK(apart(1, 3) == Approx(5 / 0.25 * 2 / 3.0));
  CHECK(placed[4] == 1);
  CHECK(placed[5] == 2);
}

TEST_CASE("standardised images forget gain and offset") {
  const Image<std::uint8_t> bright = noise<std::uint8_t>(9, 14, 3, 1);
  Image<std::uint16_t> dim(9, 14, 3);
  for (std::size_t i = 0; i < bright.pixels().size(); ++i) dim.pixels()[i] = static_cast<std::uint16_t>(40 * bright.pixels()[i] + 900);
  const auto a = std::get<Image<float>>(standardised(AnyImage(bright)));
  const auto b = std::get<Image<float>>(standardised(AnyImage(dim)));
  double mean = 0, square = 0;
  for (std::size_t i = 0; i < a.pixels().size(); ++i) {
    CHECK(b.pixels()[i] == Approx(a.pixels()[i]).margin(1e-5));
    mean += static_cast<double>(a.pixels()[i]) / static_cast<double>(a.pixels().size());
    square += std::pow(static_cast<double>(a.pixels()[i]) - 0.5, 2) / static_cast<double>(a.pixels().size());
  }
  CHECK(mean == Approx(0.5).margin(1e-6));
  CHECK(square == Approx(0.0625).margin(1e-5));
  const auto flat = std::get<Image<float>>(standardised(AnyImage(Image<std::uint8_t>(3, 3, 1))));
  CHECK(std::ranges::all_of(flat.pixels(), [](float v) { return v == 0.5F; }));
}

TEST_CASE("flattened images have the local mean and deviation of their formula, and forget uneven light") {
  const Image<std::uint8_t> image = noise<std::uint8_t>(11, 15, 2, 3);
  const auto flat = std::get<Image<float>>(flattened(AnyImage(image), 3));
  double all = 0, all_square = 0;
  for (const auto v : image.pixels()) {
    all += static_cast<double>(v) / 330;
    all_square += static_cast<double>(v) * static_cast<double>(v) / 330;
  }
  for (Index y = 0; y < 11; ++y) {
    for (Index x = 0; x < 15; ++x) {
      double mean = 0, square = 0, count = 0;
      for (Index v = std::max<Index>(0, y - 3); v <= std::min<Index>(10, y + 3); ++v) {
        for (Index u = std::max<Index>(0, x - 3); u <= std::min<Index>(14, x + 3); ++u) {
          for (Index c = 0; c < 2; ++c, ++count) {
            mean += static_cast<double>(image(v, u, c));
            square += static_cast<double>(image(v, u, c)) * static_cast<double>(image(v, u, c));
          }
        }
      }
      mean /= count;
      const double deviation = std::sqrt(square / count - mean * mean + 0.04 * (all_square - all * all));
      for (Index c = 0; c < 2; ++c)
        REQUIRE(static_cast<double>(flat(y, x, c)) == Approx(0.5 + 0.25 * (static_cast<double>(image(y, x, c)) - mean) / deviation).epsilon(1e-5));
    }
  }
  // A slope of light becomes even, but for the rim where the square is cut off.
  Image<float> slope(20, 40, 1);
  for (Index y = 0; y < 20; ++y) {
    for (Index x = 0; x < 40; ++x) slope(y, x, 0) = static_cast<float>(x) / 40;
  }
  const auto even = std::get<Image<float>>(flattened(AnyImage(slope), 4));
  for (Index x = 4; x < 36; ++x) CHECK(even(10, x, 0) == Approx(0.5).margin(1e-5));
  CHECK(std::ranges::all_of(std::get<Image<float>>(flattened(AnyImage(Image<std::uint8_t>(3, 3, 1)), 1)).pixels(), [](float v) { return v == 0.5F; }));
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(flattened(AnyImage(slope), 0)); }), "'flatten' is 0"));
}

TEST_CASE("a pasted defect changes its mask's pixels alone, is one of its key, and of the sizes that were asked for") {
  for (const PastedKind kind : {PastedKind::cut, PastedKind::scar, PastedKind::blob}) {
    for (std::uint64_t sample = 0; sample < 60; ++sample) {
      const AnyImage image = sample % 3 == 0   ? AnyImage(noise<std::uint8_t>(60, 90, 1, sample))
                             : sample % 3 == 1 ? AnyImage(noise<std::uint16_t>(90, 60, 3, sample))
                                               : AnyImage(noise<float>(64, 64, 2, sample));
      const PastedOptions options{.smallest = 0.1, .largest = 0.4, .seed = 9};
      const LabelledImage pasted = paste_defect(image, kind, sample, options);
      CAPTURE(static_cast<int>(kind), sample);
      const LabelledImage again = paste_defect(image, kind, sample, options);
      REQUIRE(pasted.image == again.image);
      REQUIRE(pasted.mask == again.mask);
      REQUIRE_FALSE(pasted.mask == paste_defect(image, kind, sample + 1000, options).mask);
      Index marked = 0, changed_inside = 0, changed_far = 0;
      Index top = 1000, bottom = -1, left = 1000, right = -1;
      std::visit(
          [&](const auto& from) {
            using P = typename std::decay_t<decltype(from)>::value_type;
            const auto& to = std::get<Image<P>>(pasted.image);
            for (Index y = 0; y < from.height(); ++y) {
              for (Index x = 0; x < from.width(); ++x) {
                bool changed = false, near = false;
                for (Index c = 0; c < from.channels(); ++c) {
                  changed = changed || from(y, x, c) != to(y, x, c);
                  REQUIRE(static_cast<double>(to(y, x, c)) >= 0);
                  REQUIRE(static_cast<double>(to(y, x, c)) <= static_cast<double>(full_scale<P>));
                }
                // A soft edge is not in the mask: within a third of the largest extent of it.
                for (Index v = std::max<Index>(0, y - 9); v <= std::min(from.height() - 1, y + 9) && !near; ++v) {
                  for (Index u = std::max<Index>(0, x - 9); u <= std::min(from.width() - 1, x + 9) && !near; ++u)
                    near = pasted.mask(v, u, 0) == 1;
                }
                changed_far += changed && !near ? 1 : 0;
                if (pasted.mask(y, x, 0) == 0) continue;
                ++marked;
                changed_inside += changed ? 1 : 0;
                top = std::min(top, y);
                bottom = std::max(bottom, y);
                left = std::min(left, x);
                right = std::max(right, x);
              }
            }
          },
          image);
      REQUIRE(marked >= 1);
      CHECK(changed_far == 0);
      CHECK(2 * changed_inside > marked);
      // The longer extent is at most 0.4 of 64 pixels, and a bent line of that length no wider.
      CHECK(bottom - top < 30);
      CHECK(right - left < 30);
    }
  }
  const auto problem = [](const PastedOptions& options) { return thrown_by<OptionError>([&] { options.validate(); }); };
  CHECK(contains(problem({.smallest = 0}), "'smallest' is 0"));
  CHECK(contains(problem({.smallest = 0.5, .largest = 0.3}), "'largest' is 0.3"));
  CHECK(contains(problem({.weakest = 0}), "'weakest' is 0"));
  CHECK(contains(problem({.weakest = 5}), "'strongest' is 4"));
}

TEST_CASE("every normal image gets defects of every kind in turn") {
  const MemoryImages normal({noise<std::uint8_t>(20, 30, 1, 1), noise<std::uint8_t>(2, 1, 1, 2)});
  const PastedDefects<MemoryImages> pasted(normal, 4);
  REQUIRE(pasted.size() == 8);
  std::array<Index, 3> counts{};
  for (Index i = 0; i < 8; ++i) {
    ++counts[static_cast<std::size_t>(pasted.kind(i))];
    const LabelledImage image = pasted.load(i);
    CHECK(height(image.image) == (i < 4 ? 20 : 2));
    const auto pixels = image.mask.pixels();
    CHECK(std::count(pixels.begin(), pixels.end(), 1) >= 1);
  }
  CHECK(*std::ranges::min_element(counts) >= 2);
  CHECK(contains(pasted.name(5), "image 1, with a pasted "));
  CHECK(contains(thrown_by<OptionError>([&] { PastedDefects<MemoryImages>(normal, 0); }), "'each' is 0"));
}

TEST_CASE("scores of one grid are read for another where the image is, not where its input is padded") {
  // An image of 40 x 56 pixels in the middle of an input of 56 x 56: its patches are rows 1 to 5 of 7.
  std::vector<std::uint8_t> labels(56 * 56, ClassMap::ignored);
  std::fill(labels.begin() + 8 * 56, labels.begin() + 48 * 56, std::uint8_t{0});
  const ShownGrid padded = ShownGrid::of(labels, 56, 56, {7, 7}, 8);
  CHECK((padded.top == 8 && padded.height == 40 && padded.left == 0 && padded.width == 56));
  std::vector<float> scores(49, -99.0F);  // what is padded must not be read
  for (std::size_t i = 7; i < 42; ++i) scores[i] = static_cast<float>(i);
  const std::vector<float> own = on_other_grid(scores, padded, {.grid = {5, 7}, .patch = 8, .height = 40, .width = 56});
  CHECK(std::ranges::equal(own, std::span(scores).subspan(7, 35)));
  // At twice the resolution, down the image: a quarter before and behind the middle of each row.
  const std::vector<float> finer = on_other_grid(scores, padded, {.grid = {10, 14}, .patch = 8, .height = 80, .width = 112});
  REQUIRE(finer.size() == 140);
  for (std::size_t y = 0; y < 10; ++y) {
    const double row = std::clamp(0.5 * static_cast<double>(y) + 0.75, 1.0, 5.0);
    CHECK(static_cast<double>(finer[14 * y]) == Approx(7 * row));
  }
  // Back from there, where the last patches reach beyond an image of 78 rows: 39 of the input's rows.
  const ShownGrid beyond{.grid = {10, 14}, .patch = 8, .height = 78, .width = 112};
  const auto back = on_other_grid(finer, beyond, {.grid = {10, 14}, .patch = 4, .height = 39, .width = 56});
  for (std::size_t i = 0; i < 140; ++i) CHECK(static_cast<double>(back[i]) == Approx(static_cast<double>(finer[i])));
  CHECK_THROWS_AS(on_other_grid(own, padded, padded), ShapeError);
  CHECK_THROWS_AS(ShownGrid::of(std::vector<std::uint8_t>(16, ClassMap::ignored), 4, 4, {1, 1}, 4), ShapeError);
}

TEST_CASE("a trend over sizes is that of normal images over the logarithm of their patches, and never falls") {
  // s = 3 + 0.5 log n + what is apart from it and from log n: the fit is exact.
  const std::vector<Index> patches{10, 10, 1000, 1000, 100, 100};
  std::vector<double> scores;
  for (std::size_t i = 0; i < patches.size(); ++i)
    scores.push_back(3 + 0.5 * std::log(static_cast<double>(patches[i])) + (i % 2 == 0 ? 0.25 : -0.25));
  const SizeTrend trend = SizeTrend::of(scores, patches);
  CHECK(trend.slope == Approx(0.5));
  CHECK(trend.usual == Approx(100));
  for (std::size_t i = 0; i < patches.size(); ++i)
    CHECK(trend.without(scores[i], patches[i]) == Approx(3 + 0.5 * std::log(100.0) + (i % 2 == 0 ? 0.25 : -0.25)));
  CHECK(trend.without(7, 100) == Approx(7));
  // Scores that fall with the number of patches, or of images of one size, are left as they are.
  const std::vector<double> falling{5, 5, 1, 1, 3, 3};
  CHECK(SizeTrend::of(falling, patches).slope == 0);
  CHECK(SizeTrend::of(falling, patches).without(5, 10) == 5);
  CHECK(SizeTrend::of(scores, std::vector<Index>(6, 77)).slope == 0);
  // The mean of three logarithms of 5 differs from them by rounding, which is no trend.
  CHECK(SizeTrend::of(std::vector<double>{3.3, 1.1, 2.2}, std::vector<Index>(3, 5)).slope == 0);
  CHECK(contains(thrown_by<DataError>([] { static_cast<void>(SizeTrend::of({}, {})); }), "there are no images"));
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(SizeTrend::of(falling, std::vector<Index>(6, 0))); }), "an image has no patch"));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(SizeTrend::of(falling, std::vector<Index>(5, 1))); }), "6 scores of 5 images"));
}

TEST_CASE("the largest of many patches of noise is larger, and without its trend it is not") {
  // 200 images of 10 to 10 000 patches whose scores are exponential: the largest of n is on average log n + Euler's constant.
  RandomStream random({.seed = 5});
  std::vector<double> scores;
  std::vector<Index> patches;
  for (Index i = 0; i < 200; ++i) {
    patches.push_back(static_cast<Index>(10 * std::pow(1000.0, static_cast<double>(i) / 199)));
    double largest = 0;
    for (Index n = 0; n < patches.back(); ++n) largest = std::max(largest, -std::log(1 - random.uniform()));
    scores.push_back(largest);
  }
  CHECK(SizeTrend::of(scores, patches).slope == Approx(1).margin(0.15));
}
