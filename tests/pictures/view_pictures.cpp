// Views on the scene: outlines and points where the views' maps put them.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <dssl/pictures/view_pictures.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/planar_image.hpp>

using namespace dssl;

namespace {

Colour colour_at(const Image<std::uint8_t>& picture, ScenePoint at) {
  const auto y = std::min(static_cast<Index>(at.y), picture.height() - 1);
  const auto x = std::min(static_cast<Index>(at.x), picture.width() - 1);
  return {picture(y, x, 0), picture(y, x, 1), picture(y, x, 2)};
}

/// A map that turns the view by a right angle: its x runs down the scene.
struct Turned {
  Box box;
  [[nodiscard]] ScenePoint to_scene(const Point& p) const { return CropMap{box}.to_scene({-p.y, p.x}); }
  [[nodiscard]] Point to_view(const ScenePoint& s) const {
    const Point p = CropMap{box}.to_view(s);
    return {p.y, -p.x};
  }
  friend SceneRegion overlap(const Turned& a, const Turned& b) {
    return dssl::overlap(CropMap{a.box}, CropMap{b.box});
  }
};
static_assert(ViewMap<Turned>);

template <class M>
void check_outline(const M& map, const Box& box) {
  Image<std::uint8_t> scene(40, 60, 3);
  const Colour colour{10, 220, 90};
  draw_outline(scene, map, colour, 2);
  for (Index y = 0; y < 40; ++y) {
    for (Index x = 0; x < 60; ++x) {
      const bool far_inside =
          y > box.y + 2 && y < box.y + box.height - 3 && x > box.x + 2 && x < box.x + box.width - 3;
      const bool far_outside =
          y < box.y - 2 || y > box.y + box.height + 1 || x < box.x - 2 || x > box.x + box.width + 1;
      if (far_inside || far_outside) CHECK(scene(y, x, 1) == 0);
    }
  }
  for (Index x = box.x; x < box.x + box.width; ++x) {
    CHECK(scene(box.y, x, 1) > 100);
    CHECK(scene(box.y + box.height - 1, x, 1) > 100);
  }
  for (Index y = box.y; y < box.y + box.height; ++y) {
    CHECK(scene(y, box.x, 1) > 100);
    CHECK(scene(y, box.x + box.width - 1, 1) > 100);
  }
}

}  // namespace

TEST_CASE("a view's outline is its box's, whatever the map") {
  for (const Box& box : {Box{5, 8, 20, 30}, Box{0, 0, 40, 60}}) {
    check_outline(CropMap{box, false}, box);
    check_outline(CropMap{box, true}, box);
    check_outline(Turned{box}, box);
    CHECK(overlap(Turned{box}, Turned{box}).last == CropMap{box}.to_scene({1, 1}));
  }
}

TEST_CASE("a point has its view's colour in the scene and in both views") {
  MultiCropOptions options;
  options.locals = 2;
  options.global_size = {48, 64};
  options.local_size = {24, 32};
  options.jitter = options.grey = options.blur_first_global = options.blur_second_global =
      options.blur_local = options.solarise_second_global = 0;
  const MultiCrop<> views(options);
  const GridPoints<1> points;  // one point a pair: the middle of the overlap
  for (const Index channels : {Index{1}, Index{3}, Index{5}}) {
    const AnyImage image = Image<std::uint16_t>(150, 200, channels);
    for (std::uint64_t sample = 0; sample < 6; ++sample) {
      const RandomKey key{.seed = 4, .sample = sample};
      const auto plans = views.plan(150, 200, key);
      const ViewPictures pictures = view_pictures(views, points, image, key);
      REQUIRE(pictures.views.size() == 4);
      CHECK(pictures.scene.height() == 150);
      CHECK(pictures.scene.channels() == 3);
      CHECK(pictures.views[0].width() == 64);
      CHECK(pictures.views[3].height() == 24);
      // Later points may cover earlier ones: the last view's is on top everywhere.
      const auto pair = pair_points(plans[0].map, plans[3].map, {0.5, 0.5});
      CHECK(colour_at(pictures.views[3], pixel_of(pair.student, 24, 32)) == mark_colour(3));
      CHECK(colour_at(pictures.views[0], pixel_of(pair.teacher, 48, 64)) == mark_colour(3));
      CHECK(colour_at(pictures.scene, plans[0].map.to_scene(pair.teacher)) == mark_colour(3));

      // The same twice as large, the scene at two thirds of its size.
      const ViewPictures large = view_pictures(views, points, image, key, {.zoom = 2, .scene_height = 100});
      CHECK(large.views[3].height() == 48);
      CHECK(large.scene.height() == 100);
      CHECK(large.scene.width() == 133);
      CHECK(colour_at(large.views[3], pixel_of(pair.student, 48, 64)) == mark_colour(3));
      const ScenePoint there = plans[0].map.to_scene(pair.teacher);
      CHECK(colour_at(large.scene, {there.x / 1.5, there.y / 1.5}) == mark_colour(3));
    }
  }
}

namespace {

/// A crop of which nothing is shown left of `blind`.
struct BlindMap : CropMap {
  double blind = 0;
  [[nodiscard]] bool shows(const ScenePoint& s) const { return s.x >= blind; }
};

/// Two views of a whole black image, the second of which is blind.
struct HalfBlind {
  struct Plan {
    BlindMap map;
  };
  using Workspace = PlanarImage<std::uint8_t>;
  double blind = 0;

  [[nodiscard]] Index views() const { return 2; }
  void plan(std::vector<Plan>& out, Index height, Index width, const RandomKey& /*key*/) const {
    const CropMap whole{{0, 0, height, width}};
    out = {{{whole, 0}}, {{whole, blind}}};
  }
  template <class T>
  const Workspace& draw(const Image<T>& /*image*/, const Plan& /*plan*/, Workspace& out) const {
    out.reshape(1, 40, 40);
    std::fill_n(out.plane(0), 1600, std::uint8_t{0});
    return out;
  }
};

}  // namespace

TEST_CASE("points that are not valid are not drawn") {
  const AnyImage image = Image<std::uint8_t>(40, 40, 1);
  const auto marked = [&](double blind) {
    const ViewPictures pictures = view_pictures(HalfBlind{blind}, GridPoints<2>(), image, {});
    std::vector<int> out;
    for (const double x : {10.0, 30.0})
      for (const double y : {10.0, 30.0}) out.push_back(colour_at(pictures.views[1], {x, y}) == mark_colour(1) ? 1 : 0);
    return out;
  };
  CHECK(marked(0) == std::vector<int>{1, 1, 1, 1});
  CHECK(marked(20) == std::vector<int>{0, 0, 1, 1});
}
