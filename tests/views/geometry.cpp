#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "fixtures.hpp"

#include <dssl/core/random.hpp>
#include <dssl/views/geometry.hpp>

using namespace dssl;

namespace {

Box random_inner_box(Index height, Index width, RandomStream& random) {
  const auto below = [&](Index n) { return static_cast<Index>(random.below(static_cast<std::uint32_t>(n))); };
  const Index h = 1 + below(height);
  const Index w = 1 + below(width);
  return {below(height - h + 1), below(width - w + 1), h, w};
}

double distance(const Point& a, const Point& b) { return std::max(std::abs(a.x - b.x), std::abs(a.y - b.y)); }

}  // namespace

TEST_CASE("points of view pairs are the reference's") {
  const auto file = SafetensorsFile::open(test::fixture_path("geometry.safetensors"));
  int cases = 0;
  for (int n = 0; file.contains(std::to_string(n) + ".boxes"); ++n, ++cases) {
    const std::string name = std::to_string(n) + ".";
    const auto corners = file.read<double>(name + "boxes");  // (V,4): x0, y0, x1, y1
    const auto flips = file.read<int>(name + "flips");
    const auto relative = file.read<double>(name + "relative");  // (2,V,K,2)
    const auto teacher = file.read<double>(name + "teacher");    // (2,V,K,2)
    const auto student = file.read<double>(name + "student");    // (V,2,K,2)
    const auto views = static_cast<Index>(flips.size());
    const Index points = file.shape(name + "relative").at(2);
    std::vector<CropMap> maps;
    for (std::size_t v = 0; v < flips.size(); ++v) {
      const auto at = [&](std::size_t i) { return static_cast<Index>(corners[4 * v + i]); };
      maps.push_back({{at(1), at(0), at(3) - at(1), at(2) - at(0)}, flips[v] != 0});
    }
    double worst = 0;
    const auto wanted = [](const std::vector<double>& from, Index i) {
      return Point{from[static_cast<std::size_t>(2 * i)], from[static_cast<std::size_t>(2 * i + 1)]};
    };
    for (Index q = 0; q < 2; ++q) {
      for (Index v = 0; v < views; ++v) {
        std::vector<Point> in;
        for (Index k = 0; k < points; ++k) in.push_back(wanted(relative, (q * views + v) * points + k));
        std::vector<Point> in_teacher(in.size());
        std::vector<Point> in_student(in.size());
        pair_points(std::span<Point>(in_teacher), std::span<Point>(in_student),
                    maps[static_cast<std::size_t>(q)], maps[static_cast<std::size_t>(v)],
                    std::span<const Point>(in));
        for (Index k = 0; k < points; ++k) {
          const auto at = static_cast<std::size_t>(k);
          worst = std::max(worst, distance(in_teacher[at], wanted(teacher, (q * views + v) * points + k)));
          worst = std::max(worst, distance(in_student[at], wanted(student, (v * 2 + q) * points + k)));
        }
      }
    }
    INFO("case " << n);
    CHECK(worst < 1e-5);
  }
  CHECK(cases > 0);
}

TEST_CASE("a view's map and its inverse undo each other") {
  RandomStream random({.seed = 11});
  for (int n = 0; n < 500; ++n) {
    const CropMap map{random_inner_box(300, 400, random), random.bernoulli(0.5)};
    const Point p{random.uniform(-1, 1), random.uniform(-1, 1)};
    CHECK(distance(map.to_view(map.to_scene(p)), p) < 1e-10);
    const ScenePoint s = map.to_scene(p);
    const ScenePoint again = map.to_scene(map.to_view(s));
    CHECK(std::abs(again.x - s.x) + std::abs(again.y - s.y) < 1e-9);
    CHECK(s.x >= static_cast<double>(map.box.x));
    CHECK(s.x <= static_cast<double>(map.box.x + map.box.width));
    CHECK(s.y >= static_cast<double>(map.box.y));
    CHECK(s.y <= static_cast<double>(map.box.y + map.box.height));
  }
}

