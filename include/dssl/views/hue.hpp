// Turning the hue of red-green-blue planes, in 8 bits to the number as Pillow does it, and in float.
// Tests: tests/views/photometric.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <dssl/backend/view_hue.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::detail {

/// A turn on the scale of 8-bit hues, cut to an integer, and in sixths of a turn.
[[nodiscard]] inline int hue_steps(double turns) { return static_cast<int>(turns * 255.0); }
[[nodiscard]] inline float hue_sectors(double turns) { return static_cast<float>(6.0 * turns); }

/// 8-bit hue turned by int(255 * turns), modulo 256.
///
/// In two loops over a block, so that each becomes vector code.
inline void turn_hue(std::uint8_t* __restrict red, std::uint8_t* __restrict green,
                     std::uint8_t* __restrict blue, Index n, double turns) {
  constexpr Index block = 256;
  std::array<int, static_cast<std::size_t>(block)> hues;
  std::array<float, static_cast<std::size_t>(block)> saturations;
  std::array<float, static_cast<std::size_t>(block)> values;
  const int steps = hue_steps(turns);
  for (Index first = 0; first < n; first += block) {
    const Index count = std::min(block, n - first);
    std::uint8_t* __restrict const r = red + first;
    std::uint8_t* __restrict const g = green + first;
    std::uint8_t* __restrict const b = blue + first;
    int* __restrict const hue = hues.data();
    float* __restrict const saturation = saturations.data();
    float* __restrict const value = values.data();
    for (Index i = 0; i < count; ++i) {
      const TurnedBytes colour = turned_bytes(r[i], g[i], b[i], steps);
      hue[i] = colour.hue;
      saturation[i] = colour.saturation;
      value[i] = colour.value;
    }
    for (Index i = 0; i < count; ++i)
      set_bytes<ContractedFloats>(r[i], g[i], b[i], {hue[i], saturation[i], value[i]});
  }
}

/// The same in [0, 1] without rounding.
inline void turn_hue(float* __restrict red, float* __restrict green, float* __restrict blue, Index n,
                     double turns) {
  const float shift = hue_sectors(turns);
  for (Index i = 0; i < n; ++i) turn_pixel<ContractedFloats>(red[i], green[i], blue[i], shift);
}

}  // namespace dssl::detail
