// Cuda backend: the arithmetic of one pixel of a view, with the roundings of the views room.
//
// In 8 bits the results are those of dssl/views to the bit: integers, and floats whose products are rounded
// before they are summed. (Of a turned hue the CPU's compiler may contract products and sums: one value in a
// few millions is then another level.) In float they are the same formulas, which compilers may contract as
// they like.
#pragma once

#include <cstdint>

#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/view_work.hpp>

namespace dssl::cuda {

/// Between 0 and 1 of a work type, and how sums become values of it.
template <class W>
struct ViewLevels;

template <>
struct ViewLevels<std::uint8_t> {
  using Weight = std::int32_t;      // of a filter: 22 fractional bits
  using BoxWeight = std::uint32_t;  // of a blur: 24 fractional bits
  using Sum = std::uint32_t;

  static __device__ __forceinline__ Weight start() { return 1 << 21; }
  static __device__ __forceinline__ std::uint8_t finish(Weight sum) { return cut(sum >> 22); }
  static __device__ __forceinline__ std::uint8_t cut(int value) {
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
  static __device__ __forceinline__ std::uint8_t blend(std::uint8_t value, std::uint8_t from, float share) {
    const float product =
        __fmul_rn(share, static_cast<float>(static_cast<int>(value) - static_cast<int>(from)));
    return cut(static_cast<int>(__fadd_rn(static_cast<float>(from), product)));
  }
  static __device__ __forceinline__ std::uint8_t luma(std::uint8_t red, std::uint8_t green,
                                                      std::uint8_t blue) {
    return static_cast<std::uint8_t>((red * 19595U + green * 38470U + blue * 7471U + 0x8000U) >> 16U);
  }
  static __device__ __forceinline__ std::uint8_t mean_of(Sum sum, Sum count) {
    return static_cast<std::uint8_t>((2U * sum + count) / (2U * count));
  }
  static __device__ __forceinline__ std::uint8_t of_mean(double mean) {
    return static_cast<std::uint8_t>(mean + 0.5);
  }
  static __device__ __forceinline__ std::uint8_t solarised(std::uint8_t value) {
    return static_cast<std::uint8_t>(value < 128 ? value : 255 - value);
  }
  static __device__ __forceinline__ std::uint8_t box(Sum near, Sum far, BoxWeight inner, BoxWeight outer) {
    return static_cast<std::uint8_t>((near * inner + far * outer + (1U << 23)) >> 24);
  }
  static __device__ __forceinline__ BoxWeight box_weight(const ViewWork& view, int i) {
    return view.blur_weights[i];
  }
};

template <>
struct ViewLevels<float> {
  using Weight = float;
  using BoxWeight = float;
  using Sum = float;

