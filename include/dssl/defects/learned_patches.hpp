// Patches of a normal image on their way to a bank, and how a rank tells others of them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Some patches of an image, by the rules but without their places, as a bank may take them. Test: tests/defects/defect_probe.cpp.
template <class T>
struct LearnedPatches {
  double unit = 0;  ///< features of the image are typically so far apart; 0 where nobody asks
  GridSize grid{};
  std::vector<std::int32_t> cells{};
  std::vector<T> rows{};  ///< (cells,W)

  /// As a row of numbers, whose bits are those of what it tells.
  [[nodiscard]] std::vector<T> told() const {
    const auto bits = std::bit_cast<x_Unit>(unit);
    std::vector<T> out(bits.begin(), bits.end());
    out.reserve(x_head + cells.size() + rows.size());
    out.push_back(static_cast<T>(grid.height));
    out.push_back(static_cast<T>(grid.width));
    for (const std::int32_t cell : cells) out.push_back(static_cast<T>(cell));
    out.insert(out.end(), rows.begin(), rows.end());
    return out;
  }
  [[nodiscard]] static LearnedPatches of(std::span<const T> told, Index width) {
    x_Unit bits;
    std::copy_n(told.begin(), bits.size(), bits.begin());
    LearnedPatches out{.unit = std::bit_cast<double>(bits),
                       .grid = {static_cast<Index>(told[x_head - 2]), static_cast<Index>(told[x_head - 1])}};
    const auto rest = told.subspan(x_head);
    const std::size_t count = rest.size() / static_cast<std::size_t>(width + 1);
    for (const T cell : rest.first(count)) out.cells.push_back(static_cast<std::int32_t>(cell));
    out.rows.assign(rest.begin() + static_cast<Index>(count), rest.end());
    return out;
  }
  /// Of such a row of so many patches.
  [[nodiscard]] static Index numbers(Index patches, Index width) { return static_cast<Index>(x_head) + patches * (width + 1); }

 private:
  using x_Unit = std::array<T, sizeof(double) / sizeof(T)>;
  static constexpr std::size_t x_head = sizeof(double) / sizeof(T) + 2;
};

}  // namespace dssl
