// Outlines of the synthetic scenes' objects, as signed distances.
// Tests: tests/data/synthetic.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include <dssl/core/random.hpp>

namespace dssl::detail {

enum class ShapeKind : std::uint8_t { ellipse, rectangle, polygon, ring, blob, cross };
inline constexpr std::size_t shape_kinds = 6;

/// An outline at a place, turned by an angle; lengths in pixels.
struct Shape {
  ShapeKind kind = ShapeKind::ellipse;
  float centre_y = 0;
  float centre_x = 0;
  float radius = 1;  ///< no point of the shape is farther from the centre
  float aspect = 1;  ///< short side over long side, in (0, 1]
  float cosine = 1;  ///< of the angle the shape is turned by
  float sine = 0;
  int sides = 3;              ///< of a polygon
  float apothem = 0.5F;       ///< of a polygon of radius 1
  float turn_cosine = -0.5F;  ///< of the angle between two sides
  float turn_sine = 0.8660254F;
  std::array<float, 3> cosine_bumps{};  ///< weights of the blob's 2nd to 4th harmonic
  std::array<float, 3> sine_bumps{};
  float bump_scale = 1;  ///< keeps the blob within its radius

  /// Coordinates along the shape's own axes, from its centre, of the image's point (y, x).
  void to_own(float& own_x, float& own_y, float y, float x) const {
    const float dx = x - centre_x;
    const float dy = y - centre_y;
    own_x = cosine * dx + sine * dy;
    own_y = cosine * dy - sine * dx;
  }

  /// About the distance to the outline in pixels, negative inside; its sign is what decides the mask.
  [[nodiscard]] float distance(float own_x, float own_y) const {
    const float ax = std::abs(own_x);
    const float ay = std::abs(own_y);
    switch (kind) {
      case ShapeKind::ellipse: {
        const float scaled = own_y / aspect;
        return (std::sqrt(own_x * own_x + scaled * scaled) - radius) * aspect;
      }
      case ShapeKind::rectangle: {
        // The half sides have the radius as their diagonal.
        const float half = radius / std::sqrt(1 + aspect * aspect);
        return std::max(ax - half, ay - half * aspect);
      }
      case ShapeKind::polygon: {
        float farthest = -radius;
        float c = 1;
        float s = 0;
        for (int k = 0; k < sides; ++k) {
          farthest = std::max(farthest, own_x * c + own_y * s - apothem * radius);
          const float next = c * turn_cosine - s * turn_sine;
          s = s * turn_cosine + c * turn_sine;
          c = next;
        }
        return farthest;
      }
      case ShapeKind::ring: {
        const float half_width = 0.24F * radius;
        return std::abs(std::sqrt(own_x * own_x + own_y * own_y) - (radius - half_width)) - half_width;
      }
      case ShapeKind::blob: {
        const float length = std::sqrt(own_x * own_x + own_y * own_y) + 1e-6F;
        // cos and sin of multiples of the direction's angle, by the addition theorem.
        const float c1 = own_x / length;
        const float s1 = own_y / length;
        float c = c1;
        float s = s1;
        float reach = 1;
        for (std::size_t k = 0; k < cosine_bumps.size(); ++k) {
          const float next = c * c1 - s * s1;
          s = s * c1 + c * s1;
          c = next;
          reach += cosine_bumps[k] * c + sine_bumps[k] * s;
        }
        return length - radius * bump_scale * reach;
      }
      case ShapeKind::cross: {
        const float arm = 0.28F * radius;
        const float reach = std::sqrt(radius * radius - arm * arm);
        return std::min(std::max(ax - reach, ay - arm), std::max(ay - reach, ax - arm));
      }
    }
    return 0;
  }
};

/// A shape of the given kind with its free numbers drawn.
[[nodiscard]] inline Shape random_shape(ShapeKind kind, RandomStream& random) {
  Shape shape;
  shape.kind = kind;
  const double angle = random.uniform(0, 2 * std::numbers::pi);
  shape.cosine = static_cast<float>(std::cos(angle));
  shape.sine = static_cast<float>(std::sin(angle));
  shape.aspect = static_cast<float>(random.uniform(0.55, 1.0));
  shape.sides = 3 + static_cast<int>(random.below(4));
  const double half_turn = std::numbers::pi / shape.sides;
  shape.apothem = static_cast<float>(std::cos(half_turn));
  shape.turn_cosine = static_cast<float>(std::cos(2 * half_turn));
  shape.turn_sine = static_cast<float>(std::sin(2 * half_turn));
  double most = 1;
  for (std::size_t k = 0; k < shape.cosine_bumps.size(); ++k) {
    const double weight = random.uniform(0.05, 0.28);
    const double phase = random.uniform(0, 2 * std::numbers::pi);
    shape.cosine_bumps[k] = static_cast<float>(weight * std::cos(phase));
    shape.sine_bumps[k] = static_cast<float>(weight * std::sin(phase));
    most += weight;
  }
  shape.bump_scale = static_cast<float>(1 / most);
  return shape;
}

}  // namespace dssl::detail
