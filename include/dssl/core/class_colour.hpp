// The colours of class ids in masks and pictures.
#pragma once

#include <array>
#include <cstdint>

namespace dssl {

/// The colour of a mask id: its bits spread over red, green and blue, the highest first, as in the VOC data sets.
/// 256 different colours; id 0 is black. Test: tests/io/png.cpp.
[[nodiscard]] constexpr std::array<std::uint8_t, 3> class_colour(std::uint8_t id) {
  std::array<std::uint8_t, 3> colour{};
  for (unsigned bit = 0; bit < 8; ++bit) {
    const unsigned set = id >> bit & 1U;
    colour[bit % 3] = static_cast<std::uint8_t>(colour[bit % 3] | set << (7 - bit / 3));
  }
  return colour;
}

}  // namespace dssl
