// Turning the hue of red-green-blue planes, in 8 bits to the number as Pillow does it, and in float.
// Tests: tests/views/photometric.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <dssl/core/tensor_view.hpp>

namespace dssl::detail {

/// Hue of an 8-bit colour on Pillow's scale 0..255, from its largest and smallest channel.
///
/// Hue = 60 degrees * (sector + fraction), sector 0, 2 or 4 for red, green or blue largest. Pillow forms it
/// in a mix of float and double and cuts it to 8 bits, so the same roundings are made here; a hue off by one
/// would be up to six grey levels.
[[nodiscard]] inline int hue_of(int r, int g, int b, int largest, int smallest) {
  // Operands are selected, not results: what may trap is then done unconditionally, and the loop becomes
  // vector code.
  const int first = r == largest ? b : g == largest ? r : g;
  const int second = r == largest ? g : g == largest ? b : r;
  const double sector = r == largest ? 0.0 : g == largest ? 2.0 : 4.0;
  const auto spread = static_cast<float>(largest == smallest ? 1 : largest - smallest);
  const float ahead = static_cast<float>(largest - first) / spread;
  const float behind = static_cast<float>(largest - second) / spread;
  const auto sectors = static_cast<float>(sector + static_cast<double>(ahead) - static_cast<double>(behind));
  const double turn = static_cast<double>(sectors) / 6.0 + 1.0;
  const auto hue = static_cast<float>(turn - (turn >= 1.0 ? 1.0 : 0.0));
  // Equal channels have no spread, so both shares and the hue are 0.
  return static_cast<int>(static_cast<double>(hue) * 255.0);
}

/// Saturation of an 8-bit colour on Pillow's scale 0..255.
[[nodiscard]] inline int saturation_of(int largest, int smallest) {
  const float share = static_cast<float>(largest - smallest) / static_cast<float>(largest == 0 ? 1 : largest);
  return static_cast<int>(static_cast<double>(share) * 255.0);
}

/// One channel of a colour from its hue in [0, 6), saturation in [0, 1] and value; `shift` is 5, 3, 1 for
/// red, green, blue.
///
/// With k = (shift + 6 hue) mod 6 the channel is v (1 - s * clamp(min(k, 4 - k), 0, 1)).
[[nodiscard]] inline float channel_of(float sectors, float saturation, float value, float shift) {
  const float turned = sectors + shift;
  const float k = turned >= 6.0F ? turned - 6.0F : turned;
  const float ramp = std::min(k, 4.0F - k);
  const float depth = ramp < 0.0F ? 0.0F : ramp > 1.0F ? 1.0F : ramp;
  return value * (1.0F - saturation * depth);
}

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
  const int shift = hue_steps(turns);
  for (Index first = 0; first < n; first += block) {
    const Index count = std::min(block, n - first);
    std::uint8_t* __restrict const r = red + first;
    std::uint8_t* __restrict const g = green + first;
    std::uint8_t* __restrict const b = blue + first;
    int* __restrict const hue = hues.data();
    float* __restrict const saturation = saturations.data();
    float* __restrict const value = values.data();
    for (Index i = 0; i < count; ++i) {
      const int largest = std::max(int{r[i]}, std::max(int{g[i]}, int{b[i]}));
      const int smallest = std::min(int{r[i]}, std::min(int{g[i]}, int{b[i]}));
      hue[i] = (hue_of(r[i], g[i], b[i], largest, smallest) + shift) & 255;
      saturation[i] = static_cast<float>(saturation_of(largest, smallest)) * (1.0F / 255.0F);
      value[i] = static_cast<float>(largest);
    }
    for (Index i = 0; i < count; ++i) {
      const auto sectors = static_cast<float>(hue[i] * 6) * (1.0F / 255.0F);
      r[i] = static_cast<std::uint8_t>(
          static_cast<int>(channel_of(sectors, saturation[i], value[i], 5.0F) + 0.5F));
      g[i] = static_cast<std::uint8_t>(
          static_cast<int>(channel_of(sectors, saturation[i], value[i], 3.0F) + 0.5F));
      b[i] = static_cast<std::uint8_t>(
          static_cast<int>(channel_of(sectors, saturation[i], value[i], 1.0F) + 0.5F));
    }
  }
}

/// The same in [0, 1] without rounding.
inline void turn_hue(float* __restrict red, float* __restrict green, float* __restrict blue, Index n,
                     double turns) {
  const float shift = hue_sectors(turns);
  for (Index i = 0; i < n; ++i) {
    const float r = red[i];
    const float g = green[i];
    const float b = blue[i];
    const float largest = std::max(r, std::max(g, b));
    const float smallest = std::min(r, std::min(g, b));
    const float spread = largest - smallest;
    const float divisor = spread > 0.0F ? spread : 1.0F;
    const float sectors = (r == largest   ? g - b
                           : g == largest ? b - r
                                          : r - g) /
                              divisor +
                          (r == largest   ? 0.0F
                           : g == largest ? 2.0F
                                          : 4.0F);
    // In (-1, 5) before and, with a shift in [-3, 3], in (-4, 8) after.
    const float turned = sectors + shift;
    const float hue = turned < 0.0F ? turned + 6.0F : turned >= 6.0F ? turned - 6.0F : turned;
    const float saturation = largest > 0.0F ? spread / largest : 0.0F;
    red[i] = channel_of(hue, saturation, largest, 5.0F);
    green[i] = channel_of(hue, saturation, largest, 3.0F);
    blue[i] = channel_of(hue, saturation, largest, 1.0F);
  }
}

}  // namespace dssl::detail
