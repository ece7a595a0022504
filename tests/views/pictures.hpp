// Pictures the view tests share: read from fixtures, or drawn.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "fixtures.hpp"

#include <dssl/core/random.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl::test {

/// A uint8 (H,W,C) tensor of a fixture.
inline Image<std::uint8_t> picture(const SafetensorsFile& file, const std::string& name) {
  const auto& shape = file.shape(name);
  Image<std::uint8_t> image(shape.at(0), shape.at(1), shape.at(2));
  file.read_into<std::uint8_t>(image.pixels(), name);
  return image;
}

/// How far two pictures of one size are apart, in grey levels.
struct Difference {
  int largest = 0;
  double share_above_one = 0;  ///< share of values that differ by more than one level
  double share_different = 0;
};

inline Difference difference(const Image<std::uint8_t>& a, const Image<std::uint8_t>& b) {
  Difference result;
  if (a.height() != b.height() || a.width() != b.width() || a.channels() != b.channels()) {
    result.largest = 256;
    return result;
  }
  std::size_t above = 0;
  std::size_t different = 0;
  for (std::size_t i = 0; i < a.pixels().size(); ++i) {
    const int d = std::abs(int{a.pixels()[i]} - int{b.pixels()[i]});
    result.largest = d > result.largest ? d : result.largest;
    above += d > 1 ? 1U : 0U;
    different += d > 0 ? 1U : 0U;
  }
  result.share_above_one = static_cast<double>(above) / static_cast<double>(a.pixels().size());
  result.share_different = static_cast<double>(different) / static_cast<double>(a.pixels().size());
  return result;
}

/// A picture with smooth shading, edges and noise, different in every channel; the same for every pixel type.
template <PixelType T>
Image<T> drawn_picture(Index height, Index width, Index channels, std::uint64_t seed = 3) {
  Image<T> image(height, width, channels);
  RandomStream random({.seed = seed, .purpose = Purpose::synthetic});
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      const bool square = (y / 17 + x / 23) % 3 == 0;
      for (Index c = 0; c < channels; ++c) {
        const double wave =
            0.5 + 0.3 * std::sin(0.07 * static_cast<double>(x * (c + 1)) + 0.05 * static_cast<double>(y));
        const double value = (square ? 0.8 * wave : wave) + 0.1 * (random.uniform() - 0.5);
        // Multiples of 1/255, which all three pixel types hold alike.
        const auto level = static_cast<std::uint8_t>(255.0 * (value < 0 ? 0.0 : value > 1 ? 1.0 : value));
        if constexpr (std::is_same_v<T, std::uint8_t>) {
          image(y, x, c) = level;
        } else if constexpr (std::is_same_v<T, std::uint16_t>) {
          image(y, x, c) = static_cast<std::uint16_t>(257 * level);
        } else {
          image(y, x, c) = static_cast<float>(level) / 255.0F;
        }
      }
    }
  }
  return image;
}

}  // namespace dssl::test
