// Images in memory: any number of channels, 8-bit, 16-bit or float.
// Tests: tests/views/resample.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
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

/// Pixels that lie somewhere else: (H,W,C), channels interleaved, rows a stride apart; read, not owned.
///
/// Taken wherever an image is read, so pixels of another library need no copy: they must stay where they are for as
/// long as the view is used.
template <PixelType T>
class ImageView {
 public:
  using value_type = T;

  ImageView() = default;

  /// `stride`: values (not bytes) from the start of a row to that of the next; 0: rows follow each other without a
  /// gap. Throws `ShapeError` unless every extent is at least 1, the stride holds a row, and there are pixels.
  ImageView(const T* pixels, Index height, Index width, Index channels, Index stride = 0)
      : x_height(height),
        x_width(width),
        x_channels(channels),
        x_stride(stride == 0 ? width * channels : stride),
        x_pixels(pixels) {
    require_shape(height >= 1 && width >= 1 && channels >= 1 && pixels != nullptr, "view of an image of ", height, " x ",
                  width, " pixels and ", channels, " channels", pixels == nullptr ? " at a null pointer" : "",
                  "; each must be at least 1, and pixels must be there");
    require_shape(x_stride >= width * channels, "view of an image whose rows are ", stride, " values apart; a row has ",
                  width * channels);
  }

  [[nodiscard]] Index height() const noexcept { return x_height; }
  [[nodiscard]] Index width() const noexcept { return x_width; }
  [[nodiscard]] Index channels() const noexcept { return x_channels; }
  [[nodiscard]] Index stride() const noexcept { return x_stride; }  ///< values from row to row
  [[nodiscard]] bool empty() const noexcept { return x_height == 0; }

  /// Pointer to the first channel of the first pixel of row y.
  [[nodiscard]] const T* row(Index y) const noexcept { return x_pixels + y * x_stride; }

  [[nodiscard]] const T& operator()(Index y, Index x, Index c) const noexcept { return row(y)[x * x_channels + c]; }

 private:
  Index x_height = 0;
  Index x_width = 0;
  Index x_channels = 0;
  Index x_stride = 0;
  const T* x_pixels = nullptr;
};

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

  /// Takes over pixels (H,W,C) without copying them. Throws `ShapeError` unless there are height * width * channels.
  Image(Index height, Index width, Index channels, std::vector<T> pixels)
      : x_height(height), x_width(width), x_channels(channels), x_pixels(std::move(pixels)) {
    require_shape(height >= 1 && width >= 1 && channels >= 1 &&
                      x_pixels.size() == static_cast<std::size_t>(height * width * channels),
                  "image of ", height, " x ", width, " pixels and ", channels, " channels from ", x_pixels.size(),
                  " values; each must be at least 1, and the values as many as their product");
  }

  /// A copy of the pixels that a view shows: pointer and stride in, `Image<std::uint8_t>({data, 480, 640, 3, stride})`.
  explicit Image(ImageView<T> view) : x_height(view.height()), x_width(view.width()), x_channels(view.channels()) {
    const Index row_values = x_width * x_channels;
    x_pixels.reserve(static_cast<std::size_t>(x_height * row_values));
    for (Index y = 0; y < x_height; ++y) x_pixels.insert(x_pixels.end(), view.row(y), view.row(y) + row_values);
  }

  /// The whole image without a copy; it must outlive the view.
  [[nodiscard]] operator ImageView<T>() const noexcept {  // NOLINT: an image is read wherever a view is
    ImageView<T> view;
    if (!empty()) view = {x_pixels.data(), x_height, x_width, x_channels};
    return view;
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

/// A view of pixels whose type is known at run time: of an `AnyImage`, an `Image` or an `ImageView`, none of them
/// copied. `std::visit` gives the `ImageView`.
class AnyImageView : public std::variant<ImageView<std::uint8_t>, ImageView<std::uint16_t>, ImageView<float>> {
  using x_Variant = std::variant<ImageView<std::uint8_t>, ImageView<std::uint16_t>, ImageView<float>>;

 public:
  template <PixelType T>
  AnyImageView(ImageView<T> view) : x_Variant(view) {}  // NOLINT: taken wherever an image is read
  template <PixelType T>
  AnyImageView(const Image<T>& image) : x_Variant(ImageView<T>(image)) {}  // NOLINT
  AnyImageView(const AnyImage& image)                                      // NOLINT
      : x_Variant(std::visit([]<class T>(const Image<T>& i) -> x_Variant { return ImageView<T>(i); }, image)) {}

  /// A copy of the pixels.
  [[nodiscard]] AnyImage copy() const {
    return std::visit([]<class T>(const ImageView<T>& view) -> AnyImage { return Image<T>(view); },
                      static_cast<const x_Variant&>(*this));
  }
};

/// Height and width in pixels.
struct ImageExtent {
  Index height = 0;
  Index width = 0;
  [[nodiscard]] bool operator==(const ImageExtent&) const = default;
};

[[nodiscard]] inline Index height(const AnyImageView& image) {
  return std::visit([](const auto& i) { return i.height(); }, image);
}
[[nodiscard]] inline Index width(const AnyImageView& image) {
  return std::visit([](const auto& i) { return i.width(); }, image);
}
[[nodiscard]] inline Index channels(const AnyImageView& image) {
  return std::visit([](const auto& i) { return i.channels(); }, image);
}
[[nodiscard]] inline ImageExtent extent_of(const AnyImageView& image) { return {height(image), width(image)}; }

/// An image for as long as it is used: its own pixels, or a view of somebody else's. Moved, not copied.
class HeldImage {
 public:
  explicit HeldImage(AnyImage&& owned) : x_image(std::move(owned)) {}
  explicit HeldImage(AnyImageView view) : x_image(view) {}

  /// Valid while this object stays where it is.
  [[nodiscard]] AnyImageView view() const {
    if (const AnyImage* owned = std::get_if<AnyImage>(&x_image)) return *owned;
    return std::get<AnyImageView>(x_image);
  }
  /// The image itself, copied only where it was a view. Leaves nothing.
  [[nodiscard]] AnyImage take() {
    if (AnyImage* owned = std::get_if<AnyImage>(&x_image)) return std::move(*owned);
    return std::get<AnyImageView>(x_image).copy();
  }

 private:
  std::variant<AnyImage, AnyImageView> x_image;
};

}  // namespace dssl
