// Gaussian blur as three box blurs, to the number as Pillow does it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// The memory of blurs, reused from one to the next; one for each thread.
template <WorkType W>
struct BlurWorkspace {
  std::vector<W> line;
  std::vector<W> next_line;
  std::vector<W> plane;
};

namespace detail {

inline constexpr int box_passes = 3;

/// Radius of the box whose third self-convolution has the variance of a Gaussian of this standard deviation;
/// the fraction is the weight of the two outermost pixels. Source: Gwosdek, Grewenig, Bruhn, Weickert,
/// "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering", SSVM 2011, equations 7,
/// 11, 14.
[[nodiscard]] inline float extended_box_radius(float deviation) {
  const float variance = deviation * deviation / static_cast<float>(box_passes);
  const auto length = static_cast<float>(std::sqrt(12.0 * static_cast<double>(variance) + 1.0));
  const auto whole = static_cast<float>(std::floor((static_cast<double>(length) - 1.0) / 2.0));
  const float numerator = (2.0F * whole + 1.0F) * (whole * (whole + 1.0F) - 3.0F * variance);
  const float denominator = 6.0F * (variance - (whole + 1.0F) * (whole + 1.0F));
  return whole + numerator / denominator;
}

/// out = inner * (sum of the 2 radius + 1 nearest) + outer * (the two beyond them); edges are repeated.
template <WorkType W>
struct ExtendedBox;

/// Weights with 24 fractional bits in unsigned arithmetic: they sum to at most 2^24, so 255 times them fits.
template <>
struct ExtendedBox<std::uint8_t> {
  using Sum = std::uint32_t;
  int radius;
  Sum inner;
  Sum outer;

  explicit ExtendedBox(float extended)
      : radius(static_cast<int>(extended)),
        inner(static_cast<Sum>(16777216.0F / (extended * 2.0F + 1.0F))),
        outer((16777216U - static_cast<Sum>(2 * radius + 1) * inner) / 2U) {}

  [[nodiscard]] std::uint8_t operator()(Sum near, Sum far) const {
    return static_cast<std::uint8_t>((near * inner + far * outer + (1U << 23)) >> 24);
  }
};

template <>
struct ExtendedBox<float> {
  using Sum = float;
  int radius;
  Sum inner;
  Sum outer;

  explicit ExtendedBox(float extended)
      : radius(static_cast<int>(extended)),
        inner(1.0F / (extended * 2.0F + 1.0F)),
        outer((1.0F - static_cast<float>(2 * radius + 1) * inner) / 2.0F) {}

  [[nodiscard]] float operator()(Sum near, Sum far) const { return near * inner + far * outer; }
};

/// One line or column step: out[i] from `in(offset)[i]`, offset in -radius - 1 .. radius + 1. `Radius` is the
/// box's radius where it is known at compile time (0 to 2 covers every Gaussian up to 2.8), else -1.
template <int Radius, WorkType W, class RowAt>
void box_row(W* __restrict out, Index n, const ExtendedBox<W>& box, const RowAt& in) {
  using Sum = typename ExtendedBox<W>::Sum;
  const ExtendedBox<W> weights = box;
  if constexpr (Radius == 0) {
    const W* a = in(-1);
    const W* b = in(0);
    const W* c = in(1);
    for (Index i = 0; i < n; ++i) out[i] = weights(Sum{b[i]}, Sum{a[i]} + Sum{c[i]});
  } else if constexpr (Radius == 1) {
    const W* a = in(-2);
    const W* b = in(-1);
    const W* c = in(0);
    const W* d = in(1);
    const W* e = in(2);
    for (Index i = 0; i < n; ++i) out[i] = weights(Sum{b[i]} + Sum{c[i]} + Sum{d[i]}, Sum{a[i]} + Sum{e[i]});
  } else {
    const int radius = weights.radius;
    constexpr Index block = 64;
    for (Index i = 0; i < n; i += block) {
      const Index count = std::min(block, n - i);
      Sum near[static_cast<std::size_t>(block)] = {};
      for (int offset = -radius; offset <= radius; ++offset) {
        const W* from = in(offset) + i;
        for (Index j = 0; j < count; ++j) near[j] += Sum{from[j]};
      }
      const W* before = in(-radius - 1) + i;
      const W* after = in(radius + 1) + i;
      for (Index j = 0; j < count; ++j) out[i + j] = weights(near[j], Sum{before[j]} + Sum{after[j]});
    }
  }
}

template <int Radius, WorkType W>
void blur_plane(W* plane, Index height, Index width, const ExtendedBox<W>& box, BlurWorkspace<W>& workspace) {
  const auto pad = static_cast<Index>(box.radius) + 1;
  workspace.line.resize(static_cast<std::size_t>(width + 2 * pad));
  workspace.next_line.resize(static_cast<std::size_t>(width + 2 * pad));
  workspace.plane.resize(static_cast<std::size_t>(height * width));
  W* scratch = workspace.plane.data();
  for (Index y = 0; y < height; ++y) {
    W* line = workspace.line.data() + pad;
    W* next = workspace.next_line.data() + pad;
    std::copy_n(plane + y * width, width, line);
    for (int pass = 0; pass < box_passes; ++pass) {
      std::fill_n(line - pad, pad, line[0]);
      std::fill_n(line + width, pad, line[width - 1]);
      W* to = pass == box_passes - 1 ? scratch + y * width : next;
      box_row<Radius>(to, width, box, [line](int offset) { return line + offset; });
      std::swap(line, next);
    }
  }
  W* from = scratch;
  W* to = plane;
  for (int pass = 0; pass < box_passes; ++pass) {
    for (Index y = 0; y < height; ++y) {
      box_row<Radius>(to + y * width, width, box, [from, y, height, width](int offset) {
        return from + std::clamp<Index>(y + offset, 0, height - 1) * width;
      });
    }
    std::swap(from, to);
  }
}

}  // namespace detail

/// Blurs planes (C,h,w) in place by a Gaussian of standard deviation `radius` pixels, edges repeated.
///
/// Three box blurs along rows, then three along columns, each rounded in 8 bits. Radius 0 leaves the picture
/// as it is. Cost about 6 C h w (2 radius + 3) FLOP; allocates only to grow the workspace. Source: the public
/// behaviour of Pillow's GaussianBlur. Test: augment.safetensors (tests/views/photometric.cpp).
template <WorkType W>
void gaussian_blur(PlanarImage<W>& planes, double radius, BlurWorkspace<W>& workspace) {
  if (!(radius > 0.0)) return;
  const detail::ExtendedBox<W> box(detail::extended_box_radius(static_cast<float>(radius)));
  for (Index c = 0; c < planes.channels(); ++c) {
    W* plane = planes.plane(c);
    switch (box.radius) {
      case 0:
        detail::blur_plane<0>(plane, planes.height(), planes.width(), box, workspace);
        break;
      case 1:
        detail::blur_plane<1>(plane, planes.height(), planes.width(), box, workspace);
        break;
      default:
        detail::blur_plane<-1>(plane, planes.height(), planes.width(), box, workspace);
        break;
    }
  }
}

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE void dssl::gaussian_blur(PlanarImage<std::uint8_t>&, double, BlurWorkspace<std::uint8_t>&);
DSSL_INSTANCE void dssl::gaussian_blur(PlanarImage<float>&, double, BlurWorkspace<float>&);
#endif
