// Homographies, and views that are seen through one.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "thrown.hpp"

#include <dssl/core/random.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/homography.hpp>

using namespace dssl;

namespace {

double apart(const ScenePoint& a, const ScenePoint& b) { return std::max(std::abs(a.x - b.x), std::abs(a.y - b.y)); }

constexpr std::array<ScenePoint, 4> square{{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}}};

/// A view of a scene of 3000 x 4000 pixels, turned, sheared and seen at an angle, all at random.
HomographyMap drawn_map(RandomStream& random) {
  std::array<ScenePoint, 4> corners = square;
  for (ScenePoint& p : corners) p = {p.x * random.uniform(0.5, 1), p.y * random.uniform(0.5, 1)};
  const Homography plane = Homography::shift(random.uniform(800, 3200), random.uniform(800, 2200)) *
                           Homography::rotation(random.uniform(-180, 180)) * Homography::shear(random.uniform(-0.4, 0.4), 0.1) *
                           Homography::scale(random.uniform(20, 1500), random.uniform(20, 1500)) * Homography::to_corners(corners);
  return {plane, 3000, 4000};
}

}  // namespace

TEST_CASE("homographies: what each kind does to a point, and one after another") {
  CHECK(apart(Homography()(3, -2), {3, -2}) == 0);
  CHECK(apart(Homography::shift(2, 5)(3, -2), {5, 3}) == 0);
  CHECK(apart(Homography::scale(2, 5)(3, -2), {6, -10}) == 0);
  CHECK(apart(Homography::shear(0.5, 0.25)(4, 2), {5, 3}) == 0);
  CHECK(apart(Homography::rotation(90)(1, 0), {0, 1}) < 1e-15);  // clockwise to the eye
  CHECK(apart(Homography::rotation(30)(2, 0), {std::sqrt(3.0), 1}) < 1e-15);
  CHECK(apart((Homography::shift(1, 0) * Homography::scale(2, 2))(3, 4), {7, 8}) == 0);  // scaled, then moved
  const Homography turned = Homography::rotation(20) * Homography::rotation(25);
  CHECK(apart(turned(1, 0), Homography::rotation(45)(1, 0)) < 1e-15);
  CHECK(apart(Homography({1, 0, 0, 0, 1, 0, 0.5, 0, 1})(2, 3), {1, 1.5}) == 0);  // twice as far away
}

TEST_CASE("homographies: corners go where they are sent, and every point comes back") {
  RandomStream random({.seed = 4});
  double of_corners = 0, back = 0;
  for (int i = 0; i < 200; ++i) {
    std::array<ScenePoint, 4> to = square;
    for (ScenePoint& p : to) p = {100 + 80 * p.x * random.uniform(0.5, 1), 70 + 60 * p.y * random.uniform(0.5, 1)};
    const Homography map = Homography::to_corners(to);
    for (std::size_t c = 0; c < 4; ++c) of_corners = std::max(of_corners, apart(map(square[c].x, square[c].y), to[c]));
    const Homography inverse = map.inverse();
    for (int k = 0; k < 20; ++k) {
      const double x = random.uniform(-1, 1), y = random.uniform(-1, 1);
      const ScenePoint there = map(x, y);
      back = std::max(back, apart(inverse(there.x, there.y), {x, y}));
    }
  }
  CHECK(of_corners < 1e-11);
  CHECK(back < 1e-12);
}

