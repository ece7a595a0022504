// A view read out of an image through any map, with anti-aliasing.
// Tests: tests/views/warped_views.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <dssl/backend/view_place.hpp>
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
  double nearest = 0;  ///< the least distance of scene pixels that one pixel of the view stands for, along any direction
  double across = 0;   ///< the largest from one pixel of the view to the next in its row
  double down = 0;     ///< and in its column
};

/// Measured at 9 x 9 places of the view, its corners among them; at 33 x 33 where the map may bend lines.
template <ViewMap M>
[[nodiscard]] WarpExtent extent_of(const M& map, Index height, Index width) {
  int places = 9;
  if constexpr (requires { map.straight(); }) places = map.straight() ? 9 : 33;
  const double across = 2.0 / static_cast<double>(width), down = 2.0 / static_cast<double>(height);
  WarpExtent out{{map.to_scene(Point{-1, -1}), map.to_scene(Point{-1, -1})}, 1e300, 0, 0};
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
      out.across = std::max(out.across, std::hypot(a, c));
      out.down = std::max(out.down, std::hypot(b, d));
    }
  }
  return out;
}

/// So many pixels of a view are worked on at a time.
inline constexpr std::size_t warp_block = 64;

/// Positions along an axis: the first of four pixels each, which may lie beyond the picture, and their weights. Of the nearest
/// pixel it is the first, and there are no weights.
struct WarpAxis {
  std::array<Index, warp_block> first;
  std::array<std::array<float, warp_block>, 4> weights;

  void place(const std::array<double, warp_block>& positions, std::size_t count, Interpolation kind) {
    if (kind == Interpolation::nearest) {
      for (std::size_t i = 0; i < count; ++i) first[i] = nearest_read(positions[i]);
      return;
    }
    std::array<float, warp_block> shares;
    for (std::size_t i = 0; i < count; ++i) {
      const ReadPlace place = place_of_read(positions[i]);
      first[i] = place.first;
      shares[i] = place.share;
    }
    for (std::size_t i = 0; i < count; ++i)
      read_weights(shares[i], kind == Interpolation::bilinear, weights[0][i], weights[1][i], weights[2][i], weights[3][i]);
  }
};

/// Channels of a picture side by side, `Lanes` of them from `first` on: texels (h,w,Lanes). Where there are no more it is the
/// first of them again.
template <Index Lanes, WorkType W>
void load_texels(std::vector<float>& texels, const PlanarImage<W>& planes, Index first) {
  const auto plane = [&](Index l) { return planes.plane(first + l < planes.channels() ? first + l : first); };
  if (const auto needed = static_cast<std::size_t>(planes.plane_size() * Lanes); texels.size() < needed) texels.resize(needed);
  float* __restrict const to = texels.data();
  if constexpr (Lanes == 1) {
    const W* __restrict const a = plane(0);
    for (Index i = 0; i < planes.plane_size(); ++i) to[i] = static_cast<float>(a[i]);
  } else {
    static_assert(Lanes == 4);
    const W *__restrict const a = plane(0), *__restrict const b = plane(1), *__restrict const c = plane(2), *__restrict const d = plane(3);
    for (Index i = 0; i < planes.plane_size(); ++i) {
      to[4 * i] = static_cast<float>(a[i]);
      to[4 * i + 1] = static_cast<float>(b[i]);
      to[4 * i + 2] = static_cast<float>(c[i]);
      to[4 * i + 3] = static_cast<float>(d[i]);
    }
  }
}

