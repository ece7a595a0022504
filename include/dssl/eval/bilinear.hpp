// Bilinear reads between the cells of a grid, as dense predictions are enlarged.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <dssl/backend/operands.hpp>
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
/// Source: PyTorch's `interpolate`. Test: evaluation.safetensors (tests/eval/linear_segmenter.cpp).
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

}  // namespace dssl
