// Turning the hue of one pixel: the one arithmetic of the views room and of kernels that render views.
// Tests: tests/views/photometric.cpp, tests/cuda/views.cpp.
#pragma once

#include <cstdint>

// For the host and for a device. Nothing of the standard library: its functions are the host's alone.
#if defined(__CUDACC__)
#define DSSL_HOST_DEVICE __host__ __device__
#else
#define DSSL_HOST_DEVICE
#endif

namespace dssl::detail {

/// How floats are multiplied and added where a compiler could contract both into one rounding: here it may.
struct ContractedFloats {
  [[nodiscard]] DSSL_HOST_DEVICE static constexpr float product(float a, float b) { return a * b; }
  [[nodiscard]] DSSL_HOST_DEVICE static constexpr float sum(float a, float b) { return a + b; }
  /// 1 - a b.
  [[nodiscard]] DSSL_HOST_DEVICE static constexpr float rest(float a, float b) { return 1.0F - a * b; }
};

/// Hue of an 8-bit colour on Pillow's scale 0..255, from its largest and smallest channel.
///
/// Hue = 60 degrees * (sector + fraction), sector 0, 2 or 4 for red, green or blue largest. Pillow forms it
/// in a mix of float and double and cuts it to 8 bits, so the same roundings are made here; a hue off by one
/// would be up to six grey levels.
[[nodiscard]] DSSL_HOST_DEVICE inline int hue_of(int r, int g, int b, int largest, int smallest) {
  // Operands are selected, not results: what may trap is then done unconditionally, and loops may become
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
[[nodiscard]] DSSL_HOST_DEVICE inline int saturation_of(int largest, int smallest) {
  const float share = static_cast<float>(largest - smallest) / static_cast<float>(largest == 0 ? 1 : largest);
  return static_cast<int>(static_cast<double>(share) * 255.0);
}

/// One channel of a colour from its hue in [0, 6), saturation in [0, 1] and value; `shift` is 5, 3, 1 for
/// red, green, blue.
///
/// With k = (shift + 6 hue) mod 6 the channel is v (1 - s * clamp(min(k, 4 - k), 0, 1)).
template <class Floats>
[[nodiscard]] DSSL_HOST_DEVICE float channel_of(float sectors, float saturation, float value, float shift) {
  const float turned = Floats::sum(sectors, shift);
  const float k = turned >= 6.0F ? turned - 6.0F : turned;
  const float ramp = 4.0F - k < k ? 4.0F - k : k;
  const float depth = ramp < 0.0F ? 0.0F : ramp > 1.0F ? 1.0F : ramp;
  return Floats::product(value, Floats::rest(saturation, depth));
}

/// A colour's 8-bit hue after a turn, its saturation in [0, 1] and its value.
struct TurnedBytes {
  int hue = 0;
  float saturation = 0;
  float value = 0;
};

/// 8-bit hue turned by `steps`, modulo 256.
[[nodiscard]] DSSL_HOST_DEVICE inline TurnedBytes turned_bytes(int r, int g, int b, int steps) {
  const int upper = g < b ? b : g;
  const int lower = b < g ? b : g;
  const int largest = r < upper ? upper : r;
  const int smallest = lower < r ? lower : r;
  return {(hue_of(r, g, b, largest, smallest) + steps) & 255,
          static_cast<float>(saturation_of(largest, smallest)) * (1.0F / 255.0F), static_cast<float>(largest)};
}

/// That colour's three channels.
template <class Floats>
DSSL_HOST_DEVICE void set_bytes(std::uint8_t& red, std::uint8_t& green, std::uint8_t& blue,
                                const TurnedBytes& colour) {
  const float sectors = Floats::product(static_cast<float>(colour.hue * 6), 1.0F / 255.0F);
  const auto level = [&](float shift) {
    const float channel = channel_of<Floats>(sectors, colour.saturation, colour.value, shift);
    return static_cast<std::uint8_t>(static_cast<int>(Floats::sum(channel, 0.5F)));
  };
  red = level(5.0F);
  green = level(3.0F);
  blue = level(1.0F);
}

/// A colour in [0, 1], its hue turned by `shift` sixths of the circle, in [-3, 3], without rounding to levels.
template <class Floats>
DSSL_HOST_DEVICE void turn_pixel(float& red, float& green, float& blue, float shift) {
  const float r = red;
  const float g = green;
  const float b = blue;
  const float upper = g < b ? b : g;
  const float lower = b < g ? b : g;
  const float largest = r < upper ? upper : r;
  const float smallest = lower < r ? lower : r;
  const float spread = largest - smallest;
  const float divisor = spread > 0.0F ? spread : 1.0F;
  const float sectors = (r == largest   ? g - b
                         : g == largest ? b - r
                                        : r - g) /
                            divisor +
                        (r == largest   ? 0.0F
                         : g == largest ? 2.0F
                                        : 4.0F);
  // In (-1, 5) before and in (-4, 8) after.
  const float turned = sectors + shift;
  const float hue = turned < 0.0F ? turned + 6.0F : turned >= 6.0F ? turned - 6.0F : turned;
  const float saturation = largest > 0.0F ? spread / largest : 0.0F;
  red = channel_of<Floats>(hue, saturation, largest, 5.0F);
  green = channel_of<Floats>(hue, saturation, largest, 3.0F);
  blue = channel_of<Floats>(hue, saturation, largest, 1.0F);
}

}  // namespace dssl::detail

#undef DSSL_HOST_DEVICE
