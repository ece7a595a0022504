// Maps that keep straight lines straight: rotation, shear, scale and perspective, and views that are seen through one.
// Tests: tests/views/homography.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <optional>

#include <dssl/backend/view_place.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>

namespace dssl {

/// A map of the plane by a matrix m of three rows:
///
///   (x, y) -> (m00 x + m01 y + m02, m10 x + m11 y + m12) / (m20 x + m21 y + m22)
///
/// Affine where the last row is (0, 0, 1): rotation, shear, scale and shift, and what is made of them. `a * b` is a after b.
/// The inverse is exact but for rounding: the adjugate.
class Homography {
 public:
  /// Every point stays where it is.
  constexpr Homography() = default;
  /// By its matrix, row by row, as OpenCV has it. Throws `OptionError` where a number is not finite, or there is no inverse.
  explicit Homography(const std::array<double, 9>& matrix) : x_m(matrix) {
    double largest = 0;
    for (const double value : x_m) {
      if (!std::isfinite(value)) throw OptionError("homography", value, "finite numbers");
      largest = std::max(largest, std::abs(value));
    }
    if (!(std::abs(determinant()) > 1e-300) || largest == 0) {
      throw OptionError("homography", join("of determinant ", determinant()), "a matrix with an inverse");
    }
  }

  [[nodiscard]] static Homography shift(double x, double y) { return Homography({1, 0, x, 0, 1, y, 0, 0, 1}); }
  [[nodiscard]] static Homography scale(double x, double y) { return Homography({x, 0, 0, 0, y, 0, 0, 0, 1}); }
  /// (x, y) -> (x + across y, y + down x).
  [[nodiscard]] static Homography shear(double across, double down = 0) {
    return Homography({1, across, 0, down, 1, 0, 0, 0, 1});
  }
  /// About the origin, from the x axis towards the y axis: clockwise to the eye, where y points down.
  [[nodiscard]] static Homography rotation(double degrees) {
    const double angle = degrees / 180 * std::numbers::pi;
    return Homography({std::cos(angle), -std::sin(angle), 0, std::sin(angle), std::cos(angle), 0, 0, 0, 1});
  }
  /// The one that takes the corners (-1,-1), (1,-1), (1,1), (-1,1) to these. Throws `OptionError` where three lie on a line.
  [[nodiscard]] static Homography to_corners(const std::array<ScenePoint, 4>& p) {
    // That of the unit square: Heckbert, "Fundamentals of texture mapping and image warping", 1989, section 2.2.3.
    const double dx1 = p[1].x - p[2].x, dy1 = p[1].y - p[2].y;
    const double dx2 = p[3].x - p[2].x, dy2 = p[3].y - p[2].y;
    const double sx = p[0].x - p[1].x + p[2].x - p[3].x, sy = p[0].y - p[1].y + p[2].y - p[3].y;
    const double area = dx1 * dy2 - dx2 * dy1;
    if (area == 0) throw OptionError("corners", "on one line", "four of which no three lie on a line");
    const double g = (sx * dy2 - dx2 * sy) / area;
    const double h = (dx1 * sy - sx * dy1) / area;
    const Homography of_unit_square({p[1].x - p[0].x + g * p[1].x, p[3].x - p[0].x + h * p[3].x, p[0].x,
                                     p[1].y - p[0].y + g * p[1].y, p[3].y - p[0].y + h * p[3].y, p[0].y, g, h, 1});
    return of_unit_square * Homography({0.5, 0, 0.5, 0, 0.5, 0.5, 0, 0, 1});
  }

  [[nodiscard]] const std::array<double, 9>& matrix() const noexcept { return x_m; }
  [[nodiscard]] double determinant() const {
    return x_m[0] * (x_m[4] * x_m[8] - x_m[5] * x_m[7]) - x_m[1] * (x_m[3] * x_m[8] - x_m[5] * x_m[6]) +
           x_m[2] * (x_m[3] * x_m[7] - x_m[4] * x_m[6]);
  }
  /// What a point's coordinates are divided by: 0 on the horizon, which has no image.
  [[nodiscard]] double depth(double x, double y) const { return x_m[6] * x + x_m[7] * y + x_m[8]; }
  [[nodiscard]] ScenePoint operator()(double x, double y) const {
    const Point p = detail::through_matrix(x_m.data(), x, y);
    return {p.x, p.y};
  }

  /// What comes to lie at s; nothing for what comes from the horizon.
  [[nodiscard]] std::optional<ScenePoint> back(const ScenePoint& s) const {
    const ScenePoint p = inverse()(s.x, s.y);
    return std::isfinite(p.x) && std::isfinite(p.y) ? std::optional(p) : std::nullopt;
  }
  /// Whether straight lines stay straight.
  [[nodiscard]] static constexpr bool straight() { return true; }

  [[nodiscard]] Homography inverse() const {
    std::array<double, 9> out{};
    const double by = 1 / determinant();
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < 3; ++c) {  // cofactor (c, r), by indices that go round
        const std::size_t i = (c + 1) % 3, j = (c + 2) % 3, k = (r + 1) % 3, l = (r + 2) % 3;
        out[3 * r + c] = by * (x_m[3 * i + k] * x_m[3 * j + l] - x_m[3 * i + l] * x_m[3 * j + k]);
      }
    }
    return Homography(out);
  }
  [[nodiscard]] friend Homography operator*(const Homography& a, const Homography& b) {
    std::array<double, 9> out{};
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < 3; ++c) {
        for (std::size_t k = 0; k < 3; ++k) out[3 * r + c] += a.x_m[3 * r + k] * b.x_m[3 * k + c];
      }
    }
    return Homography(out);
  }
  [[nodiscard]] bool operator==(const Homography&) const = default;

 private:
  std::array<double, 9> x_m{1, 0, 0, 0, 1, 0, 0, 0, 1};
};

