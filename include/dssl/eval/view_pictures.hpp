// The views of a training step as pictures: each with its points, and their outlines on the scene.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/eval/colour_map.hpp>
#include <dssl/eval/drawing.hpp>
#include <dssl/eval/patch_matches.hpp>
#include <dssl/eval/picture.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// Draws the outline of what a view shows: its four edges through its map, each in 16 straight pieces, so
/// that maps that bend are seen to. Throws `ShapeError`. Test: tests/eval/view_pictures.cpp.
template <ViewMap M>
void draw_outline(Image<std::uint8_t>& scene, const M& map, Colour colour, double thickness = 1) {
  constexpr std::array<Point, 5> corners{{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}, {-1, -1}}};
  constexpr int pieces = 16;
  // Lines lie inside the view, whose edges may be the scene's.
  const auto inset = [&](const Point& p) {
    const ScenePoint at = map.to_scene(p);
    return ScenePoint{
        std::clamp(at.x, 0.5 * thickness, static_cast<double>(scene.width()) - 0.5 * thickness),
        std::clamp(at.y, 0.5 * thickness, static_cast<double>(scene.height()) - 0.5 * thickness)};
  };
  for (std::size_t edge = 0; edge < 4; ++edge) {
    const Point from = corners[edge];
    const Point to = corners[edge + 1];
    const auto at = [&](int i) {
      const double t = static_cast<double>(i) / pieces;
      return inset({(1 - t) * from.x + t * to.x, (1 - t) * from.y + t * to.y});
    };
    for (int i = 0; i < pieces; ++i) draw_line(scene, at(i), at(i + 1), colour, thickness);
  }
}

/// What a step sees of one image.
struct ViewPictures {
  Image<std::uint8_t> scene;               ///< with the views' outlines and the points
  std::vector<Image<std::uint8_t>> views;  ///< each with its points
};

/// The views and points that a training step would draw of an image under `key`, as pictures.
///
/// View v has `mark_colour(v)`. Of the pairs of the first teacher view (0) with each other view v, the points
/// are drawn in v's colour in the scene, in view 0, and in view v: a colour stands at one place of the scene
/// everywhere. Colours of the views are as the network gets them. Throws `ShapeError`. Test:
/// tests/eval/view_pictures.cpp.
template <class Views, class Points>
[[nodiscard]] ViewPictures view_pictures(const Views& views, const Points& points, const AnyImage& image,
                                         const RandomKey& key) {
  std::vector<typename Views::Plan> plans;
  views.plan(plans, height(image), width(image), key);
  typename Views::Workspace workspace;
  ViewPictures out{.scene = rgb_picture(image), .views = {}};
  for (const auto& plan : plans) {
    out.views.push_back(std::visit(
        [&](const auto& typed) { return rgb_picture(views.draw(typed, plan, workspace)); }, image));
  }
  const auto radius = [](const Image<std::uint8_t>& picture) {
    return std::max(1.5, 0.02 * static_cast<double>(std::min(picture.width(), picture.height())));
  };
  const double line =
      std::max(1.0, 0.008 * static_cast<double>(std::min(out.scene.width(), out.scene.height())));
  for (Index v = views.views(); v-- > 0;)  // the global ones on top
    draw_outline(out.scene, plans[static_cast<std::size_t>(v)].map, mark_colour(v),
                 v < 2 ? 1.5 * line : line);
  for (Index v = 1; v < views.views(); ++v) {
    const auto& map = plans[static_cast<std::size_t>(v)].map;
    std::vector<Point> relative(static_cast<std::size_t>(points.count()));
    RandomStream random(point_key(key, 0, v, views.views()));
    points.sample(relative, random);
    for (const Point& p : relative) {
      const PointPair pair = pair_points(plans[0].map, map, p);
      const auto mark = [&](Image<std::uint8_t>& picture, ScenePoint at) {
        draw_point(picture, at, radius(picture), mark_colour(v));
      };
      auto& teacher = out.views[0];
      auto& student = out.views[static_cast<std::size_t>(v)];
      mark(out.scene, plans[0].map.to_scene(pair.teacher));
      mark(teacher, pixel_of(pair.teacher, teacher.height(), teacher.width()));
      mark(student, pixel_of(pair.student, student.height(), student.width()));
    }
  }
  return out;
}

}  // namespace dssl
