// Cpu backend: sums down the columns of a matrix.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu {

/// Row i of an index, or i itself where there is no index.
[[nodiscard]] inline Index row_at(RowIndex index, Index i) { return index.empty() ? i : Index{index(i)}; }

/// sum (P) += scale * the sum of the rows of x (M,P) that `rows` names.
/// Each task owns some columns, so any number of threads adds in the same order: 32 rows at a time into a
/// part, the parts into a whole, so that the rounding error grows with M / 32 and not with M.
template <class T>
void add_column_sum(Workers& workers, VectorView<T> sum, MatrixView<const T> x, RowIndex rows, double scale) {
  constexpr Index columns = 64;
  constexpr Index part = 32;
  const Index count = rows.empty() ? x.rows() : rows.size();
  workers.run_pieces(x.cols(), columns, x.cols() * count / 4, [&](Index begin, Index end) {
    alignas(64) std::array<T, columns> whole{};
    alignas(64) std::array<T, columns> some;
    const Index width = end - begin;
    for (Index first = 0; first < count; first += part) {
      some.fill(T{0});
      for (Index i = first; i < std::min(count, first + part); ++i) {
        map(some.data(), width, [](const auto& s, const auto& v) { return s + v; }, some.data(),
            x.row(row_at(rows, i)) + begin);
      }
      map(whole.data(), columns, [](const auto& s, const auto& v) { return s + v; }, whole.data(), some.data());
    }
    const auto factor = spread(static_cast<T>(scale));
    map(sum.data() + begin, width, [&](const auto& s, const auto& v) { return multiply_add(v, factor, s); },
        sum.data() + begin, whole.data());
  });
}

/// Rows whose sums down the columns are taken together, by one task; the parts are added in order.
inline constexpr Index sum_part = 32;

/// out[n] (D) += the sum over p of row n + p * N of sums (parts N, D), for each of the N vectors that is not empty.
template <class T, std::size_t N>
void add_parts(Workers& workers, const std::array<VectorView<T>, N>& out, MatrixView<T> sums, Index parts) {
  constexpr auto each = static_cast<Index>(N);
  constexpr Index columns = 64;
  const auto add = [](const auto& s, const auto& v) { return s + v; };
  const Index width = sums.cols();
  workers.run_pieces(width, columns, each * parts * width / 8, [&](Index begin, Index end) {
    alignas(64) std::array<T, columns> whole{};
    for (std::size_t n = 0; n < N; ++n) {
      if (out[n].empty()) continue;
      whole.fill(T{0});
      for (Index p = 0; p < parts; ++p) {
        map(whole.data(), end - begin, add, whole.data(), sums.row(p * each + static_cast<Index>(n)) + begin);
      }
      map(out[n].data() + begin, end - begin, add, out[n].data() + begin, whole.data());
    }
  });
}

}  // namespace dssl::cpu