TEST_CASE("a view that is known by its frame has the map of its crop, to the bit") {
  for (const bool flip : {false, true}) {
    const CropMap crop{{7, 30, 40, 25}, flip}, other{{20, 11, 60, 33}, !flip};
    const auto framed = [](const CropMap& map) {
      const ScenePoint first = map.to_scene({-1, -1}), last = map.to_scene({1, 1});
      return FrameMap{{{first.x, first.y}, {last.x, last.y}}};
    };
    CHECK(framed(crop).flip() == flip);
    for (const Point& p : {Point{-1, -1}, Point{1, 1}, Point{0.3, -0.7}, Point{-0.1, 0.9}}) {
      CHECK((framed(crop).to_scene(p) == crop.to_scene(p)));
      CHECK((framed(crop).to_view({31.7, 22.2}) == crop.to_view({31.7, 22.2})));
      const Point relative{0.5 * (p.x + 1), 0.5 * (p.y + 1)};
      const PointPair expected = pair_points(crop, other, relative), found = pair_points(framed(crop), framed(other), relative);
      CHECK((found.teacher == expected.teacher && found.student == expected.student));
    }
  }
}

TEST_CASE("a pair of points is one scene point, and a flip mirrors x alone") {
  RandomStream random({.seed = 12});
  int overlapping = 0;
  for (int n = 0; n < 500; ++n) {
    const CropMap a{random_inner_box(100, 80, random), random.bernoulli(0.5)};
    const CropMap b{random_inner_box(100, 80, random), random.bernoulli(0.5)};
    const Point relative{random.uniform(), random.uniform()};
    const PointPair pair = pair_points(a, b, relative);
    for (const Point& p : {pair.teacher, pair.student}) {
      CHECK(std::abs(p.x) <= 1.0);
      CHECK(std::abs(p.y) <= 1.0);
    }
    if (intersect(a.box, b.box).area() == 0) continue;
    ++overlapping;
    const ScenePoint from_a = a.to_scene(pair.teacher);
    const ScenePoint from_b = b.to_scene(pair.student);
    CHECK(std::abs(from_a.x - from_b.x) < 1e-9);
    CHECK(std::abs(from_a.y - from_b.y) < 1e-9);
    CropMap mirrored = b;
    mirrored.flip = !b.flip;
    const PointPair other = pair_points(a, mirrored, relative);
    CHECK(other.teacher == pair.teacher);
    CHECK(other.student.x == -pair.student.x);
    CHECK(other.student.y == pair.student.y);
  }
  CHECK(overlapping > 100);
}

TEST_CASE("without a common part, points lie at the nearest edges") {
  const CropMap left{{10, 0, 20, 10}, false};
  const CropMap right{{10, 30, 20, 10}, true};
  CHECK(intersect(left.box, right.box).area() == 0);
  const PointPair pair = pair_points(left, right, {0.7, 0.25});
  CHECK(pair.teacher == Point{1.0, -0.5});
  // Mirrored, the right view's left edge is at x = 1.
  CHECK(pair.student == Point{1.0, -0.5});
}

TEST_CASE("intersections and containment of boxes") {
  CHECK(intersect({0, 0, 10, 20}, {5, 15, 10, 20}) == Box{5, 15, 5, 5});
  CHECK(intersect({0, 0, 10, 20}, {10, 0, 10, 20}).area() == 0);
  CHECK(intersect({0, 0, 10, 20}, {50, 60, 10, 20}).area() == 0);
  CHECK(inside({0, 0, 10, 20}, 10, 20));
  CHECK_FALSE(inside({0, 0, 10, 21}, 10, 20));
  CHECK_FALSE(inside({-1, 0, 5, 5}, 10, 20));
  CHECK_FALSE(inside({0, 0, 0, 5}, 10, 20));
}

TEST_CASE("pair_points refuses spans of different lengths") {
  std::vector<Point> two(2);
  std::vector<Point> three(3);
  const CropMap map{{0, 0, 4, 4}, false};
  CHECK_THROWS_AS(
      pair_points(std::span<Point>(two), std::span<Point>(three), map, map, std::span<const Point>(three)),
      ShapeError);
}
