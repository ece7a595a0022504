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
#include <dssl/pictures/colour_map.hpp>
#include <dssl/pictures/drawing.hpp>
#include <dssl/pictures/patch_matches.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// Draws the outline of what a view shows: its four edges through its map, each in 16 straight pieces, so
/// that maps that bend are seen to. `scale`: pixels of the picture for one of the scene's. Throws
/// `ShapeError`. Test: tests/pictures/view_pictures.cpp.
template <ViewMap M>
void draw_outline(Image<std::uint8_t>& scene, const M& map, Colour colour, double thickness = 1,
                  double scale = 1) {
  constexpr std::array<Point, 5> corners{{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}, {-1, -1}}};
  constexpr int pieces = 16;
  // Lines lie inside the view, whose edges may be the scene's.
  const auto inset = [&](const Point& p) {
    const ScenePoint at = map.to_scene(p);
    const auto within = [&](double value, Index extent) {
      return std::clamp(scale * value, 0.5 * thickness,
                        std::max(0.5 * thickness, static_cast<double>(extent) - 0.5 * thickness));
    };
    return ScenePoint{within(at.x, scene.width()), within(at.y, scene.height())};
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

/// Sizes of pictures of views.
struct ViewPictureOptions {
  Index zoom = 1;          ///< pixels of a picture for one of the view's, a side
  Index scene_height = 0;  ///< of the scene's picture, in its own shape; 0: as it is

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (zoom < 1) throw OptionError("zoom", zoom, "at least 1");
    if (scene_height < 0) throw OptionError("scene_height", scene_height, "0 (the scene's) or more");
  }
};

/// The views and points that a training step would draw of an image under `key`, as pictures. To samplers that look at the
/// scene the image is number `key.sample`.
///
/// View v has `mark_colour(v)`. Of the pairs of the first teacher view (0) with each other view v, the points
/// are drawn in v's colour in the scene, in view 0, and in view v: a colour stands at one place of the scene
/// everywhere; points that are not valid are not drawn. Colours of the views are as the network gets them. Throws `OptionError`, `ShapeError`. Test:
/// tests/pictures/view_pictures.cpp.
template <class Views, class Points>
[[nodiscard]] ViewPictures view_pictures(const Views& views, const Points& points, const AnyImage& image,
                                         const RandomKey& key, const ViewPictureOptions& options = {}) {
  options.validate();
  std::vector<typename Views::Plan> plans;
  views.plan(plans, height(image), width(image), key);
  typename Views::Workspace workspace;
  ViewPictures out{.scene = rgb_picture(image), .views = {}};
  double scale = 1;
  if (options.scene_height > 0) {
    scale = static_cast<double>(options.scene_height) / static_cast<double>(out.scene.height());
    const auto across = static_cast<Index>(std::lround(scale * static_cast<double>(out.scene.width())));
    out.scene = enlarged(out.scene, options.scene_height, std::max<Index>(1, across), Enlargement::bilinear);
  }
  for (const auto& plan : plans) {
    const Image<std::uint8_t> view =
        std::visit([&](const auto& typed) { return rgb_picture(views.draw(typed, plan, workspace)); }, image);
    out.views.push_back(
        enlarged(view, options.zoom * view.height(), options.zoom * view.width(), Enlargement::nearest));
  }
  const auto radius = [](const Image<std::uint8_t>& picture) {
    return std::max(1.5, 0.02 * static_cast<double>(std::min(picture.width(), picture.height())));
  };
  const double line =
      std::max(1.0, 0.008 * static_cast<double>(std::min(out.scene.width(), out.scene.height())));
  for (Index v = views.views(); v-- > 0;)  // the global ones on top
    draw_outline(out.scene, plans[static_cast<std::size_t>(v)].map, mark_colour(v), v < 2 ? 1.5 * line : line,
                 scale);
  const auto drawing = points_of_scene(points, SampledScene{image, static_cast<Index>(key.sample)});
  for (Index v = 1; v < views.views(); ++v) {
    const auto& map = plans[static_cast<std::size_t>(v)].map;
    std::vector<Point> relative(static_cast<std::size_t>(points.count()));
    std::vector<std::uint8_t> valid(relative.size(), 1);
    RandomStream random(point_key(key, 0, v, views.views()));
    sample_pair(relative, valid, plans[0].map, map, height(image), width(image),
                [&](std::span<Point> to, const ViewFrame& region) { drawing.sample(to, random, region); });
    for (std::size_t k = 0; k < relative.size(); ++k) {
      if (valid[k] == 0) continue;
      const PointPair pair = pair_points(plans[0].map, map, relative[k]);
      const auto mark = [&](Image<std::uint8_t>& picture, ScenePoint at) {
        draw_point(picture, at, radius(picture), mark_colour(v));
      };
      auto& teacher = out.views[0];
      auto& student = out.views[static_cast<std::size_t>(v)];
      const ScenePoint at = plans[0].map.to_scene(pair.teacher);
      mark(out.scene, {scale * at.x, scale * at.y});
      mark(teacher, pixel_of(pair.teacher, teacher.height(), teacher.width()));
      mark(student, pixel_of(pair.student, student.height(), student.width()));
    }
  }
  return out;
}

}  // namespace dssl
