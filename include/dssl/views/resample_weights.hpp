// Which source pixels make one output pixel of a resize, and with what weights.
// Tests: tests/views/resample.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// How a resize reads between pixels. Bicubic is the kernel with a = -0.5; it and bilinear are widened by the
/// scale when they shrink (anti-aliasing), as Pillow does.
enum class Interpolation : std::uint8_t { nearest, bilinear, bicubic };

namespace detail {

/// Half the width of a filter's support, in source pixels at scale 1.
[[nodiscard]] constexpr double filter_support(Interpolation kind) {
  return kind == Interpolation::bicubic ? 2.0 : 1.0;
}

/// The filter's value at distance x from its middle.
[[nodiscard]] constexpr double filter_value(Interpolation kind, double x) {
  x = x < 0 ? -x : x;
  if (kind == Interpolation::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

/// The arithmetic of a weighted sum of pixels: what weights are stored as, and how a sum becomes a pixel.
template <WorkType W>
struct ResampleArithmetic;

/// 22 fractional bits: the sum of 8-bit pixels times weights, with the overshoot of a bicubic, fits 32 bits.
template <>
struct ResampleArithmetic<std::uint8_t> {
  using Sum = std::int32_t;
  static constexpr int fraction_bits = 32 - 8 - 2;
  static constexpr Sum start = 1 << (fraction_bits - 1);

  [[nodiscard]] static Sum weight(double w) {
    return static_cast<Sum>((w < 0 ? -0.5 : 0.5) + w * (1 << fraction_bits));
  }
  [[nodiscard]] static std::uint8_t finish(Sum sum) {
    const Sum value = sum >> fraction_bits;
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
};

/// Floats are cut to [0, 1] after each pass, so that a picture gives the same view at any depth.
template <>
struct ResampleArithmetic<float> {
  using Sum = float;
  static constexpr Sum start = 0.0F;

  [[nodiscard]] static Sum weight(double w) { return static_cast<Sum>(w); }
  [[nodiscard]] static float finish(Sum sum) { return sum < 0.0F ? 0.0F : sum > 1.0F ? 1.0F : sum; }
};

/// The weights of one axis: output i = sum over t < count[i] of weight(i)[t] * source[first[i] + t].
///
/// The memory is kept between calls of `prepare`.
template <WorkType W>
class AxisWeights {
 public:
  using Sum = typename ResampleArithmetic<W>::Sum;

  /// Weights for `in` source pixels and `out` output pixels; `mirrored` gives the outputs in reverse order.
  /// Weights of zero at the ends of a support are left out.
  void prepare(Index in, Index out, Interpolation kind, bool mirrored) {
    const double scale = static_cast<double>(in) / static_cast<double>(out);
    const double widening = std::max(scale, 1.0);
    const double support = filter_support(kind) * widening;
    x_stride = 2 * static_cast<Index>(std::ceil(support)) + 1;
    x_first.resize(static_cast<std::size_t>(out));
    x_count.resize(static_cast<std::size_t>(out));
    x_weights.resize(static_cast<std::size_t>(out * x_stride));
    x_real.resize(static_cast<std::size_t>(x_stride));
    double nearest_position = 0.5 * scale;
    for (Index i = 0; i < out; ++i) {
      const auto at = static_cast<std::size_t>(mirrored ? out - 1 - i : i);
      Sum* weights = x_weights.data() + static_cast<Index>(at) * x_stride;
      if (kind == Interpolation::nearest) {
        // The position is accumulated, not multiplied: where it falls on a pixel's edge, so does Pillow's.
        x_first[at] = std::min(static_cast<Index>(nearest_position), in - 1);
        x_count[at] = 1;
        weights[0] = ResampleArithmetic<W>::weight(1.0);
        nearest_position += scale;
        continue;
      }
      const double centre = (static_cast<double>(i) + 0.5) * scale;
      const Index low = std::max<Index>(0, static_cast<Index>(centre - support + 0.5));
      const Index high = std::min(in, static_cast<Index>(centre + support + 0.5));
      double total = 0;
      for (Index j = low; j < high; ++j) {
        const double w = filter_value(kind, (static_cast<double>(j) - centre + 0.5) * (1.0 / widening));
        x_real[static_cast<std::size_t>(j - low)] = w;
        total += w;
      }
      Index begin = 0;
      Index end = high - low;
      const auto weight_of = [&](Index t) {
        return ResampleArithmetic<W>::weight(x_real[static_cast<std::size_t>(t)] / total);
      };
      while (end - begin > 1 && weight_of(begin) == Sum{0}) ++begin;
      while (end - begin > 1 && weight_of(end - 1) == Sum{0}) --end;
      for (Index t = begin; t < end; ++t) weights[t - begin] = weight_of(t);
      x_first[at] = low + begin;
      x_count[at] = end - begin;
    }
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_first.size()); }
  [[nodiscard]] Index first(Index i) const { return x_first[static_cast<std::size_t>(i)]; }
  [[nodiscard]] Index count(Index i) const { return x_count[static_cast<std::size_t>(i)]; }
  [[nodiscard]] const Sum* weights(Index i) const { return x_weights.data() + i * x_stride; }

 private:
  Index x_stride = 0;
  std::vector<Index> x_first;
  std::vector<Index> x_count;
  std::vector<Sum> x_weights;
  std::vector<double> x_real;
};

}  // namespace detail
}  // namespace dssl
