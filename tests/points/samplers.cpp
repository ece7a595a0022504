#include "catch.hpp"

#include <cmath>
#include <vector>

#include "fixtures.hpp"

#include <dssl/points/grid_points.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/points/random_points.hpp>

using namespace dssl;

TEST_CASE("the grid is the reference's") {
  const auto file = SafetensorsFile::open(test::fixture_path("geometry.safetensors"));
  const auto wanted = file.read<double>("grid3.relative");
  const GridPoints<3> sampler;
  std::vector<Point> points(static_cast<std::size_t>(sampler.count()));
  RandomStream random({});
  sampler.sample(points, random);
  REQUIRE(wanted.size() == 2 * points.size());
  for (std::size_t k = 0; k < points.size(); ++k) {
    CHECK(points[k].x == Approx(wanted[2 * k]).margin(1e-6));
    CHECK(points[k].y == Approx(wanted[2 * k + 1]).margin(1e-6));
  }
}

TEST_CASE("the number of points comes from the type or from the run") {
  CHECK(RandomPoints<>().count() == 2);
  CHECK(RandomPoints<7>().count() == 7);
  CHECK(RandomPoints<2>(5).count() == 5);
  CHECK(GridPoints<3>().count() == 9);
  CHECK(GridPoints<3>(4).count() == 16);
  CHECK(RandomPoints<7>::default_count == 7);
  CHECK(GridPoints<4>::default_count == 16);
  CHECK_THROWS_AS(RandomPoints<2>(0), OptionError);
  CHECK_THROWS_AS(GridPoints<2>(0), OptionError);
  RandomStream random({});
  std::vector<Point> points(3);
  CHECK_THROWS_AS(RandomPoints<2>().sample(points, random), ShapeError);
  CHECK_THROWS_AS(GridPoints<2>().sample(points, random), ShapeError);
}

TEST_CASE("random points fill the overlap evenly") {
  const RandomPoints<4> sampler;
  std::vector<Point> points(4);
  std::vector<int> cells(16, 0);
  const int pairs = 4000;
  for (int n = 0; n < pairs; ++n) {
    RandomStream random(point_key({.seed = 3, .sample = static_cast<std::uint64_t>(n)}, 1, 2, 6));
    sampler.sample(points, random);
    for (const Point& p : points) {
      REQUIRE((p.x >= 0.0 && p.x < 1.0 && p.y >= 0.0 && p.y < 1.0));
      ++cells[static_cast<std::size_t>(4.0 * p.x) * 4 + static_cast<std::size_t>(4.0 * p.y)];
    }
  }
  // 1000 expected a cell, standard deviation 31.
  for (const int count : cells) CHECK(std::abs(count - 1000) < 160);
}

TEST_CASE("each view pair has its own points, the same every time") {
  const auto drawn = [](Index q, Index v, std::uint32_t epoch) {
    RandomStream random(point_key({.seed = 1, .epoch = epoch, .sample = 9}, q, v, 6));
    std::vector<Point> points(2);
    RandomPoints<2>().sample(points, random);
    return points;
  };
  CHECK(drawn(0, 3, 0) == drawn(0, 3, 0));
  CHECK(drawn(0, 3, 0) != drawn(1, 3, 0));
  CHECK(drawn(0, 3, 0) != drawn(0, 4, 0));
  CHECK(drawn(0, 3, 0) != drawn(0, 3, 1));
  CHECK(point_key({}, 1, 0, 6).view == 6);
  CHECK(point_key({}, 0, 5, 6).view == 5);
  CHECK(point_key({}, 0, 5, 6).purpose == Purpose::points);
}
