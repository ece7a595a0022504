// A lens that bends straight lines, undone; and maps one after another, so that views show what it would have
// seen unbent. Tests: tests/views/lens.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <numbers>
#include <optional>
#include <string_view>

#include <dssl/backend/view_place.hpp>
#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/homography.hpp>

namespace dssl {

/// The map from a camera's corrected picture to the picture that it recorded, by the model of Brown and
/// Conrady as OpenCV has it.
///
/// The corrected picture is what a camera without distortion would record, of the same size, focal lengths
/// and principal point
/// (`cv::undistort`). A pixel of it at (u, v), counted from the middle of pixel 0, is recorded at
///
///   x = (u - cx) / fx, y = (v - cy) / fy, r2 = x^2 + y^2
///   s = (1 + k1 r2 + k2 r2^2 + k3 r2^3) / (1 + k4 r2 + k5 r2^2 + k6 r2^3)
///   x' = s x + 2 p1 x y + p2 (r2 + 2 x^2), y' = s y + p1 (r2 + 2 y^2) + 2 p2 x y
///   (fx x' + cx, fy y' + cy)
///
/// Points here are `ScenePoint`s, half a pixel further. A polynomial bends back somewhere: the model is
/// looked at along 64 rays, and one that folds within the corrected picture, or before it where the principal
/// point lies outside, is refused. Beyond the last radius at which no ray folds, twice the corrected
/// picture's at most, the map goes on straight, so that it is defined and continuous everywhere; there `back`
/// has nothing. Source: OpenCV's documentation, "Camera Calibration and 3D Reconstruction". Test: points,
/// matrices of `initUndistortRectifyMap` and pictures of OpenCV (tests/views/lens.cpp).
class Lens {
 public:
  /// None: every point stays where it is.
  Lens() = default;
  /// Throws `OptionError` naming the field of the camera, which is called `name`, or saying where the model
  /// folds back.
  explicit Lens(const Camera& camera, std::string_view name = "camera") : x_camera(camera) {
    require_camera(camera, join(name, "."));
    const std::array<double, 8> d = camera.distortion();
    x_straight = std::all_of(d.begin(), d.end(), [](double value) { return value == 0; });
    if (!x_straight) x_measure(name);
  }

  [[nodiscard]] const Camera& camera() const noexcept { return x_camera; }
  /// Up to which distance from the principal point, in units of the focal lengths, the model is followed.
  [[nodiscard]] double radius() const noexcept { return x_radius; }
  /// Whether straight lines stay straight: there is no lens, or one without distortion.
  [[nodiscard]] bool straight() const noexcept { return x_straight; }

  /// Where what a corrected picture has at (x, y) was recorded.
  [[nodiscard]] ScenePoint operator()(double x, double y) const {
    if (x_straight) return {x, y};
    const Point to = detail::recorded_place(x_camera, x_radius, x, y);
    return {to.x, to.y};
  }

  /// Pixels that `back` is off at most, measured where the point was recorded.
  static constexpr double back_bound = 1e-9;