  static __device__ __forceinline__ float start() { return 0.0F; }
  static __device__ __forceinline__ float finish(float sum) { return cut(sum); }
  static __device__ __forceinline__ float cut(float value) {
    return value < 0.0F ? 0.0F : value > 1.0F ? 1.0F : value;
  }
  static __device__ __forceinline__ float blend(float value, float from, float share) {
    return cut(__fadd_rn(from, __fmul_rn(share, value - from)));
  }
  static __device__ __forceinline__ float luma(float red, float green, float blue) {
    return 0.299F * red + 0.587F * green + 0.114F * blue;
  }
  static __device__ __forceinline__ float mean_of(float sum, float count) { return sum / count; }
  static __device__ __forceinline__ float of_mean(double mean) { return static_cast<float>(mean); }
  static __device__ __forceinline__ float solarised(float value) {
    return value < 0.5F ? value : 1.0F - value;
  }
  static __device__ __forceinline__ float box(float near, float far, float inner, float outer) {
    return near * inner + far * outer;
  }
  static __device__ __forceinline__ float box_weight(const ViewWork& view, int i) {
    return view.blur_shares[i];
  }
};

/// A stored pixel in the work type.
template <class W>
__device__ __forceinline__ W stored_value(W value) {
  return value;
}
__device__ __forceinline__ float stored_value(std::uint16_t value) {
  return static_cast<float>(value) * (1.0F / 65535.0F);
}

/// Hue of an 8-bit colour on the scale 0..255, and saturation; the mix of float and double is that of the
/// CPU.
__device__ __forceinline__ int hue_of_bytes(int r, int g, int b, int largest, int smallest) {
  const int first = r == largest ? b : g == largest ? r : g;
  const int second = r == largest ? g : g == largest ? b : r;
  const double sector = r == largest ? 0.0 : g == largest ? 2.0 : 4.0;
  const float spread = static_cast<float>(largest == smallest ? 1 : largest - smallest);
  const float ahead = static_cast<float>(largest - first) / spread;
  const float behind = static_cast<float>(largest - second) / spread;
  const float sectors = static_cast<float>(sector + static_cast<double>(ahead) - static_cast<double>(behind));
  const double turn = static_cast<double>(sectors) / 6.0 + 1.0;
  const float hue = static_cast<float>(turn - (turn >= 1.0 ? 1.0 : 0.0));
  return static_cast<int>(static_cast<double>(hue) * 255.0);
}
__device__ __forceinline__ int saturation_of_bytes(int largest, int smallest) {
  const float share = static_cast<float>(largest - smallest) / static_cast<float>(largest == 0 ? 1 : largest);
  return static_cast<int>(static_cast<double>(share) * 255.0);
}

/// One channel of a colour from its hue in sixths of a turn, saturation and value; `shift` is 5, 3, 1 for
/// red, green, blue.
__device__ __forceinline__ float channel_of_hue(float sectors, float saturation, float value, float shift) {
  const float turned = __fadd_rn(sectors, shift);
  const float k = turned >= 6.0F ? turned - 6.0F : turned;
  const float ramp = k < 4.0F - k ? k : 4.0F - k;
  const float depth = ramp < 0.0F ? 0.0F : ramp > 1.0F ? 1.0F : ramp;
  return __fmul_rn(value, __fadd_rn(1.0F, -__fmul_rn(saturation, depth)));
}

__device__ __forceinline__ std::uint8_t nearest_level(float value) {
  return static_cast<std::uint8_t>(static_cast<int>(__fadd_rn(value, 0.5F)));
}

__device__ __forceinline__ void turn_hue(std::uint8_t& red, std::uint8_t& green, std::uint8_t& blue,
                                         float steps) {
  const int r = red;
  const int g = green;
  const int b = blue;
  const int largest = r > g ? (r > b ? r : b) : (g > b ? g : b);
  const int smallest = r < g ? (r < b ? r : b) : (g < b ? g : b);
  const int hue = (hue_of_bytes(r, g, b, largest, smallest) + static_cast<int>(steps)) & 255;
  const float saturation = static_cast<float>(saturation_of_bytes(largest, smallest)) * (1.0F / 255.0F);
  const float sectors = __fmul_rn(static_cast<float>(hue * 6), 1.0F / 255.0F);
  const float value = static_cast<float>(largest);
  red = nearest_level(channel_of_hue(sectors, saturation, value, 5.0F));
  green = nearest_level(channel_of_hue(sectors, saturation, value, 3.0F));
  blue = nearest_level(channel_of_hue(sectors, saturation, value, 1.0F));
}

__device__ __forceinline__ void turn_hue(float& red, float& green, float& blue, float shift) {
  const float r = red;
  const float g = green;
  const float b = blue;
  const float largest = r > g ? (r > b ? r : b) : (g > b ? g : b);
  const float smallest = r < g ? (r < b ? r : b) : (g < b ? g : b);
  const float spread = largest - smallest;
  const float divisor = spread > 0.0F ? spread : 1.0F;
  const float sectors = (r == largest   ? g - b
                         : g == largest ? b - r
                                        : r - g) /
                            divisor +
                        (r == largest   ? 0.0F
                         : g == largest ? 2.0F
                                        : 4.0F);
  const float turned = sectors + shift;
  const float hue = turned < 0.0F ? turned + 6.0F : turned >= 6.0F ? turned - 6.0F : turned;
  const float saturation = largest > 0.0F ? spread / largest : 0.0F;
  red = channel_of_hue(hue, saturation, largest, 5.0F);
  green = channel_of_hue(hue, saturation, largest, 3.0F);
  blue = channel_of_hue(hue, saturation, largest, 1.0F);
}

/// One pixel of planes: channel c lies at `first[c * plane]`.
template <class W>
struct ViewPixel {
  using Levels = ViewLevels<W>;
  W* first;
  Index plane;
  int channels;

  __device__ __forceinline__ W grey() const {
    if (channels == 3) return Levels::luma(first[0], first[plane], first[2 * plane]);
    typename Levels::Sum sum = 0;
    for (int c = 0; c < channels; ++c) sum += static_cast<typename Levels::Sum>(first[c * plane]);
    return Levels::mean_of(sum, static_cast<typename Levels::Sum>(channels));
  }

  __device__ __forceinline__ void blend(W from, float share) const {
    for (int c = 0; c < channels; ++c) first[c * plane] = Levels::blend(first[c * plane], from, share);
  }

  /// `mean`: of the view's grey, for contrast.
  __device__ __forceinline__ void change(ViewStep step, float value, W mean) const {
    switch (step) {
      case ViewStep::brightness:
        blend(W(0), value);
        break;
      case ViewStep::contrast:
        blend(mean, value);
        break;
      case ViewStep::saturation:
        blend(grey(), value);
        break;
      case ViewStep::hue:
        turn_hue(first[0], first[plane], first[2 * plane], value);
        break;
      case ViewStep::grey: {
        const W own = grey();
        for (int c = 0; c < channels; ++c) first[c * plane] = own;
        break;
      }
    }
  }
};

}  // namespace dssl::cuda
