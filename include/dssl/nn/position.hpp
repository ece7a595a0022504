// Reads of a position table: resampled to a view's grid, or at a point.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <dssl/backend/operands.hpp>
#include <dssl/core/compiled.hpp>
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

/// How a table of g cells along an axis is read at h others.
enum class PositionRule : std::uint8_t {
  offset,            ///< source coordinate (i + 0.5) g / (h + 0.1) - 0.5, a = -0.75. DINO, DINOv2 without registers
  size,              ///< (i + 0.5) g / h - 0.5, a = -0.75. Transformers' ViT and Dinov2
  size_antialiased,  ///< as size, a = -0.5, the kernel as wide as g / h cells where that is more than one, cut at the
                     ///< table's edge and normalised. DINOv2 with registers, timm
  corners            ///< i (g - 1) / (h - 1), a = -0.75. torchvision
};

/// A rule in words.
[[nodiscard]] constexpr std::string_view name_of(PositionRule rule) {
  switch (rule) {
    case PositionRule::offset: return "offset";
    case PositionRule::size: return "size";
    case PositionRule::size_antialiased: return "size, antialiased";
    default: return "corners";
  }
}

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

/// The rows that one output row reads, with their weights.
using RowRead = std::vector<std::pair<std::int32_t, double>>;

/// What each of `to` cells reads of an axis of `from` cells by an antialiased rule. Source: torch's
/// upsample_bicubic2d_aa.
[[nodiscard]] inline std::vector<RowRead> antialiased_axis(Index to, Index from) {
  constexpr double a = -0.5;
  const auto cubic = [](double x) {
    x = std::abs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0.0;
  };
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  std::vector<RowRead> reads(static_cast<std::size_t>(to));
  for (std::size_t i = 0; i < reads.size(); ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5);
    const auto low = static_cast<Index>(std::max(centre - 2 * stretch + 0.5, 0.0));
    const Index high = std::min(static_cast<Index>(centre + 2 * stretch + 0.5), from);
    double sum = 0;
    for (Index j = low; j < high; ++j) {
      const double weight = cubic((static_cast<double>(j) - centre + 0.5) / stretch);
      reads[i].emplace_back(static_cast<std::int32_t>(j), weight);
      sum += weight;
    }
    for (auto& [row, weight] : reads[i]) weight /= sum;
  }
  return reads;
}

/// Appends the reads that give these rows: one where each reads no more than `Taps` holds, else partial sums before.
template <class T>
void append_reads(std::vector<std::vector<Taps<T>>>& out, std::vector<RowRead> rows) {
  constexpr std::size_t most = std::tuple_size_v<decltype(Taps<T>::row)>;
  const auto taps_of = [](std::span<const std::pair<std::int32_t, double>> read) {
    Taps<T> taps;
    for (std::size_t t = 0; t < most; ++t) {
      taps.row[t] = read[t < read.size() ? t : 0].first;
      taps.weight[t] = t < read.size() ? static_cast<T>(read[t].second) : T{0};
    }
    return taps;
  };
  while (std::any_of(rows.begin(), rows.end(), [](const RowRead& read) { return read.size() > most; })) {
    std::vector<Taps<T>>& partial = out.emplace_back();
    for (RowRead& read : rows) {
      RowRead sums;
      for (std::size_t first = 0; first < read.size(); first += most) {
        sums.emplace_back(static_cast<std::int32_t>(partial.size()), 1.0);
        partial.push_back(taps_of(std::span(read).subspan(first, std::min(most, read.size() - first))));
      }
      read = std::move(sums);
    }
  }
  std::vector<Taps<T>>& last = out.emplace_back();
  for (const RowRead& read : rows) last.push_back(taps_of(read));
}

}  // namespace detail

