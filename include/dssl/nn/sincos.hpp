// Position tables of sines and cosines that are not trained: MAE's and MoCo v3's.
// Tests: tests/nn/sincos.cpp (fixture sincos).
#pragma once

#include <cmath>
#include <cstdint>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Which coordinate has the first half of a row of the table.
enum class SincosOrder : std::uint8_t {
  column_first,  ///< MAE
  row_first,     ///< MoCo v3, whose code takes square grids only: for others it numbers cells down the columns
};

/// table (R + h w, D) = R rows of zeros, for class and other tokens that have no place, then row by row the cells of
/// the grid: for cell (y, x) [sin(a f), cos(a f), sin(b f), cos(b f)] with the D/4 frequencies f_k = temperature^(-k /
/// (D/4)), and (a, b) = (x, y) or (y, x) as `order` says. y and x count cells; angles are computed in double.
///
/// The table lies in the host's memory. Throws `ShapeError` where D is no multiple of 4 or the grid has more cells than
/// the table rows. Sources: mae efb2a80 util/pos_embed.py; moco-v3 c349e6e vits.py.
template <class T>
void sincos_positions(MatrixView<T> table, GridSize grid, SincosOrder order, double temperature = 10000) {
  require_shape(table.cols() % 4 == 0, "sincos_positions: width ", table.cols(), "; expected a multiple of 4");
  require_shape(grid.height > 0 && grid.width > 0 && table.rows() >= grid.size(), "sincos_positions: a table of ",
                table.rows(), " rows for a grid of ", grid.height, " x ", grid.width);
  const Index prefix = table.rows() - grid.size(), quarter = table.cols() / 4;
  for (Index row = 0; row < table.rows(); ++row) {
    const Index y = (row - prefix) / grid.width, x = (row - prefix) % grid.width;
    const auto first = static_cast<double>(order == SincosOrder::column_first ? x : y);
    const auto second = static_cast<double>(order == SincosOrder::column_first ? y : x);
    for (Index k = 0; k < quarter; ++k) {
      if (row < prefix) {
        for (Index part = 0; part < 4; ++part) table(row, part * quarter + k) = T{0};
        continue;
      }
      const double frequency = std::pow(temperature, -static_cast<double>(k) / static_cast<double>(quarter));
      table(row, k) = static_cast<T>(std::sin(first * frequency));
      table(row, quarter + k) = static_cast<T>(std::cos(first * frequency));
      table(row, 2 * quarter + k) = static_cast<T>(std::sin(second * frequency));
      table(row, 3 * quarter + k) = static_cast<T>(std::cos(second * frequency));
    }
  }
}

}  // namespace dssl
