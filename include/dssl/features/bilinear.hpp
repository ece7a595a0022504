// Bilinear reads between the cells of a grid, as dense predictions are enlarged.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/operands.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Where one output of a bilinear resize reads along an axis: (1 - share) of cell `near`, share of cell
/// `far`.
struct BilinearRead {
  Index near = 0;
  Index far = 0;
  double share = 0;
};

/// Output i of `out` cells over `in` cells, align_corners off, edge clamped:
/// source coordinate max(0, (i + 0.5) in / out - 0.5). No anti-aliasing where it shrinks.
/// Source: PyTorch's `interpolate`. Test: evaluation.safetensors (tests/probe/linear_segmenter.cpp).
[[nodiscard]] inline BilinearRead bilinear_read(Index i, Index out, Index in) {
  const double at = std::max(
      0.0, (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5);
  const Index near = std::min(static_cast<Index>(std::floor(at)), in - 1);
  return {near, std::min(near + 1, in - 1), std::clamp(at - static_cast<double>(near), 0.0, 1.0)};
}

/// The same for a whole axis.
[[nodiscard]] inline std::vector<BilinearRead> bilinear_reads(Index out, Index in) {
  std::vector<BilinearRead> reads;
  for (Index i = 0; i < out; ++i) reads.push_back(bilinear_read(i, out, in));
  return reads;
}

/// The reads of height x width outputs, row-major, of a table with a row for each cell of `grid`.
template <class T>
[[nodiscard]] std::vector<Taps<T>> bilinear_taps(Index height, Index width, GridSize grid) {
  const std::vector<BilinearRead> down = bilinear_reads(height, grid.height);
  const std::vector<BilinearRead> across = bilinear_reads(width, grid.width);
  std::vector<Taps<T>> taps;
  for (const BilinearRead& y : down) {
    for (const BilinearRead& x : across) {
      Taps<T> tap;
      std::size_t n = 0;
      const auto add = [&](Index row, Index column, double weight) {
        tap.row[n] = static_cast<std::int32_t>(row * grid.width + column);
        tap.weight[n++] = static_cast<T>(weight);
      };
      add(y.near, x.near, (1 - y.share) * (1 - x.share));
      add(y.near, x.far, (1 - y.share) * x.share);
      add(y.far, x.near, y.share * (1 - x.share));
      add(y.far, x.far, y.share * x.share);
      taps.push_back(tap);
    }
  }
  return taps;
}

/// out (height, width) =: one number for each cell of `grid`, enlarged. Throws `ShapeError`.
template <class T>
void enlarge(std::span<T> out, std::span<const T> cells, GridSize grid, Index height, Index width) {
  require_shape(
      static_cast<Index>(cells.size()) == grid.size() && static_cast<Index>(out.size()) == height * width,
      "enlarging ", cells.size(), " cells to ", out.size(), " pixels; expected ", grid.size(), " and ",
      height, " x ", width);
  const std::vector<BilinearRead> across = bilinear_reads(width, grid.width);
  T* to = out.data();
  for (Index y = 0; y < height; ++y) {
    const BilinearRead down = bilinear_read(y, height, grid.height);
    const T* const near = cells.data() + down.near * grid.width;
    const T* const far = cells.data() + down.far * grid.width;
    const auto below = static_cast<T>(down.share);
    for (const BilinearRead& x : across) {
      const auto right = static_cast<T>(x.share);
      const T upper = (1 - right) * near[x.near] + right * near[x.far];
      const T lower = (1 - right) * far[x.near] + right * far[x.far];
      *to++ = (1 - below) * upper + below * lower;
    }
  }
}

/// classes (height, width) =: the class with the largest enlarged score of each pixel, the lowest among
/// equals; scores (N,C) have a row for each cell of `grid`. Throws `ShapeError`.
template <class T>
void enlarged_classes(std::span<std::uint8_t> classes, MatrixView<const T> scores, GridSize grid,
                      Index height, Index width) {
  require_shape(scores.rows() == grid.size() && scores.cols() >= 1 && scores.cols() <= 256 &&
                    static_cast<Index>(classes.size()) == height * width && height >= 1 && width >= 1,
                "enlarging scores ", scores.rows(), " x ", scores.cols(), " to ", classes.size(),
                " pixels; expected ", grid.size(), " cells and ", height, " x ", width);
  const std::vector<BilinearRead> across = bilinear_reads(width, grid.width);
  const Index c_count = scores.cols();
  const Index row_size = grid.width * c_count;
  std::vector<T> row(static_cast<std::size_t>(row_size));
  std::uint8_t* to = classes.data();
  for (Index y = 0; y < height; ++y) {
    const BilinearRead down = bilinear_read(y, height, grid.height);
    const T* const near_row = scores.data() + down.near * row_size;
    const T* const far_row = scores.data() + down.far * row_size;
    const auto below = static_cast<T>(down.share);
    for (Index i = 0; i < row_size; ++i)
      row[static_cast<std::size_t>(i)] = (1 - below) * near_row[i] + below * far_row[i];
    for (const BilinearRead& x : across) {
      const T* const near = row.data() + x.near * c_count;
      const T* const far = row.data() + x.far * c_count;
      const auto right = static_cast<T>(x.share);
      Index best = 0;
      T most = (1 - right) * near[0] + right * far[0];
      for (Index c = 1; c < c_count; ++c) {
        const T score = (1 - right) * near[c] + right * far[c];
        if (score > most) {
          most = score;
          best = c;
        }
      }
      *to++ = static_cast<std::uint8_t>(best);
    }
  }
}

}  // namespace dssl
