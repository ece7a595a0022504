// Means over the cells around each cell of a grid.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <dssl/backend/operands.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Reads, for `sample_rows_forward`, that give each cell of a grid the mean over the extent x extent cells
/// around it. extent 1 (the cell itself) or 3.
///
/// At the edge the mean is over the cells that exist; PatchCore and anomalib count the missing ones as zeros.
/// Throws `OptionError`. Test: tests/defects/defect_bank.cpp.
template <class T>
[[nodiscard]] std::vector<Taps<T>> neighbourhood_taps(GridSize grid, Index extent) {
  if (extent != 1 && extent != 3) throw OptionError("neighbourhood", extent, "1 or 3");
  const Index reach = extent / 2;
  std::vector<Taps<T>> out;
  for (Index y = 0; y < grid.height; ++y) {
    for (Index x = 0; x < grid.width; ++x) {
      Taps<T> taps;
      std::size_t n = 0;
      for (Index v = std::max<Index>(0, y - reach); v <= std::min(grid.height - 1, y + reach); ++v) {
        for (Index u = std::max<Index>(0, x - reach); u <= std::min(grid.width - 1, x + reach); ++u)
          taps.row[n++] = static_cast<std::int32_t>(v * grid.width + u);
      }
      for (std::size_t i = 0; i < n; ++i) taps.weight[i] = T{1} / static_cast<T>(n);
      out.push_back(taps);
    }
  }
  return out;
}

}  // namespace dssl
