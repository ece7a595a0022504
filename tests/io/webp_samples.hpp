// WebP files, written by libwebp, and chunks around them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <webp/encode.h>

#include <dssl/views/image.hpp>

namespace dssl::test {

/// A file of an image of 3 or 4 channels; `quality` below 0: lossless.
inline std::string webp_file(const Image<std::uint8_t>& image, float quality) {
  const int width = static_cast<int>(image.width());
  const int height = static_cast<int>(image.height());
  const int stride = static_cast<int>(image.width() * image.channels());
  const std::uint8_t* const pixels = image.pixels().data();
  std::uint8_t* out = nullptr;
  const std::size_t size = image.channels() == 4
                               ? (quality < 0 ? WebPEncodeLosslessRGBA(pixels, width, height, stride, &out)
                                              : WebPEncodeRGBA(pixels, width, height, stride, quality, &out))
                               : (quality < 0 ? WebPEncodeLosslessRGB(pixels, width, height, stride, &out)
                                              : WebPEncodeRGB(pixels, width, height, stride, quality, &out));
  std::string bytes(reinterpret_cast<const char*>(out), size);
  WebPFree(out);
  return bytes;
}

inline std::string little_endian(std::size_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

/// A chunk of a file, filled up to an even length.
inline std::string webp_chunk(std::string_view name, std::string_view data) {
  return std::string(name) + little_endian(data.size(), 4) + std::string(data) + std::string(data.size() % 2, '\0');
}

/// The picture of a file that has one chunk alone, with EXIF data behind it.
inline std::string webp_with_exif(const std::string& file, std::size_t width, std::size_t height, std::string_view exif) {
  const std::string head = std::string("\x08\0\0\0", 4) + little_endian(width - 1, 3) + little_endian(height - 1, 3);
  const std::string body = "WEBP" + webp_chunk("VP8X", head) + file.substr(12) + webp_chunk("EXIF", exif);
  return "RIFF" + little_endian(body.size(), 4) + body;
}

}  // namespace dssl::test
