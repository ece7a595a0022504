// Brightness, contrast, saturation, hue, grey and solarise, for any number of channels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <dssl/core/tensor_view.hpp>
#include <dssl/views/hue.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

// Every operation works in place on planes (C,h,w). In 8 bits each gives Pillow's numbers, its truncations included;
// in float each is the same formula in [0, 1] without rounding. Three channels are red, green, blue. The grey of a
// pixel is its luma for three channels and the mean of its channels for any other number.

namespace detail {

/// from + share * (to - from), cut to the range of the type; in 8 bits towards zero, as Pillow's blend does.
template <WorkType W>
[[nodiscard]] inline W blend(W from, W to, float share) {
  if constexpr (std::is_same_v<W, std::uint8_t>) {
    const float mixed = static_cast<float>(from) + share * static_cast<float>(static_cast<int>(to) - static_cast<int>(from));
    const int value = static_cast<int>(mixed);
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  } else {
    const float mixed = from + share * (to - from);
    return mixed < 0.0F ? 0.0F : mixed > 1.0F ? 1.0F : mixed;
  }
}

/// Luma of red, green, blue: 0.299 R + 0.587 G + 0.114 B, in 8 bits with 16 fractional bits and rounded.
template <WorkType W>
[[nodiscard]] inline W luma(W red, W green, W blue) {
  if constexpr (std::is_same_v<W, std::uint8_t>) {
    return static_cast<std::uint8_t>((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16);
  } else {
    return 0.299F * red + 0.587F * green + 0.114F * blue;
  }
}

/// The mean of a pixel's channels, in 8 bits rounded to nearest.
template <WorkType W>
[[nodiscard]] inline W channel_mean(const PlanarImage<W>& planes, Index i) {
  const Index channels = planes.channels();
  std::conditional_t<std::is_same_v<W, std::uint8_t>, Index, float> sum{0};
  for (Index c = 0; c < channels; ++c) sum += planes.plane(c)[i];
  if constexpr (std::is_same_v<W, std::uint8_t>) {
    return static_cast<std::uint8_t>((2 * sum + channels) / (2 * channels));
  } else {
    return sum / static_cast<float>(channels);
  }
}

/// Sums the grey of all pixels, a row at a time so that a float sum keeps its digits.
template <WorkType W>
[[nodiscard]] double grey_sum(const PlanarImage<W>& planes) {
  using Sum = std::conditional_t<std::is_same_v<W, std::uint8_t>, std::int32_t, float>;
  const Index width = planes.width();
  double total = 0;
  for (Index y = 0; y < planes.height(); ++y) {
    if (planes.channels() == 3) {
      const W* __restrict r = planes.row(0, y);
      const W* __restrict g = planes.row(1, y);
      const W* __restrict b = planes.row(2, y);
      Sum sum{0};
      for (Index x = 0; x < width; ++x) sum += luma(r[x], g[x], b[x]);
      total += static_cast<double>(sum);
    } else {
      for (Index x = 0; x < width; ++x) total += static_cast<double>(channel_mean(planes, y * width + x));
    }
  }
  return total;
}

template <WorkType W>
void blend_with_constant(PlanarImage<W>& planes, W constant, float share) {
  W* values = planes.plane(0);
  const Index n = planes.channels() * planes.plane_size();
  for (Index i = 0; i < n; ++i) values[i] = blend(constant, values[i], share);
}

}  // namespace detail

/// Blends with black: v <- factor * v. Factor at least 0; 1 leaves the picture as it is.
/// Source: the public behaviour of Pillow's ImageEnhance. Test: augment.safetensors (tests/views/photometric.cpp).
template <WorkType W>
void adjust_brightness(PlanarImage<W>& planes, double factor) {
  detail::blend_with_constant(planes, W{0}, static_cast<float>(factor));
}

/// Blends with the mean grey m of the picture: v <- m + factor * (v - m). In 8 bits m is rounded.
/// Source and test as for `adjust_brightness`.
template <WorkType W>
void adjust_contrast(PlanarImage<W>& planes, double factor) {
  const double mean = detail::grey_sum(planes) / static_cast<double>(planes.plane_size());
  if constexpr (std::is_same_v<W, std::uint8_t>) {
    detail::blend_with_constant(planes, static_cast<std::uint8_t>(mean + 0.5), static_cast<float>(factor));
  } else {
    detail::blend_with_constant(planes, static_cast<float>(mean), static_cast<float>(factor));
  }
}

/// Blends each pixel with its grey g: v <- g + factor * (v - g). One channel: nothing to do.
/// Source and test as for `adjust_brightness`.
template <WorkType W>
void adjust_saturation(PlanarImage<W>& planes, double factor) {
  if (planes.channels() == 1) return;
  const auto share = static_cast<float>(factor);
  const Index n = planes.plane_size();
  if (planes.channels() == 3) {
    W* __restrict r = planes.plane(0);
    W* __restrict g = planes.plane(1);
    W* __restrict b = planes.plane(2);
    for (Index i = 0; i < n; ++i) {
      const W grey = detail::luma(r[i], g[i], b[i]);
      r[i] = detail::blend(grey, r[i], share);
      g[i] = detail::blend(grey, g[i], share);
      b[i] = detail::blend(grey, b[i], share);
    }
    return;
  }
  for (Index i = 0; i < n; ++i) {
    const W grey = detail::channel_mean(planes, i);
    for (Index c = 0; c < planes.channels(); ++c) planes.plane(c)[i] = detail::blend(grey, planes.plane(c)[i], share);
  }
}

/// Turns the hue of each pixel by `turns` of the colour circle, in [-0.5, 0.5]. Only for three channels; otherwise
/// nothing to do.
///
/// In 8 bits by way of 8-bit hue, saturation and value, as Pillow and torchvision do (the shift is 255 * turns, cut to
/// an integer). Source and test as for `adjust_brightness`; the conversion also over all 2^24 colours' hues.
template <WorkType W>
void adjust_hue(PlanarImage<W>& planes, double turns) {
  if (planes.channels() != 3) return;
  detail::turn_hue(planes.plane(0), planes.plane(1), planes.plane(2), planes.plane_size(), turns);
}

/// Replaces every channel by the pixel's grey. One channel: nothing to do.
/// Source and test as for `adjust_brightness`.
template <WorkType W>
void to_grey(PlanarImage<W>& planes) {
  if (planes.channels() == 1) return;
  const Index n = planes.plane_size();
  if (planes.channels() == 3) {
    W* __restrict r = planes.plane(0);
    W* __restrict g = planes.plane(1);
    W* __restrict b = planes.plane(2);
    for (Index i = 0; i < n; ++i) {
      const W grey = detail::luma(r[i], g[i], b[i]);
      r[i] = grey;
      g[i] = grey;
      b[i] = grey;
    }
    return;
  }
  for (Index i = 0; i < n; ++i) {
    const W grey = detail::channel_mean(planes, i);
    for (Index c = 0; c < planes.channels(); ++c) planes.plane(c)[i] = grey;
  }
}

/// Inverts the upper half of the range: from 128 on in 8 bits, from one half on in float.
/// Source and test as for `adjust_brightness`.
template <WorkType W>
void solarise(PlanarImage<W>& planes) {
  W* values = planes.plane(0);
  const Index n = planes.channels() * planes.plane_size();
  for (Index i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<W, std::uint8_t>) {
      values[i] = static_cast<std::uint8_t>(values[i] < 128 ? values[i] : 255 - values[i]);
    } else {
      values[i] = values[i] < 0.5F ? values[i] : 1.0F - values[i];
    }
  }
}

/// Mirrors left to right. Views are mirrored while they are resampled; this is for pictures that are not.
/// Source and test as for `adjust_brightness`.
template <WorkType W>
void mirror(PlanarImage<W>& planes) {
  for (Index c = 0; c < planes.channels(); ++c) {
    for (Index y = 0; y < planes.height(); ++y) std::reverse(planes.row(c, y), planes.row(c, y) + planes.width());
  }
}

}  // namespace dssl
