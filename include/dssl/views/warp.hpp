// A view read out of an image through any map, with anti-aliasing.
// Tests: tests/views/warped_views.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/homography.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/resample.hpp>
#include <dssl/views/resample_weights.hpp>

namespace dssl {

namespace detail {

/// Where a view lies in a scene, and how far apart its pixels are there.
struct WarpExtent {
  SceneRegion region;
  double nearest = 0;   ///< the least distance of scene pixels that one pixel of the view stands for, along any direction
  double furthest = 0;  ///< the largest
};

/// Measured at 9 x 9 places of the view, its corners among them; at 33 x 33 where the map may bend lines.
template <ViewMap M>
[[nodiscard]] WarpExtent extent_of(const M& map, Index height, Index width) {
  int places = 9;
  if constexpr (requires { map.straight(); }) places = map.straight() ? 9 : 33;
  const double across = 2.0 / static_cast<double>(width), down = 2.0 / static_cast<double>(height);
  WarpExtent out{{map.to_scene(Point{-1, -1}), map.to_scene(Point{-1, -1})}, 1e300, 0};
  for (int i = 0; i < places; ++i) {
    for (int j = 0; j < places; ++j) {
      const Point at{2.0 * j / (places - 1) - 1.0, 2.0 * i / (places - 1) - 1.0};
      const ScenePoint s = map.to_scene(at);
      out.region.first = {std::min(out.region.first.x, s.x), std::min(out.region.first.y, s.y)};
      out.region.last = {std::max(out.region.last.x, s.x), std::max(out.region.last.y, s.y)};
      // Towards the middle, so that no place outside the view is asked for.
      const double to_right = at.x > 0 ? -across : across, to_bottom = at.y > 0 ? -down : down;
      const ScenePoint right = map.to_scene(Point{at.x + to_right, at.y}), below = map.to_scene(Point{at.x, at.y + to_bottom});
      const double a = right.x - s.x, c = right.y - s.y, b = below.x - s.x, d = below.y - s.y;
      // Singular values of (a b; c d).
      const double sum = a * a + b * b + c * c + d * d;
      const double gap = std::hypot(a * a + c * c - b * b - d * d, 2 * (a * b + c * d));
      out.nearest = std::min(out.nearest, std::sqrt(std::max(0.0, 0.5 * (sum - gap))));
      out.furthest = std::max(out.furthest, std::sqrt(0.5 * (sum + gap)));
    }
  }
  return out;
}

/// The index that a reflection at the edges leads to; the pixel at the edge is met twice: c b a | a b c | c b a.
[[nodiscard]] inline Index reflected(Index i, Index n) {
  i %= 2 * n;
  if (i < 0) i += 2 * n;
  return i < n ? i : 2 * n - 1 - i;
}

/// Pixels and weights of a position along an axis of n pixels.
struct WarpTaps {
  std::array<Index, 4> at;
  std::array<float, 4> weight;
};
[[nodiscard]] inline WarpTaps warp_taps(double position, Index n, Interpolation kind) {
  WarpTaps out{};
  if (kind == Interpolation::nearest) {
    out.at.fill(reflected(static_cast<Index>(std::floor(position)), n));
    out.weight = {1, 0, 0, 0};
    return out;
  }
  const double middle = position - 0.5;  // in indices of pixels
  const double below = std::floor(middle);
  const auto first = static_cast<Index>(below) - 1;
  const double t = middle - below;
  if (first >= 0 && first + 3 < n) {
    out.at = {first, first + 1, first + 2, first + 3};
  } else {
    for (std::size_t k = 0; k < 4; ++k) out.at[k] = reflected(first + static_cast<Index>(k), n);
  }
  if (kind == Interpolation::bilinear) {
    out.weight = {0, static_cast<float>(1 - t), static_cast<float>(t), 0};
    return out;
  }
  // `filter_value` at t + 1, t, 1 - t and 2 - t, of which the branches are known.
  const double u = 1 - t;
  const auto near = [](double x) { return static_cast<float>((1.5 * x - 2.5) * x * x + 1); };
  const auto far = [](double x) { return static_cast<float>((((x - 5) * x + 8) * x - 4) * -0.5); };
  out.weight = {far(t + 1), near(t), near(u), far(u + 1)};
  return out;
}

/// Channel c at a position, by its taps across and down.
template <WorkType W>
[[nodiscard]] float read_by(const std::array<WarpTaps, 2>& taps, const PlanarImage<W>& image, Index c) {
  const auto& [across, down] = taps;
  float sum = 0;
  for (std::size_t r = 0; r < 4; ++r) {
    const W* const row = image.row(c, down.at[r]);
    float of_row = 0;
    for (std::size_t k = 0; k < 4; ++k) of_row += across.weight[k] * static_cast<float>(row[across.at[k]]);
    sum += down.weight[r] * of_row;
  }
  return sum;
}

/// A sum of weighted pixels as a pixel: rounded to 8 bits, or cut to [0, 1].
template <WorkType W>
[[nodiscard]] W warped_pixel(float value) {
  if constexpr (std::is_same_v<W, std::uint8_t>) {
    return static_cast<std::uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F));
  } else {
    return std::clamp(value, 0.0F, 1.0F);
  }
}

}  // namespace detail