namespace detail {

/// Whether a point lies both in a scene of `height` x `width` pixels and in the view of a map.
template <class M>
[[nodiscard]] bool shown_by(const M& map, const ScenePoint& s, Index height, Index width) {
  if (!(s.x >= 0 && s.y >= 0 && s.x <= static_cast<double>(width) && s.y <= static_cast<double>(height))) return false;
  constexpr double rounding = 1e-9;
  const Point p = map.to_view(s);
  return std::abs(p.x) <= 1 + rounding && std::abs(p.y) <= 1 + rounding;
}

/// The upright part of such a scene that has all of it that the view shows, measured at `steps` places of each edge.
template <class M>
[[nodiscard]] SceneRegion bounds_of(const M& map, int steps, Index height, Index width) {
  const ScenePoint start = map.to_scene(Point{-1, -1});
  SceneRegion out{start, start};
  for (int i = 0; i < steps; ++i) {
    const double t = 2.0 * i / steps - 1;
    for (const Point& p : {Point{t, -1}, Point{1, t}, Point{-t, 1}, Point{-1, -t}}) {
      const ScenePoint at = map.to_scene(p);
      out.first = {std::min(out.first.x, at.x), std::min(out.first.y, at.y)};
      out.last = {std::max(out.last.x, at.x), std::max(out.last.y, at.y)};
    }
  }
  for (ScenePoint* end : {&out.first, &out.last}) {
    *end = {std::clamp(end->x, 0.0, static_cast<double>(width)), std::clamp(end->y, 0.0, static_cast<double>(height))};
  }
  return out;
}

}  // namespace detail

/// The map of a view that shows the scene through a homography: a box that is turned, sheared or seen at an angle.
///
/// `plane` takes the view's square [-1, 1]^2 to scene pixels; to_view is its inverse. What of the view lies outside the scene
/// is made up (`warp`), and `shows` says no there. Test: round trips to 1e-6 of a pixel, and the homographies and
/// perspective points of OpenCV (tests/views/homography.cpp).
class HomographyMap {
 public:
  /// Its frame is no box: terms that ask where a view's patches lie by `ViewBatch::frames` are refused.
  static constexpr bool framed = false;

  HomographyMap() = default;
  /// Of a scene of `height` x `width` pixels. Throws `OptionError` where the view reaches the horizon, or has no extent.
  HomographyMap(const Homography& plane, Index height, Index width)
      : x_plane(plane), x_back(plane.inverse()), x_height(height), x_width(width) {
    const double middle = plane.depth(0, 0);
    for (const Point& p : {Point{-1, -1}, Point{1, -1}, Point{1, 1}, Point{-1, 1}}) {
      if (!(plane.depth(p.x, p.y) * middle > 0)) {
        throw OptionError("homography", "with its horizon in the view", "one that shows the whole view");
      }
    }
  }
  /// A crop as it is.
  HomographyMap(const CropMap& crop, Index height, Index width)
      : HomographyMap(Homography::shift(static_cast<double>(crop.box.x) + 0.5 * static_cast<double>(crop.box.width),
                                        static_cast<double>(crop.box.y) + 0.5 * static_cast<double>(crop.box.height)) *
                          Homography::scale((crop.flip ? -0.5 : 0.5) * static_cast<double>(crop.box.width),
                                            0.5 * static_cast<double>(crop.box.height)),
                      height, width) {}

  /// From the view's square to the scene.
  [[nodiscard]] const Homography& plane() const noexcept { return x_plane; }
  [[nodiscard]] ScenePoint to_scene(const Point& p) const { return x_plane(p.x, p.y); }
  [[nodiscard]] Point to_view(const ScenePoint& s) const {
    const ScenePoint p = x_back(s.x, s.y);
    return {p.x, p.y};
  }
  /// Whether a scene point lies both in the scene and in the view.
  [[nodiscard]] bool shows(const ScenePoint& s) const { return detail::shown_by(*this, s, x_height, x_width); }
  /// The smallest upright part of the scene that has all of the scene that the view shows.
  [[nodiscard]] SceneRegion bounds() const { return detail::bounds_of(*this, 1, x_height, x_width); }
  [[nodiscard]] bool operator==(const HomographyMap&) const = default;

 private:
  Homography x_plane, x_back;
  Index x_height = 1;
  Index x_width = 1;
};

/// The upright region that has all of the scene that both views show; not every point of it is shown by both.
[[nodiscard]] inline SceneRegion overlap(const HomographyMap& a, const HomographyMap& b) {
  return shared_region(a.bounds(), b.bounds());
}

/// From view a's square to view b's.
[[nodiscard]] inline Homography between(const HomographyMap& a, const HomographyMap& b) {
  return b.plane().inverse() * a.plane();
}

static_assert(ChecksPoints<HomographyMap>);

}  // namespace dssl
