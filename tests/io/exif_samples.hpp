// Pictures that say how their camera was held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <dssl/io/jpeg.hpp>
#include <dssl/views/image.hpp>

namespace dssl::test {

/// TIFF data with a directory of two entries, the second the orientation.
inline std::string exif(int orientation, bool big_endian) {
  std::string out = big_endian ? "MM" : "II";
  const auto number = [&](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      const int place = big_endian ? bytes - 1 - i : i;
      out += static_cast<char>(value >> (8 * place) & 0xFF);
    }
  };
  number(42, 2);
  number(8, 4);
  number(2, 2);
  number(0x0100, 2), number(3, 2), number(1, 4), number(640, 2), number(0, 2);
  number(0x0112, 2), number(3, 2), number(1, 4), number(static_cast<std::uint32_t>(orientation), 2), number(0, 2);
  number(0, 4);
  return out;
}

/// A JPEG with EXIF data behind its first marker.
inline std::string with_exif(const Image<std::uint8_t>& image, int orientation) {
  const auto jpeg = encode_jpeg(image, 100);
  const std::string body = std::string("Exif\0\0", 6) + exif(orientation, true);
  std::string out(reinterpret_cast<const char*>(jpeg.data()), 2);
  const std::size_t length = body.size() + 2;
  out += {'\xff', '\xe1', static_cast<char>(length >> 8), static_cast<char>(length & 0xFF)};
  out += body;
  return out.append(reinterpret_cast<const char*>(jpeg.data()) + 2, jpeg.size() - 2);
}

}  // namespace dssl::test
