// Small images with a different value in every pixel, and PNG files that the library itself does not write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <png.h>

#include <dssl/views/image.hpp>

namespace dssl::test {

/// An image of scrambled but fixed values.
template <PixelType T>
Image<T> scrambled(Index height, Index width, Index channels) {
  Image<T> image(height, width, channels);
  std::uint32_t state = 12345;
  for (T& p : image.pixels()) {
    state = state * 1664525U + 1013904223U;
    p = static_cast<T>(state >> 13);
  }
  return image;
}

/// A smooth colour picture, which JPEG keeps well.
inline Image<std::uint8_t> smooth_picture(Index height, Index width, Index channels) {
  Image<std::uint8_t> image(height, width, channels);
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      for (Index c = 0; c < channels; ++c) {
        image(y, x, c) = static_cast<std::uint8_t>((c == 0   ? 255 * y / height
                                                    : c == 1 ? 255 * x / width
                                                             : 128 * (x + y) / (height + width)));
      }
    }
  }
  return image;
}

/// How a PNG is laid out, for the kinds that the library reads but does not write.
struct PngLayout {
  int depth = 8;
  int colour_type = PNG_COLOR_TYPE_GRAY;
  bool interlaced = false;
  bool packed = false;  ///< samples below 8 bits are given one a byte
};

/// A PNG file of rows of samples as they are to be stored, in memory.
inline std::string make_png(const PngLayout& layout, Index height, Index width,
                            const std::vector<std::uint8_t>& samples) {
  std::string bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp p, png_bytep data, std::size_t count) {
        static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<const char*>(data), count);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), layout.depth,
               layout.colour_type, layout.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (layout.colour_type == PNG_COLOR_TYPE_PALETTE) {
    std::vector<png_color> colours(std::size_t{1} << layout.depth);
    for (std::size_t i = 0; i < colours.size(); ++i) {
      colours[i] = {static_cast<png_byte>(3 * i), static_cast<png_byte>(255 - i), 9};
    }
    png_set_PLTE(png, info, colours.data(), static_cast<int>(colours.size()));
  }
  png_write_info(png, info);
  if (layout.packed) png_set_packing(png);
  std::vector<std::uint8_t> copy = samples;
  const std::size_t stride = samples.size() / static_cast<std::size_t>(height);
  std::vector<png_bytep> rows;
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) rows.push_back(copy.data() + y * stride);
  png_write_image(png, rows.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace dssl::test
