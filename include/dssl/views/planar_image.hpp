// A picture as one plane a channel: what views are resampled into and coloured in.
// Tests: tests/views/photometric.cpp.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// What views are computed in: 8-bit integers, rounded after each operation as Pillow does, or floats in [0,
/// 1].
template <class W>
concept WorkType = std::same_as<W, std::uint8_t> || std::same_as<W, float>;

/// The work type of images of a pixel type: 8-bit images stay 8-bit, 16-bit and float images become floats.
template <PixelType T>
using work_type = std::conditional_t<std::is_same_v<T, std::uint8_t>, std::uint8_t, float>;

/// Planes (C,h,w) that keep their memory when they are reshaped.
template <WorkType W>
class PlanarImage {
 public:
  using value_type = W;

  /// Sets the extents; the contents are then unspecified. Allocates only to grow beyond every earlier size.
  void reshape(Index channels, Index height, Index width) {
    x_channels = channels;
    x_height = height;
    x_width = width;
    const auto needed = static_cast<std::size_t>(channels * height * width);
    if (x_values.size() < needed) x_values.resize(needed);
  }

  [[nodiscard]] Index channels() const noexcept { return x_channels; }
  [[nodiscard]] Index height() const noexcept { return x_height; }
  [[nodiscard]] Index width() const noexcept { return x_width; }
  [[nodiscard]] Index plane_size() const noexcept { return x_height * x_width; }

  [[nodiscard]] W* plane(Index c) noexcept { return x_values.data() + c * plane_size(); }
  [[nodiscard]] const W* plane(Index c) const noexcept { return x_values.data() + c * plane_size(); }
  [[nodiscard]] W* row(Index c, Index y) noexcept { return plane(c) + y * x_width; }
  [[nodiscard]] const W* row(Index c, Index y) const noexcept { return plane(c) + y * x_width; }

 private:
  Index x_channels = 0;
  Index x_height = 0;
  Index x_width = 0;
  std::vector<W> x_values;
};

namespace detail {

/// A pixel's channel in the work type: 8-bit as it is, 16-bit over 65535, float as it is.
template <PixelType T>
[[nodiscard]] constexpr work_type<T> to_work(T value) {
  if constexpr (std::is_same_v<T, std::uint16_t>) {
    return static_cast<float>(value) * (1.0F / 65535.0F);
  } else {
    return value;
  }
}

/// The reverse of `to_work`, rounded to nearest.
template <PixelType T>
[[nodiscard]] constexpr T from_work(work_type<T> value) {
  if constexpr (std::is_same_v<T, std::uint16_t>) {
    const float v = value < 0.0F ? 0.0F : value > 1.0F ? 1.0F : value;
    return static_cast<std::uint16_t>(v * 65535.0F + 0.5F);
  } else {
    return value;
  }
}

}  // namespace detail

/// The planes of an interleaved image.
template <PixelType T>
void to_planes(PlanarImage<work_type<T>>& out, const ImageView<T>& image) {
  out.reshape(image.channels(), image.height(), image.width());
  const Index channels = image.channels();
  for (Index c = 0; c < channels; ++c) {
    for (Index y = 0; y < image.height(); ++y) {
      work_type<T>* const to = out.row(c, y);
      const T* const in = image.row(y);
      for (Index x = 0; x < image.width(); ++x) to[x] = detail::to_work(in[x * channels + c]);
    }
  }
}
template <PixelType T>
void to_planes(PlanarImage<work_type<T>>& out, const Image<T>& image) {
  to_planes(out, ImageView<T>(image));
}

/// The interleaved image of planes, of the pixel type asked for.
template <PixelType T>
[[nodiscard]] Image<T> to_image(const PlanarImage<work_type<T>>& planes) {
  Image<T> image(planes.height(), planes.width(), planes.channels());
  const Index channels = planes.channels();
  T* out = image.pixels().data();
  for (Index c = 0; c < channels; ++c) {
    const work_type<T>* from = planes.plane(c);
    for (Index i = 0; i < planes.plane_size(); ++i) out[i * channels + c] = detail::from_work<T>(from[i]);
  }
  return image;
}

}  // namespace dssl
