// What a sensor adds to the light: shot and read noise, patterns that are its own, hot pixels.
// Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
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

/// The logarithm of u in [2^-24, 1], to 2e-7 of it or of 1: of the power of two by itself, and of what is left of it, in
/// [sqrt(1/2), sqrt(2)), as 2 artanh((m - 1) / (m + 1)). Like the two functions below without a branch, so that many are computed at a time.
[[nodiscard]] inline float log_of_share(float u) {
  constexpr std::uint32_t least = 0x3F3504F3U;  // sqrt(1/2)
  const std::uint32_t shifted = std::bit_cast<std::uint32_t>(u) - least;
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(shifted) >> 23);
  const float m = std::bit_cast<float>((shifted & 0x7FFFFFU) + least), s = (m - 1) / (m + 1), z = s * s;
  return exponent * std::numbers::ln2_v<float> +
         2 * s * (1 + z * (1.0F / 3 + z * (1.0F / 5 + z * (1.0F / 7 + z * (1.0F / 9)))));
}

/// The square root of x, 0 or a normal number, to 3e-7 of it: by Newton's steps to its inverse, from a guess by the exponent.
[[nodiscard]] inline float root_of(float x) {
  float y = std::bit_cast<float>(0x5F375A86U - (std::bit_cast<std::uint32_t>(x) >> 1U));
  for (int i = 0; i < 3; ++i) y = y * (1.5F - 0.5F * x * y * y);
  return x * y;
}

/// `a` and `b` by `length` times the cosine and the sine of `turn` 2^-24 turns, to 2e-7 of the length: by their series about
/// the nearest quarter.
inline void polar(float& a, float& b, float length, std::int32_t turn) {
  const std::int32_t quarter = (turn + (1 << 21)) >> 22;
  const float r = 2 * std::numbers::pi_v<float> * 0x1.0p-24F * static_cast<float>(turn - (quarter << 22)), z = r * r;
  const float sine = r * (1 + z * (-1.0F / 6 + z * (1.0F / 120 + z * (-1.0F / 5040 + z * (1.0F / 362880)))));
  const float cosine = 1 + z * (-0.5F + z * (1.0F / 24 + z * (-1.0F / 720 + z * (1.0F / 40320))));
  const bool odd = (quarter & 1) != 0;
  const float x = odd ? sine : cosine, y = odd ? cosine : sine;
  a = length * (((quarter + 1) & 2) != 0 ? -x : x);
  b = length * ((quarter & 2) != 0 ? -y : y);
}

/// Standard normal numbers: out (n), by Box and Muller, both of each pair used; at most 5.8 from 0.
inline void draw_normals(std::span<float> out, RandomStream& random) {
  constexpr std::size_t pairs = 64;
  std::array<std::uint32_t, 2 * pairs> words;
  std::array<float, 2 * pairs> normals;
  for (std::size_t done = 0; done < out.size(); done += 2 * pairs) {
    const std::size_t count = std::min(2 * pairs, out.size() - done), drawn = count + count % 2;
    random.fill(std::span(words).first(drawn));
    for (std::size_t i = 0; i < drawn; i += 2) {
      const float u = 0x1.0p-24F * static_cast<float>(static_cast<std::int32_t>(words[i] >> 8U) + 1);
      polar(normals[i], normals[i + 1], root_of(-2.0F * log_of_share(u)), static_cast<std::int32_t>(words[i + 1] >> 8U));
    }
    std::copy_n(normals.begin(), count, out.begin() + static_cast<std::ptrdiff_t>(done));
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
                     [by](float v, float n) { return v + by * detail::root_of(detail::cut(v)) * n; });
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