  /// Where a recorded point lies in the corrected picture: what `operator()` takes to within `back_bound` of
  /// it. Nothing where the model has folded back before it comes so far out. By Newton's method, each step
  /// halved until it comes nearer, at most 40 steps; of usual lenses 3 to 5.
  [[nodiscard]] std::optional<ScenePoint> back(const ScenePoint& s) const {
    if (x_straight) return s;
    const Point wanted{(s.x - 0.5 - x_camera.cx) / x_camera.fx, (s.y - 0.5 - x_camera.cy) / x_camera.fy};
    const auto off = [&](const Point& at) {
      const Point to = x_bent(at);
      return Point{to.x - wanted.x, to.y - wanted.y};
    };
    const auto pixels = [&](const Point& v) { return std::hypot(v.x * x_camera.fx, v.y * x_camera.fy); };
    Point at = wanted;
    if (const double r = std::hypot(at.x, at.y); r > x_radius)
      at = {at.x * x_radius / r, at.y * x_radius / r};
    Point error = off(at);
    // A step beyond what is asked for costs little, and leaves rounding alone.
    constexpr int most_steps = 40, most_halvings = 40;
    constexpr double near_enough = 0.01 * back_bound;
    for (int step = 0; step < most_steps && pixels(error) > near_enough; ++step) {
      const detail::PlaneSlope j = x_slope(at);
      const double determinant = j.determinant();
      const Point by{(j.yy * error.x - j.xy * error.y) / determinant,
                       (j.xx * error.y - j.yx * error.x) / determinant};
      double share = 1;
      int halvings = 0;
      for (; halvings < most_halvings; ++halvings, share *= 0.5) {
        const Point next{at.x - share * by.x, at.y - share * by.y};
        const Point next_error = off(next);
        if (!(pixels(next_error) < pixels(error))) continue;
        at = next;
        error = next_error;
        break;
      }
      if (halvings == most_halvings) break;
    }
    constexpr double rounding = 1e-12;
    if (!(pixels(error) <= back_bound) || std::hypot(at.x, at.y) > x_radius * (1 + rounding))
      return std::nullopt;
    return ScenePoint{x_camera.fx * at.x + x_camera.cx + 0.5, x_camera.fy * at.y + x_camera.cy + 0.5};
  }

  [[nodiscard]] bool operator==(const Lens&) const = default;

 private:
  // Places are in units of the focal lengths, about the principal point.
  [[nodiscard]] Point x_bent(const Point& p) const { return detail::bent_place(x_camera, x_radius, p); }
  /// Of the model within its radius; beyond it that at its edge, for steps that are halved until they come
  /// nearer.
  [[nodiscard]] detail::PlaneSlope x_slope(const Point& p) const {
    const double r = std::hypot(p.x, p.y);
    return r <= x_radius ? detail::lens_slope(x_camera, p) : detail::lens_slope(x_camera, Point{p.x * x_radius / r, p.y * x_radius / r});
  }

  /// Finds how far out the model is one to one.
  void x_measure(std::string_view name) {
    const Camera& c = x_camera;
    double corner = 0;  // radius of the corrected picture
    for (const double u : {-0.5 - c.cx, static_cast<double>(c.width) - 0.5 - c.cx}) {
      for (const double v : {-0.5 - c.cy, static_cast<double>(c.height) - 0.5 - c.cy})
        corner = std::max(corner, std::hypot(u / c.fx, v / c.fy));
    }
    constexpr int rays = 64, rings = 128;
    constexpr double furthest = 2;
    x_radius = furthest * corner;
    for (int ring = 1; ring <= rings; ++ring) {
      const double radius = furthest * corner * ring / rings;
      for (int ray = 0; ray < rays; ++ray) {
        const double angle = 2 * std::numbers::pi * ray / rays;
        const Point at{radius * std::cos(angle), radius * std::sin(angle)};
        const double r2 = radius * radius;
        const double below = 1 + r2 * (c.k4 + r2 * (c.k5 + r2 * c.k6));
        const detail::PlaneSlope slope = detail::lens_slope(c, at);
        // Turned inside out, or on its way back, or beyond a pole.
        const double outwards =
            (at.x * (slope.xx * at.x + slope.xy * at.y) + at.y * (slope.yx * at.x + slope.yy * at.y)) / r2;
        if (below > 0 && slope.determinant() > 0 && outwards > 0) continue;
        const double u = c.fx * at.x + c.cx + 0.5, v = c.fy * at.y + c.cy + 0.5;
        if (u >= 0 && v >= 0 && u <= static_cast<double>(c.width) && v <= static_cast<double>(c.height)) {
          throw OptionError(name,
                            join("of a lens whose distortion folds back at column ", u, ", row ", v,
                                 " of the corrected picture of ", c.height, " x ", c.width, " pixels"),
                            "coefficients that have an inverse there");
        }
        x_radius = std::min(x_radius, furthest * corner * (ring - 1) / rings);
      }
      if (x_radius < radius) break;
    }
    // A picture that lies wholly beyond has no place where the model is looked at.
    const auto beside = [](double middle, Index extent) {
      return std::max({0.0, -0.5 - middle, middle - (static_cast<double>(extent) - 0.5)});
    };
    if (x_radius < std::hypot(beside(c.cx, c.width) / c.fx, beside(c.cy, c.height) / c.fy)) {
      throw OptionError(
          name,
          join("of a lens whose distortion folds back between its principal point, column ", c.cx, ", row ",
               c.cy, ", and the corrected picture of ", c.height, " x ", c.width, " pixels"),
          "coefficients that have an inverse there");
    }
  }

