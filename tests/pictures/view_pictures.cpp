// Views on the scene: outlines and points where the views' maps put them.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <dssl/pictures/view_pictures.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/views/multi_crop.hpp>

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
