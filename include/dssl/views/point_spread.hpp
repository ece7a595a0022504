// What a lens out of focus and a camera that moves make of a point: a disc, a line.
// Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/photometric_parts.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/tone.hpp>

namespace dssl {

/// What of the pixel `down` and `right` of it a pixel has.
struct SpreadTap {
  Index down = 0;
  Index right = 0;
  float weight = 0;
};

/// Of a disc of `radius` pixels: weight min(1, max(0, radius + 1/2 - distance)) a pixel, over their sum.
/// Throws `OptionError` for a radius outside 0 to that of the strongest `defocus`.
[[nodiscard]] DSSL_INLINE std::vector<SpreadTap> disc_spread(double radius);

/// Of a straight path of `length` pixels about the pixel, `direction` from the x axis towards the y axis in
/// radians: points at most a quarter of a pixel apart, each shared among its four nearest pixels bilinearly.
/// Throws `OptionError` for a length outside 0 to that of the strongest `motion_blur`, or a direction that is
/// no number.
[[nodiscard]] DSSL_INLINE std::vector<SpreadTap> line_spread(double length, double direction);

/// v(y, x) <- sum of weight v(y + down, x + right) over the taps, edges repeated, cut to [0, 1], which
/// rounded weights may leave: planes (C,h,w), in place. `padded`: memory, grown as needed. Cost 2 C h w FLOP
/// a tap.
DSSL_INLINE void spread_light(PlanarImage<float>& planes, const std::vector<SpreadTap>& taps,
                              std::vector<float>& padded);

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

/// Throws `OptionError` for a size, in pixels, that no part of this kind has.
inline void require_spread(const char* field, double size, PhotometricKind kind) {
  const double most = name_of(kind).most;
  if (!(size >= 0 && size <= most)) throw OptionError(field, size, join("0 to ", most, " pixels"));
}

/// The taps of a square of (2 reach + 1)^2 weights that are not 0, divided by their sum.
[[nodiscard]] inline std::vector<SpreadTap> spread_taps(const std::vector<double>& weights, Index reach) {
  double sum = 0;
  for (const double w : weights) sum += w;
  std::vector<SpreadTap> out;
  const Index side = 2 * reach + 1;
  for (Index i = 0; i < side * side; ++i) {
    const double w = weights[static_cast<std::size_t>(i)];
    if (w > 0) out.push_back({i / side - reach, i % side - reach, static_cast<float>(w / sum)});
  }
  return out;
}

}  // namespace detail

DSSL_INLINE std::vector<SpreadTap> disc_spread(double radius) {
  detail::require_spread("radius", radius, PhotometricKind::defocus);
  const auto reach = static_cast<Index>(std::ceil(radius));
  std::vector<double> weights;
  for (Index y = -reach; y <= reach; ++y) {
    for (Index x = -reach; x <= reach; ++x)
      weights.push_back(
          std::clamp(radius + 0.5 - std::hypot(static_cast<double>(x), static_cast<double>(y)), 0.0, 1.0));
  }
  return detail::spread_taps(weights, reach);
}

DSSL_INLINE std::vector<SpreadTap> line_spread(double length, double direction) {
  detail::require_spread("length", length, PhotometricKind::motion_blur);
  if (!std::isfinite(direction)) throw OptionError("direction", direction, "an angle in radians");
  const auto reach = static_cast<Index>(std::ceil(0.5 * length)) + 1;
  const Index side = 2 * reach + 1;
  std::vector<double> weights(static_cast<std::size_t>(side * side));
  const auto steps = static_cast<Index>(std::ceil(4 * length));
  for (Index i = 0; i <= steps; ++i) {
    const double along =
        steps == 0 ? 0 : length * (static_cast<double>(i) / static_cast<double>(steps) - 0.5);
    const double x = along * std::cos(direction), y = along * std::sin(direction);
    const double left = std::floor(x), top = std::floor(y);
    for (const Index down : {Index{0}, Index{1}}) {
      for (const Index right : {Index{0}, Index{1}}) {
        const double across = right == 0 ? 1 - (x - left) : x - left,
                     along_y = down == 0 ? 1 - (y - top) : y - top;
        weights[static_cast<std::size_t>((static_cast<Index>(top) + down + reach) * side +
                                         static_cast<Index>(left) + right + reach)] += across * along_y;
      }
    }
  }
  return detail::spread_taps(weights, reach);
}

DSSL_INLINE void spread_light(PlanarImage<float>& planes, const std::vector<SpreadTap>& taps,
                              std::vector<float>& padded) {
  Index reach = 0;
  for (const SpreadTap& tap : taps) reach = std::max({reach, std::abs(tap.down), std::abs(tap.right)});
  const Index height = planes.height(), width = planes.width(), wide = width + 2 * reach;
  padded.resize(static_cast<std::size_t>((height + 2 * reach) * wide));
  for (Index c = 0; c < planes.channels(); ++c) {
    for (Index y = 0; y < height + 2 * reach; ++y) {
      const float* const from = planes.row(c, std::clamp<Index>(y - reach, 0, height - 1));
      float* const to = padded.data() + y * wide;
      std::fill_n(to, reach, from[0]);
      std::copy_n(from, width, to + reach);
      std::fill_n(to + reach + width, reach, from[width - 1]);
    }
    for (Index y = 0; y < height; ++y) {
      float* __restrict const out = planes.row(c, y);
      std::fill_n(out, width, 0.0F);
      for (const SpreadTap& tap : taps) {
        const float* __restrict const from =
            padded.data() + (y + reach + tap.down) * wide + reach + tap.right;
        for (Index x = 0; x < width; ++x) out[x] += tap.weight * from[x];
      }
      for (Index x = 0; x < width; ++x) out[x] = detail::cut(out[x]);
    }
  }
}
#endif

}  // namespace dssl
