// Cuda backend: the arithmetic of one pixel of a view, with the roundings of the views room.
//
// In 8 bits the results are those of dssl/views to the bit: integers, and floats whose products are rounded
// before they are summed. (Of a turned hue the CPU's compiler may contract products and sums: one value in a
// few millions is then another level.) In float they are the same formulas, which compilers may contract as
// they like.
#pragma once

#include <cstdint>

#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/view_hue.hpp>
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

/// Floats whose products are rounded before they are summed.
struct RoundedFloats {
  [[nodiscard]] static __device__ __forceinline__ float product(float a, float b) { return __fmul_rn(a, b); }
  [[nodiscard]] static __device__ __forceinline__ float sum(float a, float b) { return __fadd_rn(a, b); }
  [[nodiscard]] static __device__ __forceinline__ float rest(float a, float b) {
    return sum(1.0F, -product(a, b));
  }
};

__device__ __forceinline__ void turn_hue(std::uint8_t& red, std::uint8_t& green, std::uint8_t& blue,
                                         float steps) {
  const dssl::detail::TurnedBytes colour =
      dssl::detail::turned_bytes(red, green, blue, static_cast<int>(steps));
  dssl::detail::set_bytes<RoundedFloats>(red, green, blue, colour);
}

__device__ __forceinline__ void turn_hue(float& red, float& green, float& blue, float shift) {
  dssl::detail::turn_pixel<RoundedFloats>(red, green, blue, shift);
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
