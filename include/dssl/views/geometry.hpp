// The maps between a view's coordinates and the scene's, and points that lie in two views.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A position in the scene in pixels: (0, 0) is the image's upper left corner, pixel i spans [i, i + 1].
struct ScenePoint {
  double x = 0;
  double y = 0;

  [[nodiscard]] constexpr bool operator==(const ScenePoint&) const = default;
};

/// A rectangle of whole scene pixels: rows [y, y + height), columns [x, x + width).
struct Box {
  Index y = 0;
  Index x = 0;
  Index height = 0;
  Index width = 0;

  [[nodiscard]] constexpr Index area() const { return height * width; }
  [[nodiscard]] constexpr bool operator==(const Box&) const = default;
};

/// The pixels that two boxes share; a box of area zero where they share none.
[[nodiscard]] constexpr Box intersect(const Box& a, const Box& b) {
  const Index y = std::max(a.y, b.y);
  const Index x = std::max(a.x, b.x);
  return {y, x, std::max<Index>(0, std::min(a.y + a.height, b.y + b.height) - y),
          std::max<Index>(0, std::min(a.x + a.width, b.x + b.width) - x)};
}

/// True if `inner` lies within an image of `height` x `width` pixels and has at least one pixel.
[[nodiscard]] constexpr bool inside(const Box& inner, Index height, Index width) {
  return inner.y >= 0 && inner.x >= 0 && inner.height >= 1 && inner.width >= 1 &&
         inner.y + inner.height <= height && inner.x + inner.width <= width;
}

/// An axis-aligned part of the scene that points are placed in, in pixels; may have area zero.
struct SceneRegion {
  ScenePoint first;  ///< upper left corner
  ScenePoint last;   ///< lower right corner

  /// Where it lies in the unit square of a scene of so many pixels.
  [[nodiscard]] constexpr ViewFrame in_unit_square(Index height, Index width) const {
    const auto h = static_cast<double>(height);
    const auto w = static_cast<double>(width);
    return {{first.x / w, first.y / h}, {last.x / w, last.y / h}};
  }

  /// The scene point at `relative` in [0, 1]^2 of the region.
  [[nodiscard]] constexpr ScenePoint at(const Point& relative) const {
    return {first.x + relative.x * (last.x - first.x), first.y + relative.y * (last.y - first.y)};
  }

  /// Where a point, in [-1, 1]^2, of a view that shows this region lies in the scene; mirrored left to right if `flip`.
  [[nodiscard]] constexpr ScenePoint to_scene(const Point& p, bool flip) const {
    return at({0.5 * ((flip ? -p.x : p.x) + 1.0), 0.5 * (p.y + 1.0)});
  }
  /// Where a scene point lies in such a view; outside [-1, 1]^2 if the view does not show it.
  [[nodiscard]] constexpr Point to_view(const ScenePoint& s, bool flip) const {
    const double x = 2.0 * (s.x - first.x) / (last.x - first.x) - 1.0;
    return {flip ? -x : x, 2.0 * (s.y - first.y) / (last.y - first.y) - 1.0};
  }
};

/// The map of a view that is a box of the scene, mirrored left to right if `flip`.
///
/// With box (x0, y0, w, h): to_view(s) = (2 (s.x - x0) / w - 1, 2 (s.y - y0) / h - 1), x negated if `flip`.
/// The view's edges are the box's edges, so the map does not depend on the view's size in pixels.
/// Test: round trips and geometry.safetensors (tests/views/geometry.cpp).
struct CropMap {
  Box box;
  bool flip = false;

  /// What of the scene the view shows.
  [[nodiscard]] constexpr SceneRegion region() const {
    return {{static_cast<double>(box.x), static_cast<double>(box.y)},
            {static_cast<double>(box.x + box.width), static_cast<double>(box.y + box.height)}};
  }
  [[nodiscard]] constexpr ScenePoint to_scene(const Point& p) const { return region().to_scene(p, flip); }
  [[nodiscard]] constexpr Point to_view(const ScenePoint& s) const { return region().to_view(s, flip); }

  [[nodiscard]] constexpr bool operator==(const CropMap&) const = default;
};

/// The map of a view that lies where its frame says, in the frame's unit: with the numbers of a `CropMap` its bits too.
/// The corners differ in x and in y. Test: tests/views/geometry.cpp.
struct FrameMap {
  ViewFrame frame;

  [[nodiscard]] constexpr bool flip() const { return frame.last.x < frame.first.x; }
  [[nodiscard]] constexpr SceneRegion region() const {
    return {{std::min(frame.first.x, frame.last.x), frame.first.y}, {std::max(frame.first.x, frame.last.x), frame.last.y}};
  }
  [[nodiscard]] constexpr ScenePoint to_scene(const Point& p) const { return region().to_scene(p, flip()); }
  [[nodiscard]] constexpr Point to_view(const ScenePoint& s) const { return region().to_view(s, flip()); }

  [[nodiscard]] constexpr bool operator==(const FrameMap&) const = default;
};

/// What two regions have in common. Where they share nothing along an axis it has no extent there and lies midway between the
/// facing edges.
[[nodiscard]] constexpr SceneRegion shared_region(const SceneRegion& a, const SceneRegion& b) {
  SceneRegion out{{std::max(a.first.x, b.first.x), std::max(a.first.y, b.first.y)},
                  {std::min(a.last.x, b.last.x), std::min(a.last.y, b.last.y)}};
  const auto close = [](double& first, double& last) {
    if (last < first) first = last = 0.5 * (first + last);
  };
  close(out.first.x, out.last.x);
  close(out.first.y, out.last.y);
  return out;
}

