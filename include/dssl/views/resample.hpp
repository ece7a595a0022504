// Resizing a box of an image, with anti-aliasing, to the number as Pillow does it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/resample_weights.hpp>

namespace dssl {

namespace detail {

/// Rows that the horizontal pass treats together: the vector lanes of its inner loops.
inline constexpr Index strip_rows = 16;
/// Columns that the vertical pass treats together.
inline constexpr Index strip_columns = 32;

/// out[j * 16 + i] = in[i * 16 + j]. Four perfect shuffles of 256 values turn their 8-bit positions by four
/// bits, which is the transposition; each shuffle is a run of vector interleaves.
inline void transpose_16x16(std::uint8_t* __restrict out, const std::uint8_t* __restrict in) {
  std::array<std::uint8_t, 256> a;
  std::array<std::uint8_t, 256> b;
  const auto shuffle = [](std::uint8_t* __restrict to, const std::uint8_t* __restrict from) {
    for (std::size_t i = 0; i < 128; ++i) {
      to[2 * i] = from[i];
      to[2 * i + 1] = from[i + 128];
    }
  };
  shuffle(a.data(), in);
  shuffle(b.data(), a.data());
  shuffle(a.data(), b.data());
  shuffle(out, a.data());
}

}  // namespace detail

/// The memory of resizes, reused from one to the next; one for each thread.
template <WorkType W>
struct ResampleWorkspace {
  detail::AxisWeights<W> across;
  detail::AxisWeights<W> down;
  PlanarImage<W> narrowed;      ///< (C, rows of the box, w): the box after the horizontal pass
  std::vector<W> strip;         ///< (box width * C, 16): 16 rows of the box, transposed
  std::vector<W> narrow_strip;  ///< (C, w padded to 16, 16): the same after the horizontal pass
  std::vector<float> texels;    ///< of warps: what is read, the channels of a pixel side by side
};

namespace detail {

/// Copies 16 rows of `n` values into columns: strip[i * 16 + r] = rows[r][i].
template <PixelType T>
void load_strip(work_type<T>* __restrict strip, const std::array<const T*, strip_rows>& rows, Index n) {
  Index i = 0;
  if constexpr (std::is_same_v<T, std::uint8_t>) {
    std::array<std::uint8_t, 256> block;
    for (; i + 16 <= n; i += 16) {
      for (std::size_t r = 0; r < 16; ++r) std::copy_n(rows[r] + i, 16, block.data() + r * 16);
      transpose_16x16(strip + i * strip_rows, block.data());
    }
  }
  for (; i < n; ++i) {
    for (std::size_t r = 0; r < 16; ++r) strip[i * strip_rows + static_cast<Index>(r)] = to_work(rows[r][i]);
  }
}

/// Copies columns of one channel back into up to 16 rows: rows[r][i] = strip[i * 16 + r].
template <WorkType W>
void store_strip(PlanarImage<W>& out, Index c, Index first_row, Index rows, const W* __restrict strip) {
  const Index n = out.width();
  Index i = 0;
  if constexpr (std::is_same_v<W, std::uint8_t>) {
    std::array<std::uint8_t, 256> block;
    for (; i + 16 <= n; i += 16) {
      transpose_16x16(block.data(), strip + i * strip_rows);
      for (Index r = 0; r < rows; ++r) std::copy_n(block.data() + r * 16, 16, out.row(c, first_row + r) + i);
    }
  }
  for (; i < n; ++i) {
    for (Index r = 0; r < rows; ++r) out.row(c, first_row + r)[i] = strip[i * strip_rows + r];
  }
}

/// to[r] = finish(sum over t of weights[t] * from[t * step + r]), r < Lanes: one output of either pass.
template <Index Lanes, WorkType W>
inline void weigh(W* __restrict to, const W* __restrict from, Index step,
                  const typename ResampleArithmetic<W>::Sum* __restrict weights, Index count) {
  using Arithmetic = ResampleArithmetic<W>;
  using Sum = typename Arithmetic::Sum;
  std::array<Sum, static_cast<std::size_t>(Lanes)> sum;
  for (auto& s : sum) s = Arithmetic::start;
  for (Index t = 0; t < count; ++t) {
    const Sum weight = weights[t];
    const W* __restrict in = from + t * step;
    for (std::size_t r = 0; r < static_cast<std::size_t>(Lanes); ++r)
      sum[r] += weight * static_cast<Sum>(in[r]);
  }
  for (std::size_t r = 0; r < static_cast<std::size_t>(Lanes); ++r) to[r] = Arithmetic::finish(sum[r]);
}

/// The horizontal pass: rows [first, first + count) of the box, to `workspace.narrowed`.
template <PixelType T>
void resample_across(ResampleWorkspace<work_type<T>>& workspace, const ImageView<T>& image, const Box& box,
                     Index first, Index count) {
  using W = work_type<T>;
  const Index channels = image.channels();
  const Index out_width = workspace.across.size();
  const Index padded_width = (out_width + 15) / 16 * 16;
  workspace.narrowed.reshape(channels, count, out_width);
  workspace.strip.resize(static_cast<std::size_t>(box.width * channels * strip_rows));
  workspace.narrow_strip.resize(static_cast<std::size_t>(padded_width * channels * strip_rows));
  W* const strip = workspace.strip.data();
  W* const narrow = workspace.narrow_strip.data();
  for (Index y = 0; y < count; y += strip_rows) {
    const Index rows = std::min(strip_rows, count - y);
    std::array<const T*, strip_rows> sources;
    for (Index r = 0; r < strip_rows; ++r) {
      // Below the last row the strip repeats it; those lanes are not stored.
      const Index row = box.y + first + y + std::min(r, rows - 1);
      sources[static_cast<std::size_t>(r)] = image.row(row) + box.x * channels;
    }
    load_strip<T>(strip, sources, box.width * channels);
    for (Index x = 0; x < out_width; ++x) {
      const Index step = channels * strip_rows;
      const W* from = strip + workspace.across.first(x) * step;
      for (Index c = 0; c < channels; ++c) {
        weigh<strip_rows>(narrow + (c * padded_width + x) * strip_rows, from + c * strip_rows, step,
                          workspace.across.weights(x), workspace.across.count(x));
      }
    }
    for (Index c = 0; c < channels; ++c) {
      store_strip(workspace.narrowed, c, y, rows, narrow + c * padded_width * strip_rows);
    }
  }
}

/// The vertical pass, from `workspace.narrowed`, whose first row is the box's row `first`.
template <WorkType W>
void resample_down(PlanarImage<W>& out, const ResampleWorkspace<W>& workspace, Index first) {
  const PlanarImage<W>& in = workspace.narrowed;
  const Index width = in.width();
  const Index height = workspace.down.size();
  out.reshape(in.channels(), height, width);
  for (Index c = 0; c < in.channels(); ++c) {
    for (Index y = 0; y < height; ++y) {
      const W* from = in.row(c, workspace.down.first(y) - first);
      W* to = out.row(c, y);
      const auto* weights = workspace.down.weights(y);
      const Index count = workspace.down.count(y);
      Index x = 0;
      for (; x + strip_columns <= width; x += strip_columns) {
        weigh<strip_columns>(to + x, from + x, width, weights, count);
      }
      for (; x + 8 <= width; x += 8) weigh<8>(to + x, from + x, width, weights, count);
      for (; x < width; ++x) weigh<1>(to + x, from + x, width, weights, count);
    }
  }
}

}  // namespace detail

/// Resizes `box` of `image` to `height` x `width` and mirrors it left to right if `flip`: out
/// (C,height,width).
///
/// Pixels outside the box take no part, as if the box had been cut out before. Two passes, horizontal first,
/// each rounded to 8 bits (8-bit images) or cut to [0, 1] (others); only the rows that are read are computed.
/// Nearest copies values and never mixes them. Cost about 2 C (box rows * width * taps + height * width *
/// taps) FLOP; allocates only to grow the workspace. Throws `ShapeError` if the box is not inside the image
/// or the size is not positive. Source: the public behaviour of Pillow's `resize` (Pillow 13 takes the
/// vertical pass first for some shapes; the reference pictures, and this, never do). Test:
/// augment.safetensors (tests/views/resample.cpp).
template <PixelType T>
void resample(PlanarImage<work_type<T>>& out, const ImageView<T>& image, const Box& box, Index height,
              Index width, Interpolation kind, bool flip, ResampleWorkspace<work_type<T>>& workspace) {
  require_shape(inside(box, image.height(), image.width()), "resample: box of ", box.height, " x ", box.width,
                " pixels at row ", box.y, ", column ", box.x, " is not inside the image of ", image.height(),
                " x ", image.width());
  require_shape(height >= 1 && width >= 1, "resample: to ", height, " x ", width,
                " pixels; expected at least 1 x 1");
  workspace.across.prepare(box.width, width, kind, flip);
  workspace.down.prepare(box.height, height, kind, false);
  Index first = box.height;
  Index last = 0;
  for (Index y = 0; y < height; ++y) {
    first = std::min(first, workspace.down.first(y));
    last = std::max(last, workspace.down.first(y) + workspace.down.count(y));
  }
  if (kind == Interpolation::nearest) {
    const Index channels = image.channels();
    out.reshape(channels, height, width);
    for (Index y = 0; y < height; ++y) {
      const T* row = image.row(box.y + workspace.down.first(y)) + box.x * channels;
      for (Index c = 0; c < channels; ++c) {
        work_type<T>* to = out.row(c, y);
        for (Index x = 0; x < width; ++x)
          to[x] = detail::to_work(row[workspace.across.first(x) * channels + c]);
      }
    }
    return;
  }
  detail::resample_across(workspace, image, box, first, last - first);
  detail::resample_down(out, workspace, first);
}

template <PixelType T>
void resample(PlanarImage<work_type<T>>& out, const Image<T>& image, const Box& box, Index height, Index width,
              Interpolation kind, bool flip, ResampleWorkspace<work_type<T>>& workspace) {
  resample(out, ImageView<T>(image), box, height, width, kind, flip, workspace);
}

/// The box of `image` resized to `height` x `width`, as an image of the same type. Allocates; for single
/// pictures.
template <PixelType T>
[[nodiscard]] Image<T> resize(const ImageView<T>& image, const Box& box, Index height, Index width,
                              Interpolation kind = Interpolation::bicubic, bool flip = false) {
  ResampleWorkspace<work_type<T>> workspace;
  PlanarImage<work_type<T>> planes;
  resample(planes, image, box, height, width, kind, flip, workspace);
  return to_image<T>(planes);
}
template <PixelType T>
[[nodiscard]] Image<T> resize(const Image<T>& image, const Box& box, Index height, Index width,
                              Interpolation kind = Interpolation::bicubic, bool flip = false) {
  return resize(ImageView<T>(image), box, height, width, kind, flip);
}

/// The whole image resized.
template <PixelType T>
[[nodiscard]] Image<T> resize(const ImageView<T>& image, Index height, Index width,
                              Interpolation kind = Interpolation::bicubic) {
  return resize(image, Box{0, 0, image.height(), image.width()}, height, width, kind);
}
template <PixelType T>
[[nodiscard]] Image<T> resize(const Image<T>& image, Index height, Index width,
                              Interpolation kind = Interpolation::bicubic) {
  return resize(ImageView<T>(image), height, width, kind);
}

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE void dssl::resample(PlanarImage<std::uint8_t>&, const ImageView<std::uint8_t>&, const Box&, Index, Index,
                                  Interpolation, bool, ResampleWorkspace<std::uint8_t>&);
DSSL_INSTANCE void dssl::resample(PlanarImage<float>&, const ImageView<std::uint16_t>&, const Box&, Index, Index,
                                  Interpolation, bool, ResampleWorkspace<float>&);
DSSL_INSTANCE void dssl::resample(PlanarImage<float>&, const ImageView<float>&, const Box&, Index, Index, Interpolation,
                                  bool, ResampleWorkspace<float>&);
#endif
