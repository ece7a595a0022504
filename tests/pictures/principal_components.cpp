// Principal components against a slow search for them, and the colours of patches.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include <dssl/pictures/principal_components.hpp>

#include "compare.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Rows (m,d) with a large mean and deviations that fall from direction to direction, mixed by a random
/// matrix.
std::vector<double> drawn_rows(Index m, Index d, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  const auto width = static_cast<std::size_t>(d);
  std::vector<double> mix(width * width);
  for (double& v : mix) v = normal(random);
  std::vector<double> rows;
  for (Index i = 0; i < m; ++i) {
    std::vector<double> x(width);
    for (std::size_t k = 0; k < width; ++k) x[k] = normal(random) / static_cast<double>(1 + k * k);
    for (std::size_t j = 0; j < width; ++j) {
      double sum = 1000;
      for (std::size_t k = 0; k < width; ++k) sum += mix[j * width + k] * x[k];
      rows.push_back(sum);
    }
  }
  return rows;
}

/// The slow way: power iteration on the rows themselves, one component after the other, each taken out of the
/// rows.
std::vector<std::vector<double>> slow_components(std::vector<double> rows, Index m, Index d, int count,
                                                 std::vector<double>& variances) {
  const auto width = static_cast<std::size_t>(d);
  const auto height = static_cast<std::size_t>(m);
  for (std::size_t j = 0; j < width; ++j) {
    double mean = 0;
    for (std::size_t i = 0; i < height; ++i) mean += rows[i * width + j] / static_cast<double>(m);
    for (std::size_t i = 0; i < height; ++i) rows[i * width + j] -= mean;
  }
  std::vector<std::vector<double>> out;
  for (int k = 0; k < count; ++k) {
    std::vector<double> axis(width, 1.0);
    axis[static_cast<std::size_t>(k)] = 3;
    double variance = 0;
    for (int step = 0; step < 5000; ++step) {
      std::vector<double> next(width, 0.0);
      for (std::size_t i = 0; i < height; ++i) {
        double along = 0;
        for (std::size_t j = 0; j < width; ++j) along += rows[i * width + j] * axis[j];
        for (std::size_t j = 0; j < width; ++j)
          next[j] += along * rows[i * width + j] / static_cast<double>(m);
      }
      variance = 0;
      for (const double v : next) variance += v * v;
      variance = std::sqrt(variance);
      for (std::size_t j = 0; j < width; ++j) axis[j] = next[j] / variance;
    }
    variances.push_back(variance);
    const double largest = *std::max_element(axis.begin(), axis.end(),
                                             [](double a, double b) { return std::abs(a) < std::abs(b); });
    if (largest < 0) {
      for (double& v : axis) v = -v;
    }
    out.push_back(axis);
    for (std::size_t i = 0; i < height; ++i) {
      double along = 0;
      for (std::size_t j = 0; j < width; ++j) along += rows[i * width + j] * axis[j];
      for (std::size_t j = 0; j < width; ++j) rows[i * width + j] -= along * axis[j];
    }
  }
  return out;
}

}  // namespace

TEST_CASE("principal components are those of a slow search, signs too") {
  for (const std::uint32_t seed : {1U, 2U, 3U}) {
    const auto rows = drawn_rows(60, 9, seed);
    std::vector<double> variances;
    const auto expected = slow_components(rows, 60, 9, 3, variances);
    const auto found = principal_components(MatrixView<const double>(rows.data(), 60, 9), 3);
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(found.variances[k] == Approx(variances[k]).epsilon(1e-9));
      CHECK(relative_difference<double, double>(std::span(found.axes).subspan(9 * k, 9), expected[k]) < 1e-6);
    }
    // Coordinates have mean 0 and the variance of their component.
    std::vector<double> mean(3, 0.0), square(3, 0.0);
    for (std::size_t i = 0; i < 60; ++i) {
      const auto at = found.coordinates(std::span<const double>(rows).subspan(9 * i, 9));
      for (std::size_t k = 0; k < 3; ++k) {
        mean[k] += at[k] / 60;
        square[k] += at[k] * at[k] / 60;
      }
    }
    double all = 0;
    for (const double v : found.variances) all += v;
    CHECK(all <= found.total);
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(std::abs(mean[k]) < 1e-9);
      CHECK(square[k] == Approx(found.variances[k]).epsilon(1e-9));
    }
  }
}