/// The region of the scene that both views show; where the boxes share nothing, `pair_points` moves each point to the nearest
/// point of its view.
[[nodiscard]] constexpr SceneRegion overlap(const CropMap& a, const CropMap& b) { return shared_region(a.region(), b.region()); }
[[nodiscard]] constexpr SceneRegion overlap(const FrameMap& a, const FrameMap& b) { return shared_region(a.region(), b.region()); }

/// A map of view coordinates to scene coordinates and back, and the scene region that two such views share.
/// Other maps are added by modelling this concept, as `HomographyMap` does; points go through it unchanged.
template <class M>
concept ViewMap = std::copyable<M> && requires(const M& map, const Point& p, const ScenePoint& s) {
  { map.to_scene(p) } -> std::same_as<ScenePoint>;
  { map.to_view(s) } -> std::same_as<Point>;
  { overlap(map, map) } -> std::same_as<SceneRegion>;
};

static_assert(ViewMap<CropMap> && ViewMap<FrameMap>);

/// A map that says which points of the scene its view shows: not all of what its overlap with another view covers. Points that
/// one of two views does not show are not valid and take their pair out of the loss. Maps without a word show the whole
/// overlap, and no code of validity is compiled for them.
template <class M>
concept ChecksPoints = ViewMap<M> && requires(const M& map, const ScenePoint& s) {
  { map.shows(s) } -> std::same_as<bool>;
};

/// One physical point in two views, both in [-1, 1]^2.
struct PointPair {
  Point teacher;
  Point student;
};

/// The physical point at `relative` in [0, 1]^2 of the two views' overlap, expressed in both views.
///
/// Both results lie in [-1, 1]^2: a point that rounding, or an empty overlap, puts outside a view is moved to
/// the nearest point of that view. Source: docs/method.md, "Points". Test: geometry.safetensors
/// (tests/views/geometry.cpp).
template <ViewMap M>
[[nodiscard]] constexpr PointPair pair_points(const M& teacher, const M& student, const Point& relative) {
  const auto clamped = [](const Point& p) {
    return Point{std::clamp(p.x, -1.0, 1.0), std::clamp(p.y, -1.0, 1.0)};
  };
  const ScenePoint scene = overlap(teacher, student).at(relative);
  return {clamped(teacher.to_view(scene)), clamped(student.to_view(scene))};
}

/// The same for K points: `teacher_points` (K) and `student_points` (K) from `relative` (K).
/// Throws `ShapeError` unless the three have the same length.
template <ViewMap M>
void pair_points(std::span<Point> teacher_points, std::span<Point> student_points, const M& teacher,
                 const M& student, std::span<const Point> relative) {
  require_shape(teacher_points.size() == relative.size() && student_points.size() == relative.size(),
                "pair_points: ", relative.size(), " relative points for ", teacher_points.size(),
                " teacher and ", student_points.size(), " student points; expected as many of each");
  for (std::size_t k = 0; k < relative.size(); ++k) {
    const PointPair pair = pair_points(teacher, student, relative[k]);
    teacher_points[k] = pair.teacher;
    student_points[k] = pair.student;
  }
}

/// Whether a view by such a map is a box of the scene, mirrored or not, so that its frame says where each of its points lies.
/// A map of another kind says `framed = false`.
template <class M>
inline constexpr bool is_framed = !requires { requires !M::framed; };

/// Which of K points, relative to the overlap of two views, both views show: valid (K) = 1, else 0.
/// Throws `ShapeError` unless there are as many of one as of the other.
template <ChecksPoints M>
void check_points(std::span<std::uint8_t> valid, const M& teacher, const M& student, std::span<const Point> relative) {
  require_shape(valid.size() == relative.size(), "check_points: ", relative.size(), " points, and room for ", valid.size());
  const SceneRegion shared = overlap(teacher, student);
  for (std::size_t k = 0; k < relative.size(); ++k) {
    const ScenePoint scene = shared.at(relative[k]);
    valid[k] = teacher.shows(scene) && student.shows(scene) ? 1 : 0;
  }
}

/// Times that points of a pair are drawn again where they are not valid.
inline constexpr int most_redrawn = 16;

/// Points of a pair of views of a scene of so many pixels, relative to their overlap. `sample(out, region)` draws as many as
/// fill `out`, where `region` is the overlap in the unit square. With a map that `ChecksPoints`, each point that is not
/// valid is drawn again, at most `most_redrawn` times: what is left is valid (K) = 0. Else `valid` is not looked at.
template <ViewMap M, class Sample>
void sample_pair(std::span<Point> relative, [[maybe_unused]] std::span<std::uint8_t> valid, const M& teacher, const M& student,
                 Index height, Index width, Sample&& sample) {
  const ViewFrame region = overlap(teacher, student).in_unit_square(height, width);
  sample(relative, region);
  if constexpr (ChecksPoints<M>) {
    check_points(valid, teacher, student, relative);
    std::vector<Point> again(relative.size());
    for (int i = 0; i < most_redrawn && std::find(valid.begin(), valid.end(), 0) != valid.end(); ++i) {
      sample(std::span<Point>(again), region);
      for (std::size_t k = 0; k < again.size(); ++k) {
        if (valid[k] == 0) relative[k] = again[k];
      }
      check_points(valid, teacher, student, relative);
    }
  }
}

}  // namespace dssl
