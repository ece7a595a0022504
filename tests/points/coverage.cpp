// How evenly the samplers cover the overlap, against points drawn independently.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <dssl/concepts.hpp>
#include <dssl/points/even_points.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/jittered_grid.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/views/geometry.hpp>

using namespace dssl;

namespace {

RandomStream stream(std::uint64_t sample) { return RandomStream(point_key({.seed = 5, .sample = sample}, 1, 2, 6)); }

template <class Sampler>
std::vector<Point> drawn(const Sampler& sampler, std::uint64_t sample) {
  std::vector<Point> points(static_cast<std::size_t>(sampler.count()));
  RandomStream random = stream(sample);
  sampler.sample(points, random);
  return points;
}

/// The star discrepancy, exactly: the largest difference, over all boxes at the origin, between a box's area and its
/// share of the points. It is reached at a corner made of points' coordinates, the box closed or open.
double discrepancy(const std::vector<Point>& points) {
  std::vector<double> xs{1.0};
  std::vector<double> ys{1.0};
  for (const Point& p : points) xs.push_back(p.x), ys.push_back(p.y);
  double worst = 0;
  for (const double x : xs) {
    for (const double y : ys) {
      double open = 0;
      double closed = 0;
      for (const Point& p : points) {
        open += p.x < x && p.y < y ? 1 : 0;
        closed += p.x <= x && p.y <= y ? 1 : 0;
      }
      const auto n = static_cast<double>(points.size());
      worst = std::max({worst, x * y - open / n, closed / n - x * y});
    }
  }
  return worst;
}

template <class Sampler>
double mean_discrepancy(const Sampler& sampler) {
  double sum = 0;
  for (std::uint64_t n = 0; n < 40; ++n) sum += discrepancy(drawn(sampler, n));
  return sum / 40;
}

/// How many points of 4000 view pairs lie in each of 16 cells of the overlap, against what is expected: the largest
/// difference as a share.
template <class Sampler>
double largest_bias(const Sampler& sampler) {
  std::vector<double> cells(16, 0);
  const int pairs = 4000;
  for (int n = 0; n < pairs; ++n) {
    for (const Point& p : drawn(sampler, static_cast<std::uint64_t>(n))) {
      REQUIRE((p.x >= 0.0 && p.x < 1.0 && p.y >= 0.0 && p.y < 1.0));
      ++cells[static_cast<std::size_t>(4.0 * p.x) * 4 + static_cast<std::size_t>(4.0 * p.y)];
    }
  }
  const double expected = pairs * static_cast<double>(sampler.count()) / 16;
  double worst = 0;
  for (const double count : cells) worst = std::max(worst, std::abs(count / expected - 1));
  return worst;
}

}  // namespace

static_assert(PointSampler<JitteredGrid<>> && PointSampler<EvenPoints<>> && PointSampler<MixedPoints<GridPoints<2>, RandomPoints<3>>>);

TEST_CASE("the discrepancy of a known set") {
  // The box that holds less than (1/2, 1/2) has area 1/4 and no point; closed it has all, so 3/4 too many.
  CHECK(discrepancy({{0.5, 0.5}}) == Approx(0.75));
}

TEST_CASE("jittered and even points are more even than random ones, and as far from biased") {
  const double random = mean_discrepancy(RandomPoints<2>(64));
  const double jittered = mean_discrepancy(JitteredGrid<3>(8));
  const double even = mean_discrepancy(EvenPoints<2>(64));
  CAPTURE(random, jittered, even);
  CHECK(random > 0.08);
  CHECK(jittered < 0.7 * random);
  CHECK(even < 0.5 * random);
  // Few points, and no square.
  CHECK(mean_discrepancy(EvenPoints<7>()) < 0.85 * mean_discrepancy(RandomPoints<7>()));
  // 28000 and 36000 points: 16 cells of about 2000 each, standard deviation at most 0.023 of that.
  CHECK(largest_bias(EvenPoints<7>()) < 0.1);
  CHECK(largest_bias(JitteredGrid<3>()) < 0.1);
}

TEST_CASE("a jittered grid has one point in each cell, in the grid's order") {
  for (std::uint64_t n = 0; n < 50; ++n) {
    const auto grid = drawn(GridPoints<5>(), n);
    const auto jittered = drawn(JitteredGrid<5>(), n);
    for (std::size_t k = 0; k < grid.size(); ++k) {
      REQUIRE(std::abs(grid[k].x - jittered[k].x) <= 0.1);
      REQUIRE(std::abs(grid[k].y - jittered[k].y) <= 0.1);
    }
  }
  CHECK(drawn(JitteredGrid<2>(), 0) != drawn(JitteredGrid<2>(), 1));
  CHECK(drawn(JitteredGrid<2>(), 1) == drawn(JitteredGrid<2>(), 1));
}

TEST_CASE("a mixture has the points of each, one after the other, from one stream") {
  const MixedPoints<GridPoints<2>, RandomPoints<3>> mixed;
  CHECK(mixed.count() == 7);
  CHECK(decltype(mixed)::default_count == 7);
  const auto points = drawn(mixed, 3);
  const auto grid = drawn(GridPoints<2>(), 3);
  const auto random = drawn(RandomPoints<3>(), 3);
  CHECK(std::equal(grid.begin(), grid.end(), points.begin()));
  CHECK(std::equal(random.begin(), random.end(), points.begin() + 4));
  const MixedPoints<EvenPoints<2>, RandomPoints<2>> counted(EvenPoints<2>(5), RandomPoints<2>(1));
  CHECK(counted.count() == 6);
  // The second sampler goes on in the stream where the first ended.
  RandomStream stream_of = stream(4);
  std::vector<Point> apart(6);
  EvenPoints<2>(5).sample(std::span(apart).first(5), stream_of);
  RandomPoints<2>(1).sample(std::span(apart).last(1), stream_of);
  CHECK(drawn(counted, 4) == apart);
}

TEST_CASE("numbers of points that cannot be, and room for others, are refused") {
  CHECK_THROWS_AS(JitteredGrid<2>(0), OptionError);
  CHECK_THROWS_AS(JitteredGrid<2>(4097), OptionError);
  CHECK_THROWS_AS(EvenPoints<2>(0), OptionError);
  RandomStream random({});
  std::vector<Point> points(3);
  CHECK_THROWS_AS(JitteredGrid<2>().sample(points, random), ShapeError);
  CHECK_THROWS_AS(EvenPoints<2>().sample(points, random), ShapeError);
  CHECK_THROWS_AS((MixedPoints<EvenPoints<1>, RandomPoints<1>>().sample(points, random)), ShapeError);
}

TEST_CASE("points of every sampler are one place of the scene in both views") {
  const CropMap teacher{{10, 20, 100, 120}, true};
  const CropMap student{{50, 60, 90, 100}, false};
  const MixedPoints<JitteredGrid<4>, EvenPoints<9>> sampler;
  for (const Point& p : drawn(sampler, 8)) {
    const PointPair pair = pair_points(teacher, student, p);
    const ScenePoint a = teacher.to_scene(pair.teacher);
    const ScenePoint b = student.to_scene(pair.student);
    CHECK((std::abs(a.x - b.x) < 1e-9 && std::abs(a.y - b.y) < 1e-9));
  }
}
