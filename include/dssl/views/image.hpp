// Images in memory: any number of channels, 8-bit, 16-bit or float.
// Tests: tests/views/resample.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What a pixel's channel may be stored as. Integers span [0, max]; floats span [0, 1] by convention.
template <class T>
concept PixelType =
    std::is_same_v<T, std::uint8_t> || std::is_same_v<T, std::uint16_t> || std::is_same_v<T, float>;

/// The value that stands for full intensity: 255, 65535 or 1.
template <PixelType T>
inline constexpr float full_scale = std::is_same_v<T, float>
                                        ? 1.0F
                                        : static_cast<float>(std::numeric_limits<T>::max());

/// Luma of red, green, blue: 0.299 R + 0.587 G + 0.114 B, in integers with 16 fractional bits and rounded. The weights
/// add up to one: white stays white.
template <PixelType T>
[[nodiscard]] constexpr T luma(T red, T green, T blue) {
  if constexpr (std::is_same_v<T, float>) {
    return 0.299F * red + 0.587F * green + 0.114F * blue;
  } else {
    // 65535 * 65536 + 0x8000 still fits.
    return static_cast<T>((red * 19595U + green * 38470U + blue * 7471U + 0x8000U) >> 16U);
  }
}

/// An image of `height` x `width` pixels with interleaved channels: (H,W,C), row-major, owned.
template <PixelType T>
class Image {
 public:
  using value_type = T;

  Image() = default;

  /// An image of zeros. Throws `ShapeError` unless every extent is at least 1.
  Image(Index height, Index width, Index channels) : x_height(height), x_width(width), x_channels(channels) {
    require_shape(height >= 1 && width >= 1 && channels >= 1, "image of ", height, " x ", width,
                  " pixels and ", channels, " channels; each must be at least 1");
    x_pixels.resize(static_cast<std::size_t>(height * width * channels));
  }

  [[nodiscard]] Index height() const noexcept { return x_height; }
  [[nodiscard]] Index width() const noexcept { return x_width; }
  [[nodiscard]] Index channels() const noexcept { return x_channels; }
  [[nodiscard]] bool empty() const noexcept { return x_pixels.empty(); }

  [[nodiscard]] std::span<T> pixels() noexcept { return x_pixels; }
  [[nodiscard]] std::span<const T> pixels() const noexcept { return x_pixels; }

  /// Pointer to the first channel of the first pixel of row y.
  [[nodiscard]] T* row(Index y) noexcept { return x_pixels.data() + y * x_width * x_channels; }
  [[nodiscard]] const T* row(Index y) const noexcept { return x_pixels.data() + y * x_width * x_channels; }

  [[nodiscard]] T& operator()(Index y, Index x, Index c) noexcept { return row(y)[x * x_channels + c]; }
  [[nodiscard]] const T& operator()(Index y, Index x, Index c) const noexcept {
    return row(y)[x * x_channels + c];
  }

  [[nodiscard]] bool operator==(const Image&) const = default;

 private:
  Index x_height = 0;
  Index x_width = 0;
  Index x_channels = 0;
  std::vector<T> x_pixels;
};

/// An image whose pixel type is known when it is read.
using AnyImage = std::variant<Image<std::uint8_t>, Image<std::uint16_t>, Image<float>>;

[[nodiscard]] inline Index height(const AnyImage& image) {
  return std::visit([](const auto& i) { return i.height(); }, image);
}
[[nodiscard]] inline Index width(const AnyImage& image) {
  return std::visit([](const auto& i) { return i.width(); }, image);
}
[[nodiscard]] inline Index channels(const AnyImage& image) {
  return std::visit([](const auto& i) { return i.channels(); }, image);
}

}  // namespace dssl
