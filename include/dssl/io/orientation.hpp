// How a camera was held: the orientation of EXIF, and images turned by it.
// Tests: tests/io/orientation.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// How stored pixels become the picture that every viewer shows, as EXIF numbers it.
enum class Orientation : std::uint8_t {
  as_stored = 1,
  mirrored = 2,         ///< left and right change places
  upside_down = 3,      ///< turned by half
  flipped = 4,          ///< top and bottom change places
  transposed = 5,       ///< rows become columns
  turned_right = 6,     ///< a quarter, clockwise
  anti_transposed = 7,  ///< mirrored at the other diagonal
  turned_left = 8       ///< a quarter, anticlockwise
};

/// Whether height and width change places.
[[nodiscard]] constexpr bool swaps_sides(Orientation orientation) {
  return orientation >= Orientation::transposed;
}

/// The orientation that EXIF data tells: TIFF, with or without "Exif\0\0" before it. As stored where it tells
/// none, or is damaged.
[[nodiscard]] inline Orientation exif_orientation(std::span<const std::byte> data) {
  constexpr std::string_view head("Exif\0\0", 6);
  if (data.size() >= head.size() &&
      std::equal(head.begin(), head.end(), data.begin(),
                 [](char c, std::byte b) { return static_cast<std::byte>(c) == b; })) {
    data = data.subspan(head.size());
  }
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(data[i]); };
  if (data.size() < 8) return Orientation::as_stored;
  const bool big_endian = at(0) == 'M' && at(1) == 'M';
  if (!big_endian && !(at(0) == 'I' && at(1) == 'I')) return Orientation::as_stored;
  const auto two = [&](std::size_t i) { return big_endian ? at(i) << 8U | at(i + 1) : at(i + 1) << 8U | at(i); };
  const auto four = [&](std::size_t i) {
    return big_endian ? two(i) << 16U | two(i + 2) : two(i + 2) << 16U | two(i);
  };
  const std::size_t directory = four(4);
  if (two(2) != 42 || directory > data.size() - 2) return Orientation::as_stored;
  const std::size_t entries = two(directory);
  for (std::size_t n = 0; n < entries; ++n) {
    const std::size_t entry = directory + 2 + 12 * n;
    if (entry + 12 > data.size()) break;
    constexpr std::uint32_t orientation_tag = 0x0112;
    if (two(entry) != orientation_tag) continue;
    const std::uint32_t value = two(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<Orientation>(value) : Orientation::as_stored;
  }
  return Orientation::as_stored;
}

/// The picture (H,W,C), or (W,H,C) where sides change places, of stored pixels. Cost: a copy, none as stored.
template <PixelType T>
[[nodiscard]] Image<T> oriented(Image<T> stored, Orientation orientation) {
  if (orientation == Orientation::as_stored) return stored;
  const Index h = stored.height();
  const Index w = stored.width();
  Image<T> out(swaps_sides(orientation) ? w : h, swaps_sides(orientation) ? h : w, stored.channels());
  for (Index y = 0; y < out.height(); ++y) {
    for (Index x = 0; x < out.width(); ++x) {
      Index row = y;
      Index column = x;
      switch (orientation) {
        case Orientation::as_stored: break;
        case Orientation::mirrored: column = w - 1 - x; break;
        case Orientation::upside_down: row = h - 1 - y, column = w - 1 - x; break;
        case Orientation::flipped: row = h - 1 - y; break;
        case Orientation::transposed: row = x, column = y; break;
        case Orientation::turned_right: row = h - 1 - x, column = y; break;
        case Orientation::anti_transposed: row = h - 1 - x, column = w - 1 - y; break;
        case Orientation::turned_left: row = x, column = w - 1 - y; break;
      }
      const T* const from = stored.row(row) + column * stored.channels();
      std::copy_n(from, stored.channels(), out.row(y) + x * stored.channels());
    }
  }
  return out;
}

}  // namespace dssl
