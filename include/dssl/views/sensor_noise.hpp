// What a sensor adds to the light: shot and read noise, patterns that are its own, hot pixels.
// Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/tone.hpp>

namespace dssl {

// Every function changes planes (C,h,w) of values in [0, 1] in place, for any number of channels; results are
// cut to [0, 1]. n, n_x, n_y are standard normal, drawn from `random`: the same bits for any number of
// threads. Where shot noise, read noise or a fixed pattern have one number a value, it is drawn for every
// channel of every pixel.

/// Light is counted: v <- v + deviation sqrt(v) n, whose variance is the signal over the full well of 1 /
/// deviation^2 electrons. Counts are Poisson's, taken as normal: good from ten electrons on.
DSSL_INLINE void shot_noise(PlanarImage<float>& planes, double deviation, RandomStream& random);

/// v <- v + deviation n, whatever the signal.
DSSL_INLINE void read_noise(PlanarImage<float>& planes, double deviation, RandomStream& random);

/// Pixels answer unequally to light: v <- (1 + deviation n) v.
DSSL_INLINE void fixed_pattern(PlanarImage<float>& planes, double deviation, RandomStream& random);

/// So do columns, of a line-scan sensor all that is fixed: v <- (1 + deviation n_x) v in column x, in all
/// channels alike.
DSSL_INLINE void column_pattern(PlanarImage<float>& planes, double deviation, RandomStream& random);

/// Rows are read, or lit, one after the other: v <- v + deviation n_y in row y, in all channels alike.
DSSL_INLINE void row_banding(PlanarImage<float>& planes, double deviation, RandomStream& random);

/// Each value is 1 with a probability of `share`.
DSSL_INLINE void hot_pixels(PlanarImage<float>& planes, double share, RandomStream& random);

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

/// Standard normal numbers: out (n), by Box and Muller, both of each pair used; at most 5.8 from 0.
inline void draw_normals(std::span<float> out, RandomStream& random) {
  constexpr float unit = 0x1.0p-24F, turn = 2 * std::numbers::pi_v<float>;
  for (std::size_t i = 0; i < out.size(); i += 2) {
    const float u = unit * static_cast<float>((random.bits() >> 8U) + 1U),
                angle = turn * unit * static_cast<float>(random.bits() >> 8U);
    const float length = std::sqrt(-2.0F * std::log(u));
    out[i] = length * std::cos(angle);
    if (i + 1 < out.size()) out[i + 1] = length * std::sin(angle);
  }
}

/// `change(v, n)` of every value with a number of its own.
template <class Change>
void with_noise(PlanarImage<float>& planes, RandomStream& random, const Change& change) {
  std::vector<float> noise(static_cast<std::size_t>(planes.width()));
  for (Index c = 0; c < planes.channels(); ++c) {
    for (Index y = 0; y < planes.height(); ++y) {
      draw_normals(noise, random);
      float* const row = planes.row(c, y);
      for (Index x = 0; x < planes.width(); ++x)
        row[x] = cut(change(row[x], noise[static_cast<std::size_t>(x)]));
    }
  }
}

}  // namespace detail

DSSL_INLINE void shot_noise(PlanarImage<float>& planes, double deviation, RandomStream& random) {
  const auto by = static_cast<float>(deviation);
  detail::with_noise(planes, random,
                     [by](float v, float n) { return v + by * std::sqrt(detail::cut(v)) * n; });
}

DSSL_INLINE void read_noise(PlanarImage<float>& planes, double deviation, RandomStream& random) {
  const auto by = static_cast<float>(deviation);
  detail::with_noise(planes, random, [by](float v, float n) { return v + by * n; });
}

DSSL_INLINE void fixed_pattern(PlanarImage<float>& planes, double deviation, RandomStream& random) {
  const auto by = static_cast<float>(deviation);
  detail::with_noise(planes, random, [by](float v, float n) { return v + by * n * v; });
}

DSSL_INLINE void column_pattern(PlanarImage<float>& planes, double deviation, RandomStream& random) {
  std::vector<float> noise(static_cast<std::size_t>(planes.width()));
  detail::draw_normals(noise, random);
  const auto by = static_cast<float>(deviation);
  for (Index c = 0; c < planes.channels(); ++c) {
    for (Index y = 0; y < planes.height(); ++y) {
      float* const row = planes.row(c, y);
      for (Index x = 0; x < planes.width(); ++x)
        row[x] = detail::cut(row[x] + by * noise[static_cast<std::size_t>(x)] * row[x]);
    }
  }
}

DSSL_INLINE void row_banding(PlanarImage<float>& planes, double deviation, RandomStream& random) {
  std::vector<float> noise(static_cast<std::size_t>(planes.height()));
  detail::draw_normals(noise, random);
  const auto by = static_cast<float>(deviation);
  for (Index c = 0; c < planes.channels(); ++c) {
    for (Index y = 0; y < planes.height(); ++y) {
      float* const row = planes.row(c, y);
      const float offset = by * noise[static_cast<std::size_t>(y)];
      for (Index x = 0; x < planes.width(); ++x) row[x] = detail::cut(row[x] + offset);
    }
  }
}

DSSL_INLINE void hot_pixels(PlanarImage<float>& planes, double share, RandomStream& random) {
  if (!(share > 0)) return;
  const Index values = planes.channels() * planes.plane_size();
  // From one to the next the distance is geometric: a number for each hot one, not for each value.
  const double by = 1 / std::log1p(-std::min(share, 1 - 1e-12));
  for (double at = -1;;) {
    at += 1 + std::floor(std::log(1 - random.uniform()) * by);
    if (!(at < static_cast<double>(values))) return;
    planes.plane(0)[static_cast<Index>(at)] = 1.0F;
  }
}
#endif

}  // namespace dssl