/// What a view of `height` x `width` pixels shows of `image` through `map`: out (C,height,width).
///
/// The part of the image that the view lies in is first resized (`resample`) to the density that the view has where it is
/// densest, so that no pixel is passed over; then every pixel of the view is the mean of n x n reads of it by `kind`, where n
/// is the least number for which reads lie at most one and a half pixels of it apart (of a view turned or sheared a little 1;
/// at most 16). What lies beyond the image's edges is the image reflected at them. Nearest copies the pixel that the middle of
/// the view's pixel lies in, and mixes none. Cost about 36 C n^2 height width FLOP beside the resize; allocates only to grow
/// the workspace. Throws `ShapeError` where the view shows nothing of the image, or has no finite extent. Tests: pictures of
/// functions, resized boxes, quarter turns, a fine pattern (tests/views/warped_views.cpp).
template <PixelType T, ViewMap M>
void warp(PlanarImage<work_type<T>>& out, const ImageView<T>& image, const M& map, Index height, Index width,
          Interpolation kind, PlanarImage<work_type<T>>& reduced, ResampleWorkspace<work_type<T>>& workspace) {
  using W = work_type<T>;
  require_shape(height >= 1 && width >= 1, "warp: to ", height, " x ", width, " pixels; expected at least 1 x 1");
  const detail::WarpExtent extent = detail::extent_of(map, height, width);
  const double shrink = kind == Interpolation::nearest ? 1.0 : std::max(1.0, extent.nearest);
  // The pixels that are read: with those that filters reach, within the image.
  const double margin = 3 * shrink + 1;
  const auto clipped = [](double value, Index n) {
    return static_cast<Index>(std::clamp(value, 0.0, static_cast<double>(n)));
  };
  Box box{clipped(std::floor(extent.region.first.y - margin), image.height()),
          clipped(std::floor(extent.region.first.x - margin), image.width()), 0, 0};
  box.height = clipped(std::ceil(extent.region.last.y + margin), image.height()) - box.y;
  box.width = clipped(std::ceil(extent.region.last.x + margin), image.width()) - box.x;
  require_shape(box.height >= 1 && box.width >= 1 && std::isfinite(extent.furthest) && extent.furthest < 1e9,
                "warp: the view shows nothing of the image of ", image.height(), " x ", image.width(), " pixels: it lies from (",
                extent.region.first.x, ", ", extent.region.first.y, ") to (", extent.region.last.x, ", ", extent.region.last.y, ")");
  const auto dense = [shrink](Index n) {
    return std::max<Index>(1, static_cast<Index>(std::ceil(static_cast<double>(n) / shrink)));
  };
  resample(reduced, image, box, dense(box.height), dense(box.width), kind, false, workspace);

  const double scale_x = static_cast<double>(reduced.width()) / static_cast<double>(box.width);
  const double scale_y = static_cast<double>(reduced.height()) / static_cast<double>(box.height);
  constexpr int most_reads = 16;
  const int reads = kind == Interpolation::nearest
                        ? 1
                        : static_cast<int>(std::clamp(std::ceil(extent.furthest / shrink - 0.5), 1.0, double{most_reads}));
  const float share = 1.0F / static_cast<float>(reads * reads);
  // By products: divisions were a tenth of the whole.
  const double of_read = 1.0 / reads, of_column = 2.0 / static_cast<double>(width), of_row = 2.0 / static_cast<double>(height);
  const auto along = [of_read](Index pixel, int part, double step) {
    return (static_cast<double>(pixel) + (part + 0.5) * of_read) * step - 1.0;
  };
  out.reshape(image.channels(), height, width);
  std::array<std::array<detail::WarpTaps, 2>, most_reads * most_reads> taps;  // of one pixel's reads, across and down
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      std::size_t count = 0;
      for (int i = 0; i < reads; ++i) {
        for (int j = 0; j < reads; ++j) {
          const ScenePoint s = map.to_scene(Point{along(x, j, of_column), along(y, i, of_row)});
          taps[count++] = {detail::warp_taps((s.x - static_cast<double>(box.x)) * scale_x, reduced.width(), kind),
                           detail::warp_taps((s.y - static_cast<double>(box.y)) * scale_y, reduced.height(), kind)};
        }
      }
      for (Index c = 0; c < image.channels(); ++c) {
        float sum = 0;
        for (std::size_t i = 0; i < count; ++i) sum += detail::read_by(taps[i], reduced, c);
        out.row(c, y)[x] = detail::warped_pixel<W>(share * sum);
      }
    }
  }
}

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE void dssl::warp(PlanarImage<std::uint8_t>&, const ImageView<std::uint8_t>&, const HomographyMap&, Index, Index,
                              Interpolation, PlanarImage<std::uint8_t>&, ResampleWorkspace<std::uint8_t>&);
DSSL_INSTANCE void dssl::warp(PlanarImage<float>&, const ImageView<std::uint16_t>&, const HomographyMap&, Index, Index,
                              Interpolation, PlanarImage<float>&, ResampleWorkspace<float>&);
DSSL_INSTANCE void dssl::warp(PlanarImage<float>&, const ImageView<float>&, const HomographyMap&, Index, Index, Interpolation,
                              PlanarImage<float>&, ResampleWorkspace<float>&);
DSSL_INSTANCE void dssl::warp(PlanarImage<std::uint8_t>&, const ImageView<std::uint8_t>&, const LensMap&, Index, Index, Interpolation,
                              PlanarImage<std::uint8_t>&, ResampleWorkspace<std::uint8_t>&);
DSSL_INSTANCE void dssl::warp(PlanarImage<float>&, const ImageView<std::uint16_t>&, const LensMap&, Index, Index, Interpolation,
                              PlanarImage<float>&, ResampleWorkspace<float>&);
DSSL_INSTANCE void dssl::warp(PlanarImage<float>&, const ImageView<float>&, const LensMap&, Index, Index, Interpolation,
                              PlanarImage<float>&, ResampleWorkspace<float>&);
#endif