/// Four floats that are computed with at a time. Loops over so few are unrolled to single ones by compilers.
using Float4 = float __attribute__((vector_size(16)));
[[nodiscard]] inline Float4 load_float4(const float* from) {
  Float4 out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

/// Adds what is read of texels (height,width,Lanes) at `count` places to sums (count,Lanes).
template <Index Lanes>
void read_texels(std::array<float, warp_block * Lanes>& sums, const float* texels, Index height, Index width, const WarpAxis& across,
                 const WarpAxis& down, std::size_t count) {
  constexpr auto lanes = static_cast<std::size_t>(Lanes);
  for (std::size_t i = 0; i < count; ++i) {
    const Index x = across.first[i], y = down.first[i];
    std::array<const float*, 4> rows;
    std::array<float, 16 * lanes> beyond;  // four rows, where not all lie within
    if (x >= 0 && x + 4 <= width && y >= 0 && y + 4 <= height) {
      for (Index r = 0; r < 4; ++r) rows[static_cast<std::size_t>(r)] = texels + ((y + r) * width + x) * Lanes;
    } else {
      std::array<Index, 4> places;
      for (Index k = 0; k < 4; ++k) places[static_cast<std::size_t>(k)] = reflected(x + k, width) * Lanes;
      for (std::size_t r = 0; r < 4; ++r) {
        const float* const row = texels + reflected(y + static_cast<Index>(r), height) * width * Lanes;
        rows[r] = beyond.data() + r * 4 * lanes;
        for (std::size_t k = 0; k < 4; ++k)
          for (std::size_t l = 0; l < lanes; ++l) beyond[(r * 4 + k) * lanes + l] = row[places[k] + static_cast<Index>(l)];
      }
    }
    const float v0 = down.weights[0][i], v1 = down.weights[1][i], v2 = down.weights[2][i], v3 = down.weights[3][i];
    const float h0 = across.weights[0][i], h1 = across.weights[1][i], h2 = across.weights[2][i], h3 = across.weights[3][i];
    const auto column = [&](std::size_t k) {  // of four values of each row
      return v0 * load_float4(rows[0] + 4 * k) + v1 * load_float4(rows[1] + 4 * k) + v2 * load_float4(rows[2] + 4 * k) + v3 * load_float4(rows[3] + 4 * k);
    };
    if constexpr (Lanes == 1) {
      const Float4 of_rows = column(0);
      sums[i] += h0 * of_rows[0] + h1 * of_rows[1] + h2 * of_rows[2] + h3 * of_rows[3];
    } else {
      const Float4 sum = load_float4(sums.data() + 4 * i) + h0 * column(0) + h1 * column(1) + h2 * column(2) + h3 * column(3);
      std::memcpy(sums.data() + 4 * i, &sum, sizeof sum);
    }
  }
}
/// The same of the nearest pixels.
template <Index Lanes>
void read_nearest(std::array<float, warp_block * Lanes>& sums, const float* texels, Index height, Index width, const WarpAxis& across,
                  const WarpAxis& down, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float* const from = texels + (reflected(down.first[i], height) * width + reflected(across.first[i], width)) * Lanes;
    for (std::size_t l = 0; l < static_cast<std::size_t>(Lanes); ++l) sums[i * static_cast<std::size_t>(Lanes) + l] += from[l];
  }
}

/// What of an image a view is read out of, how many pixels that is resized to, and how many reads make one of the view's.
struct WarpPlan {
  Box box;
  Index rows = 1;  ///< of what the box is resized to
  Index columns = 1;
  double scale_x = 1;  ///< of its columns one of the box
  double scale_y = 1;
  int reads_across = 1;
  int reads_down = 1;
};

/// That of a view of `height` x `width` pixels of an image of `image_height` x `image_width`; throws what `warp` does.
template <ViewMap M>
[[nodiscard]] WarpPlan plan_warp(const M& map, Index image_height, Index image_width, Index height, Index width, Interpolation kind) {
  require_shape(height >= 1 && width >= 1, "warp: to ", height, " x ", width, " pixels; expected at least 1 x 1");
  const WarpExtent extent = extent_of(map, height, width);
  const double shrink = kind == Interpolation::nearest ? 1.0 : std::max(1.0, extent.nearest);
  // The pixels that are read: with those that filters reach, within the image.
  const double margin = 3 * shrink + 1;
  const auto clipped = [](double value, Index low, Index high) {
    return static_cast<Index>(std::clamp(value, static_cast<double>(low), static_cast<double>(high)));
  };
  require_shape(image_height >= 1 && image_width >= 1 && extent.across < 1e9 && extent.down < 1e9, "warp: of an image of ",
                image_height, " x ", image_width, " pixels the view lies from (", extent.region.first.x, ", ", extent.region.first.y,
                ") to (", extent.region.last.x, ", ", extent.region.last.y, "); expected a pixel and a finite extent");
  Box box{clipped(std::floor(extent.region.first.y - margin), 0, image_height - 1),
          clipped(std::floor(extent.region.first.x - margin), 0, image_width - 1), 0, 0};
  box.height = clipped(std::ceil(extent.region.last.y + margin), box.y + 1, image_height) - box.y;
  box.width = clipped(std::ceil(extent.region.last.x + margin), box.x + 1, image_width) - box.x;
  const auto dense = [shrink](Index n) {
    return std::max<Index>(1, static_cast<Index>(std::ceil(static_cast<double>(n) / shrink)));
  };
  const auto reads_of = [&](double apart) {
    return kind == Interpolation::nearest ? 1 : static_cast<int>(std::clamp(std::ceil(apart / shrink - 0.5), 1.0, 16.0));
  };
  WarpPlan out{.box = box, .rows = dense(box.height), .columns = dense(box.width)};
  out.scale_x = static_cast<double>(out.columns) / static_cast<double>(box.width);
  out.scale_y = static_cast<double>(out.rows) / static_cast<double>(box.height);
  out.reads_across = reads_of(extent.across);
  out.reads_down = reads_of(extent.down);
  return out;
}

}  // namespace detail