TEST_CASE("homographies of OpenCV") {
  // OpenCV 5.0.0: cv2.getPerspectiveTransform of the square's corners to these, perspectiveTransform of points and back,
  // getRotationMatrix2D((112, 90), -33, 1.25), whose angle runs the other way, and transform.
  const Homography map = Homography::to_corners({{{103.25, 57.5}, {411.0, 88.75}, {377.5, 301.0}, {61.0, 262.25}}});
  const std::array<double, 9> matrix{152.3785981388458,   -22.752456330079568,   236.09718022060144,
                                     14.752742811722634,  101.40528493334803,    175.45182637635901,
                                     -0.015320591194577862, -0.01587590674087188, 1};
  for (std::size_t i = 0; i < 9; ++i) CHECK(map.matrix()[i] / map.matrix()[8] == Approx(matrix[i]).epsilon(1e-12));
  CHECK(apart(map(-0.9, -0.35), {104.89068095828543, 124.27833143988772}) < 1e-10);
  CHECK(apart(map(0.77, -0.99), {374.4855397189348, 86.08273675408535}) < 1e-10);
  CHECK(apart(map(1, 0.2), {391.1600952428443, 214.45208312556105}) < 1e-10);
  CHECK(apart(map.inverse()(200, 150), {-0.25777392691032214, -0.20288314861862636}) < 1e-12);
  CHECK(apart(map.inverse()(333.3, 111.1), {0.5385384547425943, -0.7096446786542487}) < 1e-12);
  const Homography turn = Homography::shift(112, 90) * Homography::scale(1.25, 1.25) * Homography::rotation(33) * Homography::shift(-112, -90);
  CHECK(apart(turn(10, 20), {52.725418150773294, -52.82515165964057}) < 1e-11);
  CHECK(apart(turn(150.5, 99.25), {146.06363224001228, 125.90788200196714}) < 1e-11);
}

TEST_CASE("homographies that are none are refused in words") {
  CHECK(test::thrown_by<OptionError>([] { Homography({1, 2, 0, 2, 4, 0, 0, 0, 1}); }) ==
        "option 'homography' is of determinant 0; expected a matrix with an inverse");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(test::thrown_by<OptionError>([nan] { Homography({nan, 0, 0, 0, 1, 0, 0, 0, 1}); }) ==
        "option 'homography' is nan; expected finite numbers");
  CHECK_THROWS_AS(Homography::to_corners({{{0, 0}, {1, 1}, {2, 2}, {3, 3}}}), OptionError);
  CHECK(test::thrown_by<OptionError>([] { HomographyMap(Homography({1, 0, 0, 0, 1, 0, 1.5, 0, 1}), 10, 10); }) ==
        "option 'homography' is with its horizon in the view; expected one that shows the whole view");
}

TEST_CASE("views through homographies: scene, view and scene again to 1e-6 of a pixel, and between two views") {
  RandomStream random({.seed = 7});
  double in_scene = 0, in_view = 0, other = 0;
  for (int i = 0; i < 300; ++i) {
    const HomographyMap a = drawn_map(random), b = drawn_map(random);
    for (int k = 0; k < 20; ++k) {
      const Point p{random.uniform(-1, 1), random.uniform(-1, 1)};
      const ScenePoint s = a.to_scene(p);
      const Point back = a.to_view(s);
      in_view = std::max({in_view, 112 * std::abs(back.x - p.x), 112 * std::abs(back.y - p.y)});  // of 224 pixels
      in_scene = std::max(in_scene, apart(a.to_scene(back), s));
      const ScenePoint straight = between(a, b)(p.x, p.y);
      const Point by_scene = b.to_view(s);
      if (std::abs(by_scene.x) <= 1 && std::abs(by_scene.y) <= 1)
        other = std::max(other, 112 * apart(straight, {by_scene.x, by_scene.y}));
    }
  }
  CHECK(in_scene < 1e-6);
  CHECK(in_view < 1e-6);
  CHECK(other < 1e-6);
}

TEST_CASE("views through homographies: a crop is the crop's map") {
  for (const bool flip : {false, true}) {
    const CropMap crop{{5, 7, 40, 60}, flip};
    const HomographyMap map(crop, 100, 120);
    for (const Point p : {Point{-1, -1}, Point{0.3, -0.7}, Point{1, 1}}) {
      CHECK(apart(map.to_scene(p), crop.to_scene(p)) < 1e-12);
      const ScenePoint s{30, 20};
      CHECK(std::abs(map.to_view(s).x - crop.to_view(s).x) < 1e-14);
    }
    CHECK(apart(map.bounds().first, {7, 5}) < 1e-12);
    CHECK(apart(map.bounds().last, {67, 45}) < 1e-12);
    const SceneRegion both = overlap(map, HomographyMap(CropMap{{20, 0, 60, 30}}, 100, 120));
    CHECK(apart(both.first, {7, 20}) < 1e-12);
    CHECK(apart(both.last, {30, 45}) < 1e-12);
  }
}

