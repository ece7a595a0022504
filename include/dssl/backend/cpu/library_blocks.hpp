// How the products of a library are shared out among threads.
#pragma once

#include <algorithm>

#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu {

/// c (M,N) in blocks of which each is a call of a library that uses one thread: sizes depend on shapes alone.
///
/// Where there are 16 blocks or more, as many threads as that have work; a library wants blocks as large as
/// possible.
struct LibraryBlocks {
  static constexpr Index enough = 16;

  Index rows = 0;    ///< of a block; the last may have fewer
  Index cols = 0;    ///< of a block; the last may have fewer
  Index across = 0;  ///< blocks beside each other
  Index down = 0;    ///< blocks one below the other

  /// Blocks of at least `least_rows` and at most `most_rows` rows, and at most `most_cols` columns; M and N
  /// above 0.
  LibraryBlocks(Index m, Index n, Index least_rows, Index most_rows, Index most_cols) {
    across = (n + most_cols - 1) / most_cols;
    cols = x_even(n, across);
    across = (n + cols - 1) / cols;
    const Index wanted = (m * across + enough - 1) / enough;
    down = (m + std::clamp(wanted, least_rows, most_rows) - 1) / std::clamp(wanted, least_rows, most_rows);
    rows = x_even(m, down);
    down = (m + rows - 1) / rows;
  }

  [[nodiscard]] Index count() const { return across * down; }
  [[nodiscard]] Index rows_of(Index block, Index m) const { return std::min(rows, m - block * rows); }
  [[nodiscard]] Index cols_of(Index block, Index n) const { return std::min(cols, n - block * cols); }

 private:
  /// Extent of one of `blocks` equal blocks, in whole cache lines of floats.
  static Index x_even(Index extent, Index blocks) {
    constexpr Index line = 16;
    return std::min(extent, ((extent + blocks - 1) / blocks + line - 1) / line * line);
  }
};

}  // namespace dssl::cpu