TEST_CASE("principal components of some rows are those of these rows alone") {
  const auto rows = drawn_rows(40, 5, 8);
  std::vector<std::uint8_t> use(40, 0);
  std::vector<double> some;
  for (std::size_t i = 0; i < 40; i += 3) {
    use[i] = 1;
    some.insert(some.end(), rows.begin() + static_cast<Index>(5 * i),
                rows.begin() + static_cast<Index>(5 * i + 5));
  }
  const auto marked = principal_components(MatrixView<const double>(rows.data(), 40, 5), 2, use);
  const auto alone = principal_components(MatrixView<const double>(some.data(), 14, 5), 2);
  CHECK(marked.axes == alone.axes);
  CHECK(marked.mean == alone.mean);
  CHECK(contains(thrown_by<DataError>([&] {
                   static_cast<void>(principal_components(MatrixView<const double>(rows.data(), 1, 5), 2));
                 }),
                 "of 1 patches; expected at least 2"));
}

TEST_CASE("patches on a line get the colours from end to end of the first component") {
  // Along (1, 2, 2) / 3, from 0 to 4; the other two components do not vary.
  std::vector<float> rows;
  for (int i = 0; i < 5; ++i) {
    rows.insert(rows.end(), {static_cast<float>(i), static_cast<float>(2 * i), static_cast<float>(2 * i)});
  }
  const MatrixView<const float> patches(rows.data(), 5, 3);
  const auto colours = component_colours(patches, {.clip = 0});
  CHECK(colours.foreground == std::vector<std::uint8_t>(5, 1));
  CHECK(colours.components.variances[0] == Approx(18));
  std::vector<int> red;
  for (std::size_t i = 0; i < 5; ++i) red.push_back(colours.colours[3 * i]);
  CHECK(red == std::vector<int>{0, 64, 128, 191, 255});
  const auto picture = component_picture(std::span(colours.colours).first(12), {2, 2}, 4, 6);
  CHECK(picture(0, 0, 0) == 0);
  CHECK(picture(1, 2, 0) == 0);
  CHECK(picture(1, 3, 0) == 64);
  CHECK(picture(3, 5, 0) == 191);

  // The half of the range that is foreground has the whole of the colours; the rest is black.
  const auto upper = component_colours(patches, {.foreground = 0.4, .clip = 0});
  CHECK(upper.foreground == std::vector<std::uint8_t>{0, 0, 1, 1, 1});
  CHECK(std::vector<int>{upper.colours[6], upper.colours[9], upper.colours[12]} ==
        std::vector<int>{0, 128, 255});
  CHECK(std::all_of(upper.colours.begin(), upper.colours.begin() + 6, [](auto v) { return v == 0; }));
  const auto lower = component_colours(patches, {.foreground = 0.4, .reversed = true, .clip = 0});
  CHECK(lower.foreground == std::vector<std::uint8_t>{1, 1, 1, 0, 0});
  CHECK(contains(
      thrown_by<DataError>([&] { static_cast<void>(component_colours(patches, {.foreground = 0.99})); }),
      "of 1 patches"));
  CHECK(
      contains(thrown_by<OptionError>([&] { static_cast<void>(component_colours(patches, {.clip = 0.5})); }),
               "'clip' is 0.5"));
}

TEST_CASE("a few patches far out do not take the colours from the rest") {
  std::vector<float> rows(2 * 200);
  for (std::size_t i = 0; i < 200; ++i) rows[2 * i] = static_cast<float>(i);
  rows[2 * 199] = 100000;
  const auto colours = component_colours(MatrixView<const float>(rows.data(), 200, 2), {.clip = 0.01});
  CHECK(colours.components.count() == 2);
  CHECK(colours.colours[3 * 199] == 255);
  CHECK(colours.colours[3 * 100] == Approx(128).margin(2));
}
