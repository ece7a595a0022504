// Brightness, contrast, saturation, hue, grey and solarise, for any number of channels.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <dssl/core/tensor_view.hpp>
#include <dssl/views/hue.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

// Every operation works in place on planes (C,h,w). In 8 bits each gives Pillow's numbers, its truncations
// included; in float each is the same formula in [0, 1] without rounding. Three channels are red, green,
// blue. The grey of a pixel is its luma for three channels and the mean of its channels for any other number.

namespace detail {

/// Pixels that an operation treats together.
inline constexpr Index colour_block = 256;

/// values <- from + share * (values - from) for n <= 256 values of one plane, cut to the range of the type;
/// in 8 bits towards zero, as Pillow's blend does.
///
/// The products go through memory, so that they are rounded before they are summed: a fused multiply-add
/// would put 1 % of the pixels off by one on machines that have it.
template <WorkType W>
void blend(W* __restrict values, const W* __restrict from, float share, Index n) {
  std::array<float, static_cast<std::size_t>(colour_block)> products;
  float* const product = products.data();
  if constexpr (std::is_same_v<W, std::uint8_t>) {
    for (Index i = 0; i < n; ++i) product[i] = share * static_cast<float>(int{values[i]} - int{from[i]});
    for (Index i = 0; i < n; ++i) {
      const int value = static_cast<int>(static_cast<float>(from[i]) + product[i]);
      values[i] = static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
    }
  } else {
    for (Index i = 0; i < n; ++i) product[i] = share * (values[i] - from[i]);
    for (Index i = 0; i < n; ++i) {
      const float value = from[i] + product[i];
      values[i] = value < 0.0F ? 0.0F : value > 1.0F ? 1.0F : value;
    }
  }
}

/// The grey of n <= 256 pixels from `first` on: luma of three channels, else the mean of the channels (in 8
/// bits rounded to nearest).
template <WorkType W>
void grey_block(W* __restrict grey, const PlanarImage<W>& planes, Index first, Index n) {
  using Sum = std::conditional_t<std::is_same_v<W, std::uint8_t>, std::uint32_t, float>;
  const Index channels = planes.channels();
  if (channels == 3) {
    const W* __restrict r = planes.plane(0) + first;
    const W* __restrict g = planes.plane(1) + first;
    const W* __restrict b = planes.plane(2) + first;
    for (Index i = 0; i < n; ++i) grey[i] = luma(r[i], g[i], b[i]);
    return;
  }
  std::array<Sum, static_cast<std::size_t>(colour_block)> sums{};
  Sum* const sum = sums.data();
  for (Index c = 0; c < channels; ++c) {
    const W* __restrict from = planes.plane(c) + first;
    for (Index i = 0; i < n; ++i) sum[i] += Sum{from[i]};
  }
  const auto count = static_cast<Sum>(channels);
  for (Index i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<W, std::uint8_t>) {
      grey[i] = static_cast<std::uint8_t>((2U * sum[i] + count) / (2U * count));
    } else {
      grey[i] = sum[i] / count;
    }
  }
}

/// Calls `body(first, n)` for runs of at most 256 of `size` pixels.
template <class Body>
void for_each_block(Index size, const Body& body) {
  for (Index first = 0; first < size; first += colour_block)
    body(first, std::min(colour_block, size - first));
}

template <WorkType W>
using ColourBlock = std::array<W, static_cast<std::size_t>(colour_block)>;

/// The mean grey of the picture, summed in double a block at a time.
template <WorkType W>
[[nodiscard]] double mean_grey(const PlanarImage<W>& planes) {
  using Sum = std::conditional_t<std::is_same_v<W, std::uint8_t>, std::uint32_t, float>;
  ColourBlock<W> grey;
  double total = 0;
  for_each_block(planes.plane_size(), [&](Index first, Index n) {
    grey_block(grey.data(), planes, first, n);
    const W* const values = grey.data();
    Sum sum{0};
    for (Index i = 0; i < n; ++i) sum += Sum{values[i]};
    total += static_cast<double>(sum);
  });
  return total / static_cast<double>(planes.plane_size());
}

template <WorkType W>
void blend_with_constant(PlanarImage<W>& planes, W constant, float share) {
  ColourBlock<W> from;
  from.fill(constant);
  W* const values = planes.plane(0);
  for_each_block(planes.channels() * planes.plane_size(),
                 [&](Index first, Index n) { blend(values + first, from.data(), share, n); });
}

}  // namespace detail

/// Blends with black: v <- factor * v. Factor at least 0; 1 leaves the picture as it is.
/// Source: the public behaviour of Pillow's ImageEnhance. Test: augment.safetensors
/// (tests/views/photometric.cpp).
template <WorkType W>
void adjust_brightness(PlanarImage<W>& planes, double factor) {
  detail::blend_with_constant(planes, W{0}, static_cast<float>(factor));
}

/// Blends with the mean grey m of the picture: v <- m + factor * (v - m). In 8 bits m is rounded.
/// Source and test as for `adjust_brightness`.
template <WorkType W>
void adjust_contrast(PlanarImage<W>& planes, double factor) {
  const double mean = detail::mean_grey(planes);
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
  detail::ColourBlock<W> grey;
  detail::for_each_block(planes.plane_size(), [&](Index first, Index n) {
    detail::grey_block(grey.data(), planes, first, n);
    for (Index c = 0; c < planes.channels(); ++c)
      detail::blend(planes.plane(c) + first, grey.data(), share, n);
  });
}

/// Turns the hue of each pixel by `turns` of the colour circle, in [-0.5, 0.5]. Only for three channels;
/// otherwise nothing to do.
///
/// In 8 bits by way of 8-bit hue, saturation and value, as Pillow and torchvision do (the shift is 255 *
/// turns, cut to an integer). Source and test as for `adjust_brightness`; the conversion also over all 2^24
/// colours' hues.
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
  detail::ColourBlock<W> grey;
  detail::for_each_block(planes.plane_size(), [&](Index first, Index n) {
    detail::grey_block(grey.data(), planes, first, n);
    for (Index c = 0; c < planes.channels(); ++c) std::copy_n(grey.data(), n, planes.plane(c) + first);
  });
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
    for (Index y = 0; y < planes.height(); ++y)
      std::reverse(planes.row(c, y), planes.row(c, y) + planes.width());
  }
}

}  // namespace dssl