  Camera x_camera;
  bool x_straight = true;
  double x_radius = 0;
};

/// A map of the plane with a way back: (x, y) to a point, back(point) to what it came from, or nothing where
/// there is none, and straight(), whether lines stay lines.
template <class M>
concept PlaneMap = std::copyable<M> && requires(const M& map, const ScenePoint& s, double x) {
  { map(x, x) } -> std::same_as<ScenePoint>;
  { map.back(s) } -> std::same_as<std::optional<ScenePoint>>;
  { map.straight() } -> std::same_as<bool>;
};

static_assert(PlaneMap<Lens> && PlaneMap<Homography>);

/// The map of a view that goes through two maps: from the view to a plane, and from there to the scene.
///
///   Composed<HomographyMap, Lens>: a view of a corrected picture, read out of the recorded one.
///
/// What of the view lies outside the scene is made up (`warp`), and `shows` says no there, and where the
/// second map has no way back. Compositions compose: the first may be one. Test: tests/views/lens.cpp.
template <ViewMap First, PlaneMap Then>
class Composed {
 public:
  static constexpr bool framed = false;

  Composed() = default;
  /// Of a scene of `height` x `width` pixels.
  Composed(const First& first, const Then& then, Index height, Index width)
      : x_first(first), x_then(then), x_height(height), x_width(width) {}

  [[nodiscard]] const First& first() const noexcept { return x_first; }
  [[nodiscard]] const Then& then() const noexcept { return x_then; }
  /// Whether lines of the view are lines of the scene.
  [[nodiscard]] bool straight() const {
    if constexpr (requires { x_first.straight(); }) {
      return x_first.straight() && x_then.straight();
    } else {
      return x_then.straight();
    }
  }

  [[nodiscard]] ScenePoint to_scene(const Point& p) const {
    const ScenePoint plane = x_first.to_scene(p);
    return x_then(plane.x, plane.y);
  }
  /// Where there is no way back, a point outside every view.
  [[nodiscard]] Point to_view(const ScenePoint& s) const {
    const std::optional<ScenePoint> plane = x_then.back(s);
    return plane ? x_first.to_view(*plane) : Point{x_nowhere, x_nowhere};
  }
  /// Whether a scene point lies both in the scene and in the view.
  [[nodiscard]] bool shows(const ScenePoint& s) const { return detail::shown_by(*this, s, x_height, x_width); }
  /// The upright part of the scene that has all of the scene that the view shows. Measured at the corners
  /// where lines stay lines, else at 32 places of each edge: what bulges out between two of these, about a
  /// thousandth of the whole edge's bulge, is left out.
  [[nodiscard]] SceneRegion bounds() const {
    return detail::bounds_of(*this, straight() ? 1 : 32, x_height, x_width);
  }
  [[nodiscard]] bool operator==(const Composed&) const = default;

 private:
  static constexpr double x_nowhere = 1e9;

  First x_first;
  Then x_then;
  Index x_height = 1;
  Index x_width = 1;
};

/// The upright region that has all of the scene that both views show; not every point of it is shown by both.
template <ViewMap First, PlaneMap Then>
[[nodiscard]] SceneRegion overlap(const Composed<First, Then>& a, const Composed<First, Then>& b) {
  return shared_region(a.bounds(), b.bounds());
}

/// The map of a view of a corrected picture, or of one that needs no correction.
using LensMap = Composed<HomographyMap, Lens>;

static_assert(ChecksPoints<LensMap>);

}  // namespace dssl
