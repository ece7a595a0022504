// Procedural textures of the synthetic scenes: noise, stripes, checkers, dots, waves, rings.
// Tests: tests/data/synthetic.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <dssl/core/random.hpp>

namespace dssl::detail {

/// Smooth noise over the plane, from a table of 256 random values.
class NoiseField {
 public:
  explicit NoiseField(RandomStream& random) {
    for (std::size_t i = 0; i < 256; ++i) {
      x_values[i] = static_cast<float>(random.uniform());
      x_order[i] = static_cast<std::uint8_t>(i);
    }
    for (std::uint32_t i = 255; i > 0; --i) std::swap(x_order[i], x_order[random.below(i + 1)]);
  }

  /// Value in [0, 1] at a lattice point.
  [[nodiscard]] float lattice(int x, int y) const {
    const auto column = static_cast<std::uint8_t>(x);
    return x_values[x_order[static_cast<std::uint8_t>(x_order[column] + static_cast<unsigned>(y))]];
  }

  /// Value in [0, 1] between lattice points: cubic blend of the four around.
  [[nodiscard]] float smooth(float x, float y) const {
    const float fx = std::floor(x);
    const float fy = std::floor(y);
    const int ix = static_cast<int>(fx);
    const int iy = static_cast<int>(fy);
    const float u = blend(x - fx);
    const float v = blend(y - fy);
    const float top = lattice(ix, iy) + u * (lattice(ix + 1, iy) - lattice(ix, iy));
    const float bottom = lattice(ix, iy + 1) + u * (lattice(ix + 1, iy + 1) - lattice(ix, iy + 1));
    return top + v * (bottom - top);
  }

  /// `count` octaves, each of twice the frequency and half the weight; in [0, 1].
  [[nodiscard]] float octaves(float x, float y, int count) const {
    float sum = 0;
    float weight = 1;
    float total = 0;
    for (int i = 0; i < count; ++i) {
      sum += weight * smooth(x, y);
      total += weight;
      weight *= 0.5F;
      // An odd shift keeps the octaves' lattices from lining up.
      x = 2 * x + 17.3F;
      y = 2 * y + 41.7F;
    }
    return sum / total;
  }

 private:
  [[nodiscard]] static float blend(float t) { return t * t * (3 - 2 * t); }

  std::array<float, 256> x_values{};
  std::array<std::uint8_t, 256> x_order{};
};

/// 0 below -1/2, 1 above 1/2, linear between: an edge one unit wide, so that patterns do not alias.
[[nodiscard]] inline float soft_step(float x) { return std::clamp(x + 0.5F, 0.0F, 1.0F); }

/// Distance of t to the nearest whole number, in [0, 1/2].
[[nodiscard]] inline float to_whole(float t) { return std::abs(t - std::floor(t + 0.5F)); }

enum class TextureKind : std::uint8_t { stripes, dots, checker, noise, rings, waves };
inline constexpr std::size_t texture_kinds = 6;

/// A texture as a class of objects wears it: the kind, and the length of its pattern in pixels.
struct Texture {
  TextureKind kind = TextureKind::noise;
  float period = 8;
  float duty = 0.5F;  ///< share of the bright part, for the patterns that have one

  /// Brightness in [0, 1] at (x, y) pixels from the object's centre, along the object's own axes.
  [[nodiscard]] float operator()(const NoiseField& noise, float x, float y) const {
    switch (kind) {
      case TextureKind::stripes:
        return soft_step(period * (0.25F * duty - to_whole(x / period)));
      case TextureKind::dots: {
        const float dx = period * to_whole(x / period);
        const float dy = period * to_whole(y / period);
        return soft_step(0.34F * duty * period - std::sqrt(dx * dx + dy * dy));
      }
      case TextureKind::checker: {
        // The product of two square waves, each with soft edges.
        const float a = 2 * soft_step(period * (0.25F - to_whole(0.5F * x / period)) * 2) - 1;
        const float b = 2 * soft_step(period * (0.25F - to_whole(0.5F * y / period)) * 2) - 1;
        return 0.5F + 0.5F * a * b;
      }
      case TextureKind::noise: {
        const float value = noise.octaves(x / period, y / period, 3);
        return std::clamp(0.5F + 2.2F * (value - 0.5F), 0.0F, 1.0F);
      }
      case TextureKind::rings: {
        const float radius = std::sqrt(x * x + y * y);
        return soft_step(period * (0.25F * duty - to_whole(radius / period)));
      }
      case TextureKind::waves: {
        const float bend = 0.35F * period * std::sin(6.2831853F * y / (2.3F * period));
        return 0.5F + 0.5F * std::sin(6.2831853F * (x + bend) / period);
      }
    }
    return 0;
  }
};

}  // namespace dssl::detail