/// Grid reads: how a table of `table` cells is resampled to `grid` cells by a rule. The first one reads the table, each
/// further one what the one before gave; the last one gives grid.size() rows.
///
/// Bicubic; all rules but the antialiased one repeat edge cells. One read, but where the antialiased rule makes a grid
/// smaller than its table (a cell then reads more than 4 x 4). A grid equal to the table reads it unchanged.
/// Source: docs/method.md, "Tokens", for `offset` (its 0.1 is part of the published definition); of the others the
/// libraries named at `PositionRule`. Test: fixtures `positions`, `objectives/position_interpolation`.
template <class T>
[[nodiscard]] std::vector<std::vector<Taps<T>>> grid_reads(GridSize grid, GridSize table,
                                                           PositionRule rule = PositionRule::offset) {
  std::vector<std::vector<Taps<T>>> reads;
  if (rule == PositionRule::size_antialiased && !(grid == table)) {
    const auto down = detail::antialiased_axis(grid.height, table.height);
    const auto across = detail::antialiased_axis(grid.width, table.width);
    std::vector<detail::RowRead> rows;
    if (grid.height >= table.height && grid.width >= table.width) {
      for (const detail::RowRead& y : down) {
        for (const detail::RowRead& x : across) {
          detail::RowRead& read = rows.emplace_back();
          for (const auto& [row, weight_y] : y) {
            for (const auto& [col, weight_x] : x) {
              read.emplace_back(static_cast<std::int32_t>(row * table.width + col), weight_y * weight_x);
            }
          }
        }
      }
      detail::append_reads(reads, std::move(rows));
      return reads;
    }
    // Down each column, then across each row.
    const auto at = [&](Index row, Index col) { return static_cast<std::int32_t>(row * table.width + col); };
    for (const detail::RowRead& y : down) {
      for (Index col = 0; col < table.width; ++col) {
        detail::RowRead& read = rows.emplace_back();
        for (const auto& [row, weight] : y) read.emplace_back(at(row, col), weight);
      }
    }
    detail::append_reads(reads, std::move(rows));
    rows.clear();
    for (Index line = 0; line < grid.height; ++line) {
      for (const detail::RowRead& x : across) {
        detail::RowRead& read = rows.emplace_back();
        for (const auto& [col, weight] : x) read.emplace_back(at(line, col), weight);
      }
    }
    detail::append_reads(reads, std::move(rows));
    return reads;
  }
  const auto source = [rule](Index i, Index to, Index from) {
    const auto at = static_cast<double>(i), t = static_cast<double>(to), f = static_cast<double>(from);
    if (rule == PositionRule::corners) return to > 1 ? at * (f - 1) / (t - 1) : 0.0;
    return (at + 0.5) * (f / (rule == PositionRule::offset ? t + 0.1 : t)) - 0.5;
  };
  std::vector<Taps<T>>& taps = reads.emplace_back();
  for (Index i = 0; i < grid.height; ++i) {
    for (Index j = 0; j < grid.width; ++j) {
      const double y = grid == table ? static_cast<double>(i) : source(i, grid.height, table.height);
      const double x = grid == table ? static_cast<double>(j) : source(j, grid.width, table.width);
      taps.push_back(detail::bicubic_taps<T>(y, x, table, detail::Outside::clamp, 0));
    }
  }
  return reads;
}

/// A point's coordinates as a read of the rows (1, 0) and (0, 1), which gives (y, x): so a token's place is handed on as
/// `Taps` whether positions are rows of a table or coordinates. Test: tests/backbone/block_options.cpp.
template <class T>
[[nodiscard]] Taps<T> coordinate_read(Point point) {
  Taps<T> taps{};
  taps.row[1] = 1;
  taps.weight[0] = static_cast<T>(point.y);
  taps.weight[1] = static_cast<T>(point.x);
  return taps;
}

/// The centres of a grid's cells as coordinates, 2 (i + 0.5) / h - 1 along each axis.
template <class T>
[[nodiscard]] std::vector<Taps<T>> coordinate_reads(GridSize grid) {
  std::vector<Taps<T>> taps;
  const auto centre = [](Index i, Index n) { return (2 * static_cast<double>(i) + 1) / static_cast<double>(n) - 1; };
  for (Index i = 0; i < grid.height; ++i) {
    for (Index j = 0; j < grid.width; ++j) {
      taps.push_back(coordinate_read<T>({.x = centre(j, grid.width), .y = centre(i, grid.height)}));
    }
  }
  return taps;
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

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE std::vector<std::vector<dssl::Taps<float>>> dssl::grid_reads(GridSize, GridSize, PositionRule);
DSSL_INSTANCE std::vector<std::vector<dssl::Taps<double>>> dssl::grid_reads(GridSize, GridSize, PositionRule);
#endif