/// What a view of `height` x `width` pixels shows of `image` through `map`: out (C,height,width).
///
/// The part of the image that the view lies in is first resized (`resample`) to the density that the view has where it is
/// densest, so that no pixel is passed over; then every pixel of the view is the mean of m x n reads of it by `kind`, where m and
/// n are the least numbers for which reads lie at most one and a half pixels of it apart across and down (of a view turned or
/// sheared a little 1; at most 16). What lies beyond the image's edges is the image reflected at them, and of a view that shows nothing of it what is nearest. Nearest copies the pixel that the middle of
/// the view's pixel lies in, and mixes none. Cost about 36 C m n height width FLOP beside the resize; allocates only to grow
/// the workspace, to 16 bytes a pixel of what is resized (4 of one channel) beside its own. Throws `ShapeError` where the view has no finite extent. Tests: pictures of
/// functions, resized boxes, quarter turns, a fine pattern (tests/views/warped_views.cpp).
template <PixelType T, ViewMap M>
void warp(PlanarImage<work_type<T>>& out, const ImageView<T>& image, const M& map, Index height, Index width,
          Interpolation kind, PlanarImage<work_type<T>>& reduced, ResampleWorkspace<work_type<T>>& workspace) {
  using W = work_type<T>;
  const detail::WarpPlan plan = detail::plan_warp(map, image.height(), image.width(), height, width, kind);
  resample(reduced, image, plan.box, plan.rows, plan.columns, kind, false, workspace);
  const float share = 1.0F / static_cast<float>(plan.reads_across * plan.reads_down);
  // By products: divisions were a tenth of the whole.
  const double across_read = 1.0 / plan.reads_across, down_read = 1.0 / plan.reads_down;
  const double of_column = 2.0 / static_cast<double>(width), of_row = 2.0 / static_cast<double>(height);
  out.reshape(image.channels(), height, width);
  const auto read = [&]<Index Lanes>(std::integral_constant<Index, Lanes>, Index first) {
    detail::load_texels<Lanes>(workspace.texels, reduced, first);
    const float* const texels = workspace.texels.data();
    std::array<double, detail::warp_block> x_of, y_of;
    detail::WarpAxis across, down;
    for (Index y = 0; y < height; ++y) {
      for (Index from = 0; from < width; from += static_cast<Index>(detail::warp_block)) {
        const auto count = static_cast<std::size_t>(std::min(width - from, static_cast<Index>(detail::warp_block)));
        std::array<float, detail::warp_block * Lanes> sums{};
        for (int i = 0; i < plan.reads_down; ++i) {
          for (int j = 0; j < plan.reads_across; ++j) {
            for (std::size_t k = 0; k < count; ++k) {
              const ScenePoint s = map.to_scene(Point{detail::read_place(from + static_cast<Index>(k), j, across_read, of_column),
                                                      detail::read_place(y, i, down_read, of_row)});
              x_of[k] = (s.x - static_cast<double>(plan.box.x)) * plan.scale_x;
              y_of[k] = (s.y - static_cast<double>(plan.box.y)) * plan.scale_y;
            }
            across.place(x_of, count, kind);
            down.place(y_of, count, kind);
            if (kind == Interpolation::nearest) {
              detail::read_nearest<Lanes>(sums, texels, reduced.height(), reduced.width(), across, down, count);
            } else {
              detail::read_texels<Lanes>(sums, texels, reduced.height(), reduced.width(), across, down, count);
            }
          }
        }
        for (Index l = 0; l < std::min(Lanes, image.channels() - first); ++l) {
          W* const row = out.row(first + l, y) + from;
          for (std::size_t k = 0; k < count; ++k)
            detail::set_read(row[k], share * sums[k * static_cast<std::size_t>(Lanes) + static_cast<std::size_t>(l)]);
        }
      }
    }
  };
  if (image.channels() == 1) return read(std::integral_constant<Index, 1>{}, 0);
  for (Index c = 0; c < image.channels(); c += 4) read(std::integral_constant<Index, 4>{}, c);
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