TEST_CASE("views through homographies: what they show is in the view, in the scene, and within their bounds") {
  RandomStream random({.seed = 11});
  int shown = 0, outside_scene = 0, outside_view = 0;
  for (int i = 0; i < 200; ++i) {
    const HomographyMap map = drawn_map(random);
    const SceneRegion bounds = map.bounds();
    CHECK((bounds.first.x >= 0 && bounds.first.y >= 0 && bounds.last.x <= 4000 && bounds.last.y <= 3000));
    for (int k = 0; k < 40; ++k) {
      const ScenePoint s = map.to_scene({random.uniform(-1.3, 1.3), random.uniform(-1.3, 1.3)});
      const Point p = map.to_view(s);
      const bool in_scene = s.x >= 0 && s.x <= 4000 && s.y >= 0 && s.y <= 3000;
      const bool in_view = std::abs(p.x) <= 1 && std::abs(p.y) <= 1;
      REQUIRE(map.shows(s) == (in_scene && in_view));
      shown += map.shows(s) ? 1 : 0;
      outside_scene += in_view && !in_scene ? 1 : 0;
      outside_view += in_scene && !in_view ? 1 : 0;
      if (map.shows(s)) {
        REQUIRE(s.x >= bounds.first.x - 1e-9);
        REQUIRE(s.y >= bounds.first.y - 1e-9);
        REQUIRE(s.x <= bounds.last.x + 1e-9);
        REQUIRE(s.y <= bounds.last.y + 1e-9);
      }
    }
  }
  CHECK(shown > 1000);
  CHECK(outside_scene > 50);
  CHECK(outside_view > 100);
}

TEST_CASE("points that are not valid are drawn again, and those that never are are left out") {
  // A view of the left half of the scene, and one turned by 45 degrees about the middle of the left half.
  const HomographyMap upright(CropMap{{0, 0, 100, 50}}, 100, 100);
  const HomographyMap turned(Homography::shift(25, 50) * Homography::rotation(45) * Homography::scale(20, 20), 100, 100);
  RandomStream random({.seed = 2});
  std::vector<Point> points(64);
  std::vector<std::uint8_t> valid(64);
  int calls = 0;
  sample_pair(points, valid, upright, turned, 100, 100, [&](std::span<Point> out, const ViewFrame& region) {
    CHECK(region.first.x == Approx(0).margin(1e-12));
    ++calls;
    for (Point& p : out) p = {random.uniform(), random.uniform()};
  });
  CHECK(calls > 2);
  CHECK(calls <= 1 + most_redrawn);
  for (std::size_t k = 0; k < points.size(); ++k) {
    const ScenePoint s = overlap(upright, turned).at(points[k]);
    CHECK((valid[k] == 1) == (upright.shows(s) && turned.shows(s)));
    const PointPair pair = pair_points(upright, turned, points[k]);
    CHECK(apart(upright.to_scene(pair.teacher), s) < 1e-9);
    if (valid[k] == 1) CHECK(apart(turned.to_scene(pair.student), s) < 1e-9);
  }
  CHECK(std::count(valid.begin(), valid.end(), 1) >= 62);
  // A sampler that says the same every time has the points that it has.
  calls = 0;
  sample_pair(points, valid, upright, turned, 100, 100, [&](std::span<Point> out, const ViewFrame&) {
    ++calls;
    for (std::size_t k = 0; k < out.size(); ++k) out[k] = k % 2 == 0 ? Point{0.5, 0.5} : Point{0.01, 0.01};
  });
  CHECK(calls == 1 + most_redrawn);
  for (std::size_t k = 0; k < points.size(); ++k) CHECK(valid[k] == (k % 2 == 0 ? 1 : 0));
}
