// Points drawn by weights: the density that is asked for, and edges found.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <dssl/points/point_key.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/points/weighted_points.hpp>

using namespace dssl;

namespace {

const ViewFrame whole{{0, 0}, {1, 1}};

std::vector<Point> drawn(const PointWeights& weights, const ViewFrame& region, std::size_t count, std::uint64_t sample = 0) {
  std::vector<Point> points(count);
  RandomStream random(point_key({.seed = 2, .sample = sample}, 0, 1, 2));
  weights.sample(points, random, region);
  for (const Point& p : points) REQUIRE((p.x >= 0 && p.x <= 1 && p.y >= 0 && p.y <= 1));
  return points;
}

}  // namespace

TEST_CASE("the share of the points in a cell is its share of the weights") {
  const PointWeights weights(2, 3, {1, 0, 3, 2, 4, 0});
  const std::size_t count = 40000;
  std::array<double, 6> shares{};
  std::array<double, 6> x{};
  for (const Point& p : drawn(weights, whole, count)) {
    const auto cell = static_cast<std::size_t>(2 * p.y) * 3 + static_cast<std::size_t>(3 * p.x);
    REQUIRE(cell < 6);
    shares[cell] += 1.0 / static_cast<double>(count);
    x[cell] += 3 * p.x - std::floor(3 * p.x);
  }
  const std::array<double, 6> wanted{0.1, 0, 0.3, 0.2, 0.4, 0};
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(std::abs(shares[i] - wanted[i]) < 0.0125);  // five standard deviations
    // Within a cell uniform: the mean in the middle.
    if (wanted[i] > 0) CHECK(std::abs(x[i] / (shares[i] * static_cast<double>(count)) - 0.5) < 0.025);
  }
}

TEST_CASE("cells that a region cuts count with their part, and points are relative to it") {
  // From the middle of the first cell to a quarter of the second: weights 1 x 1/2 and 6 x 1/4, so 3/4 of the points lie
  // behind 2/3 of the region.
  const PointWeights weights(1, 3, {1, 6, 100});
  double behind = 0;
  for (const Point& p : drawn(weights, {{1.0 / 6, 0.25}, {5.0 / 12, 0.5}}, 20000)) behind += p.x > 2.0 / 3 ? 1 : 0;
  CHECK(std::abs(behind / 20000 - 0.75) < 0.016);
}

TEST_CASE("without weights in the region, points are uniform; a region may be a line or a point") {
  const PointWeights weights(2, 2, {0, 5, 0, 5});
  double left = 0;
  double above = 0;
  for (const Point& p : drawn(weights, {{0, 0}, {0.5, 1}}, 10000)) left += p.x < 0.5, above += p.y < 0.5;
  CHECK(std::abs(left / 10000 - 0.5) < 0.025);
  CHECK(std::abs(above / 10000 - 0.5) < 0.025);
  for (const ViewFrame& region : {ViewFrame{{1, 1}, {1, 1}}, ViewFrame{{0.5, 0}, {0.5, 1}}, ViewFrame{{0, 0}, {0, 0}}})
    static_cast<void>(drawn(weights, region, 100));
}

TEST_CASE("points by gradient energy lie on what has texture") {
  // A chequered square, a sixteenth of a flat image.
  Image<std::uint8_t> image(64, 64, 3);
  for (std::uint8_t& value : image.pixels()) value = 100;
  for (Index y = 32; y < 48; ++y)
    for (Index x = 16; x < 32; ++x)
      for (Index c = 0; c < 3; ++c) image(y, x, c) = (x / 2 + y / 2) % 2 == 0 ? 50 : 150;
  const PointWeights energy = gradient_energy(image, 16, 16);
  const auto mean = [&](const std::vector<Point>& points) {
    double sum = 0;
    for (const Point& p : points) {
      const auto at = [](double v, Index cells) { return std::min(static_cast<Index>(v * static_cast<double>(cells)), cells - 1); };
      sum += energy(at(p.y, 16), at(p.x, 16));
    }
    return sum / static_cast<double>(points.size());
  };
  std::vector<Point> random(4000);
  RandomStream stream({});
  RandomPoints<1>(4000).sample(random, stream);
  const double salient = mean(drawn(energy, whole, 4000));
  CAPTURE(salient, mean(random));
  CHECK(salient > 8 * mean(random));
  CHECK(drawn(energy, whole, 50, 1) == drawn(energy, whole, 50, 1));
  CHECK(drawn(energy, whole, 50, 1) != drawn(energy, whole, 50, 2));
}

TEMPLATE_TEST_CASE("the energy of a ramp is its slope's square, whatever the pixels", "", std::uint8_t, std::uint16_t, float) {
  Image<TestType> image(4, 6, 1);
  const auto step = static_cast<TestType>(full_scale<TestType> / 5);
  for (Index y = 0; y < 4; ++y)
    for (Index x = 0; x < 6; ++x) image(y, x, 0) = static_cast<TestType>(static_cast<TestType>(x) * step);
  const PointWeights energy = gradient_energy(image, 2, 3);
  CHECK((energy.rows() == 2 && energy.columns() == 3));
  CHECK(energy(0, 1) == Approx(0.04));            // (1/5)^2
  CHECK(energy(1, 0) == Approx((0.01 + 0.04) / 2));  // at the border half the slope
  // No more cells than pixels, and no gradient in one pixel.
  const PointWeights one = gradient_energy(Image<TestType>(1, 1, 2));
  CHECK((one.rows() == 1 && one.columns() == 1 && one(0, 0) == 0));
}

TEST_CASE("weights and regions that cannot be are refused") {
  CHECK_THROWS_AS(PointWeights(2, 2, {1, 2, 3}), ShapeError);
  CHECK_THROWS_AS(PointWeights(0, 2, {}), ShapeError);
  CHECK_THROWS_AS(PointWeights(1, 2, {1, -1}), OptionError);
  CHECK_THROWS_AS(PointWeights(1, 1, {std::numeric_limits<double>::quiet_NaN()}), OptionError);
  CHECK_THROWS_AS(PointWeights(1, 1, {std::numeric_limits<double>::infinity()}), OptionError);
  CHECK_THROWS_AS(gradient_energy(Image<float>(2, 2, 1), 0, 1), OptionError);
  std::vector<Point> points(1);
  RandomStream random({});
  const PointWeights weights(1, 1, {1});
  for (const ViewFrame& region : {ViewFrame{{0, 0}, {1.1, 1}}, ViewFrame{{-0.1, 0}, {1, 1}}, ViewFrame{{0.5, 0}, {0.4, 1}}})
    CHECK_THROWS_AS(weights.sample(points, random, region), ShapeError);
}
