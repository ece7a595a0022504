// How a camera turns light into values: exposure, gamma, white balance, vignetting, bits.
// Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

// Every function changes planes (C,h,w) of values in [0, 1] in place, for any number of channels; results are
// cut to [0, 1]. Values are taken as they are: nothing is known of the curve that a file was encoded by.

/// Exposure and gain: v <- 2^stops v.
DSSL_INLINE void change_exposure(PlanarImage<float>& planes, double stops);

/// v <- v^(2^doublings): above 0 darker between black and white, below 0 brighter.
DSSL_INLINE void change_gamma(PlanarImage<float>& planes, double doublings);

/// v <- 2^(e_c - mean of e) v in channel c, e_c uniform in [-stops, stops] from `random`: the gains'
/// geometric mean is 1. One channel: nothing to do.
DSSL_INLINE void change_white_balance(PlanarImage<float>& planes, double stops, RandomStream& random);

/// Towards channels of one mean, the assumption that a scene is grey on average: v <- (m / m_c)^share v in
/// channel c, m_c its mean and m the mean of these. A black channel stays black. One channel: nothing to do.
/// Source: Buchsbaum 1980.
DSSL_INLINE void grey_world(PlanarImage<float>& planes, double share);

/// Light falls off from the view's middle by the fourth power of a cosine: v <- v / (1 + k r^2)^2, r the
/// distance from the middle in half diagonals, k such that a corner (r = 1) keeps 1 - loss of its light.
/// Throws `OptionError` for a loss outside [0, 1).
DSSL_INLINE void vignette(PlanarImage<float>& planes, double loss);

/// Values in L = round(2^(8 - fewer)) equal steps from 0 to 1, at least 2, each rounded to the nearest.
DSSL_INLINE void quantise(PlanarImage<float>& planes, double fewer);

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

/// A value that is no number stays one.
[[nodiscard]] inline float cut(float v) { return v < 0.0F ? 0.0F : v > 1.0F ? 1.0F : v; }

/// Black stays black by any factor: one beyond the floats would make no number of it.
inline void multiply_channel(PlanarImage<float>& planes, Index c, double factor) {
  const auto by = static_cast<float>(std::min(factor, double{std::numeric_limits<float>::max()}));
  float* const values = planes.plane(c);
  for (Index i = 0; i < planes.plane_size(); ++i) values[i] = cut(by * values[i]);
}

}  // namespace detail

DSSL_INLINE void change_exposure(PlanarImage<float>& planes, double stops) {
  for (Index c = 0; c < planes.channels(); ++c) detail::multiply_channel(planes, c, std::exp2(stops));
}

DSSL_INLINE void change_gamma(PlanarImage<float>& planes, double doublings) {
  const auto exponent = static_cast<float>(std::exp2(doublings));
  float* const values = planes.plane(0);
  for (Index i = 0; i < planes.channels() * planes.plane_size(); ++i)
    values[i] = std::pow(detail::cut(values[i]), exponent);
}

DSSL_INLINE void change_white_balance(PlanarImage<float>& planes, double stops, RandomStream& random) {
  if (planes.channels() == 1) return;
  std::vector<double> gains(static_cast<std::size_t>(planes.channels()));
  double mean = 0;
  for (double& gain : gains) {
    gain = random.uniform(-stops, stops);
    mean += gain / static_cast<double>(gains.size());
  }
  for (std::size_t c = 0; c < gains.size(); ++c)
    detail::multiply_channel(planes, static_cast<Index>(c), std::exp2(gains[c] - mean));
}

DSSL_INLINE void grey_world(PlanarImage<float>& planes, double share) {
  if (planes.channels() == 1) return;
  std::vector<double> means;
  double all = 0;
  for (Index c = 0; c < planes.channels(); ++c) {
    double sum = 0;
    const float* const values = planes.plane(c);
    for (Index i = 0; i < planes.plane_size(); ++i) sum += static_cast<double>(values[i]);
    means.push_back(sum / static_cast<double>(planes.plane_size()));
    all += means.back() / static_cast<double>(planes.channels());
  }
  for (std::size_t c = 0; c < means.size(); ++c) {
    if (means[c] > 0)
      detail::multiply_channel(planes, static_cast<Index>(c), std::pow(all / means[c], share));
  }
}

DSSL_INLINE void vignette(PlanarImage<float>& planes, double loss) {
  if (!(loss >= 0 && loss < 1)) throw OptionError("loss", loss, "at least 0 and below 1");
  const double k = 1 / std::sqrt(1 - loss) - 1;
  const double half_height = 0.5 * static_cast<double>(planes.height()),
               half_width = 0.5 * static_cast<double>(planes.width());
  const double by = k / (half_height * half_height + half_width * half_width);
  const auto squared = [](Index pixel, double half) {
    const double off = static_cast<double>(pixel) + 0.5 - half;
    return off * off;
  };
  for (Index y = 0; y < planes.height(); ++y) {
    const double down = squared(y, half_height);
    for (Index x = 0; x < planes.width(); ++x) {
      const double falls = 1 + by * (down + squared(x, half_width));
      const auto factor = static_cast<float>(1 / (falls * falls));
      for (Index c = 0; c < planes.channels(); ++c)
        planes.row(c, y)[x] = detail::cut(factor * planes.row(c, y)[x]);
    }
  }
}

DSSL_INLINE void quantise(PlanarImage<float>& planes, double fewer) {
  const auto steps = static_cast<float>(std::max(2.0, std::round(std::exp2(8 - fewer))) - 1);
  float* const values = planes.plane(0);
  for (Index i = 0; i < planes.channels() * planes.plane_size(); ++i)
    values[i] = std::floor(detail::cut(values[i]) * steps + 0.5F) / steps;
}
#endif

}  // namespace dssl
