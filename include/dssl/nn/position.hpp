// Reads of a position table: resampled to a view's grid, or at a point.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <dssl/backend/operands.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Rows and columns of a grid of patches.
struct GridSize {
  Index height = 0;
  Index width = 0;

  [[nodiscard]] constexpr Index size() const { return height * width; }
  [[nodiscard]] constexpr bool operator==(const GridSize&) const = default;
};

namespace detail {

/// Weights of the four neighbours of a point that lies t in [0, 1) after the second; bicubic, a = -0.75.
[[nodiscard]] inline std::array<double, 4> bicubic_weights(double t) {
  constexpr double a = -0.75;
  const auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

/// What happens to neighbours outside the table.
enum class Outside { clamp, zero };

template <class T>
[[nodiscard]] Taps<T> bicubic_taps(double y, double x, GridSize table, Outside outside, Index first_row) {
  const double floor_y = std::floor(y);
  const double floor_x = std::floor(x);
  const auto weight_y = bicubic_weights(y - floor_y);
  const auto weight_x = bicubic_weights(x - floor_x);
  // Far outside the table every neighbour is outside too; the clamp keeps the conversion to integers defined.
  const auto row0 = static_cast<Index>(std::clamp(floor_y, -8.0, static_cast<double>(table.height) + 8.0)) - 1;
  const auto col0 = static_cast<Index>(std::clamp(floor_x, -8.0, static_cast<double>(table.width) + 8.0)) - 1;
  Taps<T> taps;
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t j = 0; j < 4; ++j) {
      const Index row = row0 + static_cast<Index>(i);
      const Index col = col0 + static_cast<Index>(j);
      const bool inside = row >= 0 && row < table.height && col >= 0 && col < table.width;
      const Index at = std::clamp<Index>(row, 0, table.height - 1) * table.width +
                       std::clamp<Index>(col, 0, table.width - 1);
      taps.row[4 * i + j] = static_cast<std::int32_t>(first_row + at);
      taps.weight[4 * i + j] =
          inside || outside == Outside::clamp ? static_cast<T>(weight_y[i] * weight_x[j]) : T{0};
    }
  }
  return taps;
}

}  // namespace detail

/// Grid read: how a table of `table` cells is resampled to `grid` cells; out (grid.size()) =.
///
/// Bicubic with a = -0.75, edge cells repeated; output cell i has the source coordinate
/// (i + 0.5) g / (h + 0.1) - 0.5 along each axis (the 0.1 is part of the published definition). A grid equal to
/// the table reads it unchanged. Source: docs/method.md, "Tokens". Test: fixture `positions`.
template <class T>
void grid_read(std::span<Taps<T>> out, GridSize grid, GridSize table) {
  const auto source = [](Index i, Index to, Index from) {
    return (static_cast<double>(i) + 0.5) * (static_cast<double>(from) / (static_cast<double>(to) + 0.1)) - 0.5;
  };
  std::size_t k = 0;
  for (Index i = 0; i < grid.height; ++i) {
    for (Index j = 0; j < grid.width; ++j) {
      out[k++] = grid == table
                     ? detail::bicubic_taps<T>(static_cast<double>(i), static_cast<double>(j), table,
                                               detail::Outside::clamp, 0)
                     : detail::bicubic_taps<T>(source(i, grid.height, table.height),
                                               source(j, grid.width, table.width), table, detail::Outside::clamp, 0);
    }
  }
}

/// Point read: how a table of `table` cells is read at a point of [-1, 1]^2.
///
/// Bicubic with a = -0.75; the centre of cell i lies at (2i + 1)/g - 1; cells outside the table count as zero.
/// `first_row` is the number of the table's first row. Points are not confined to the view.
/// Source: docs/method.md, "Tokens". Test: fixture `positions`.
template <class T>
[[nodiscard]] Taps<T> point_read(Point point, GridSize table, Index first_row = 0) {
  const double y = ((point.y + 1) * static_cast<double>(table.height) - 1) / 2;
  const double x = ((point.x + 1) * static_cast<double>(table.width) - 1) / 2;
  return detail::bicubic_taps<T>(y, x, table, detail::Outside::zero, first_row);
}

}  // namespace dssl
