// Rows and columns matched one to one at the least cost: the Hungarian method.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

namespace detail {

/// As `minimum_assignment`, for no more rows than columns; at(row, column) is the cost.
///
/// Shortest augmenting paths over reduced costs: rows are matched one after the other, and the potentials
/// keep every reduced cost at 0 or more, those of matched pairs at 0.
template <class Cost>
[[nodiscard]] std::vector<Index> assign_rows(Index rows, Index cols, const Cost& at) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto places = static_cast<std::size_t>(cols + 1);
  // Columns are numbered from 1; column 0 stands for "the row that is being matched".
  std::vector<double> of_row(static_cast<std::size_t>(rows + 1), 0.0);
  std::vector<double> of_column(places, 0.0);
  std::vector<std::size_t> row_of(places, 0);  // from 1; 0: free
  std::vector<std::size_t> before(places, 0);
  for (std::size_t row = 1; row <= static_cast<std::size_t>(rows); ++row) {
    std::vector<double> slack(places, infinity);
    std::vector<char> reached(places, 0);
    std::size_t column = 0;
    row_of[0] = row;
    do {
      reached[column] = 1;
      const std::size_t from = row_of[column];
      double least = infinity;
      std::size_t next = 0;
      for (std::size_t j = 1; j < places; ++j) {
        if (reached[j] != 0) continue;
        const double reduced =
            at(static_cast<Index>(from) - 1, static_cast<Index>(j) - 1) - of_row[from] - of_column[j];
        if (reduced < slack[j]) {
          slack[j] = reduced;
          before[j] = column;
        }
        if (slack[j] < least) {
          least = slack[j];
          next = j;
        }
      }
      for (std::size_t j = 0; j < places; ++j) {
        if (reached[j] != 0) {
          of_row[row_of[j]] += least;
          of_column[j] -= least;
        } else {
          slack[j] -= least;
        }
      }
      column = next;
    } while (row_of[column] != 0);
    while (column != 0) {
      row_of[column] = row_of[before[column]];
      column = before[column];
    }
  }
  std::vector<Index> out(static_cast<std::size_t>(rows), -1);
  for (std::size_t j = 1; j < places; ++j) {
    if (row_of[j] != 0) out[row_of[j] - 1] = static_cast<Index>(j) - 1;
  }
  return out;
}

}  // namespace detail

/// The column matched to each row so that the sum of cost(row, column) is least; no column twice, and as many
/// pairs as the smaller side has. A row without a column (where there are more rows) gets -1.
///
/// cost (rows,cols) in host memory, any sign. Where several matchings cost the least, one of them, always the
/// same. O(a^2 b) for the smaller side a and the larger b; O(a + b) memory. Throws `NonFiniteError` for a
/// cost that is not finite. Source: Kuhn 1955 and Munkres 1957, in the form of shortest augmenting paths
/// (Jonker and Volgenant 1987). Test: brute force (tests/metrics/assignment.cpp).
[[nodiscard]] inline std::vector<Index> minimum_assignment(MatrixView<const double> cost) {
  for (Index i = 0; i < cost.size(); ++i) {
    if (!std::isfinite(cost.data()[i])) throw NonFiniteError("assignment: a cost is not finite");
  }
  if (cost.rows() <= cost.cols()) {
    return detail::assign_rows(cost.rows(), cost.cols(), [&](Index r, Index c) { return cost(r, c); });
  }
  const std::vector<Index> row_of =
      detail::assign_rows(cost.cols(), cost.rows(), [&](Index c, Index r) { return cost(r, c); });
  std::vector<Index> out(static_cast<std::size_t>(cost.rows()), -1);
  for (std::size_t c = 0; c < row_of.size(); ++c)
    out[static_cast<std::size_t>(row_of[c])] = static_cast<Index>(c);
  return out;
}

}  // namespace dssl
