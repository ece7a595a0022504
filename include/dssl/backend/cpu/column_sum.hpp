// Cpu backend: sums down the columns of a matrix.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// Row i of an index, or i itself where there is no index.
[[nodiscard]] inline Index row_at(RowIndex index, Index i) { return index.empty() ? i : Index{index(i)}; }

/// Rows whose sums down the columns are taken together, by one task; the parts are added in order.
inline constexpr Index sum_part = 32;

/// out[n] (D) += scale * the sum over p of row n + p * N of sums (parts N, D), for each of the N vectors that is not empty.
template <class T, std::size_t N>
void add_parts(Workers& workers, const std::array<VectorView<T>, N>& out, MatrixView<T> sums, Index parts,
               double scale = 1.0) {
  constexpr auto each = static_cast<Index>(N);
  constexpr Index columns = 64;
  const auto add = [](const auto& s, const auto& v) { return s + v; };
  const auto factor = spread(static_cast<T>(scale));
  const Index width = sums.cols();
  workers.run_pieces(width, columns, each * parts * width / 8, [&](Index begin, Index end) {
    alignas(64) std::array<T, columns> whole{};
    for (std::size_t n = 0; n < N; ++n) {
      if (out[n].empty()) continue;
      whole.fill(T{0});
      for (Index p = 0; p < parts; ++p) {
        map(whole.data(), end - begin, add, whole.data(), sums.row(p * each + static_cast<Index>(n)) + begin);
      }
      map(out[n].data() + begin, end - begin, [&](const auto& s, const auto& v) { return multiply_add(v, factor, s); },
          out[n].data() + begin, whole.data());
    }
  });
}

/// sum (P) += scale * the sum of the rows of x (M,P) that `rows` names: 32 rows at a time into a part, the parts into a
/// whole, so that the rounding error grows with M / 32 and not with M, and any number of threads adds in the same
/// order. Where there are many rows a task takes one part of them and reads memory in order; else some columns.
template <class T>
void add_column_sum(Workers& workers, VectorView<T> sum, MatrixView<const T> x, RowIndex rows, double scale) {
  constexpr Index columns = 64;
  const Index count = rows.empty() ? x.rows() : rows.size();
  const Index parts = (count + sum_part - 1) / sum_part;
  const auto add = [](const auto& s, const auto& v) { return s + v; };
  const auto add_part = [&](T* some, Index part, Index begin, Index width) {
    std::fill_n(some, width, T{0});
    for (Index i = part * sum_part; i < std::min(count, (part + 1) * sum_part); ++i) {
      map(some, width, add, some, x.row(row_at(rows, i)) + begin);
    }
  };
  if (parts >= 8) {
    const Buffer& shared = workers.shared(static_cast<std::size_t>(parts * x.cols()) * sizeof(T));
    const MatrixView<T> sums(reinterpret_cast<T*>(shared.data()), parts, x.cols());
    workers.run(parts, x.cols() * count / 4, [&](Index part, std::size_t) { add_part(sums.row(part), part, 0, x.cols()); });
    add_parts<T, 1>(workers, {sum}, sums, parts, scale);
    return;
  }
  workers.run_pieces(x.cols(), columns, x.cols() * count / 4, [&](Index begin, Index end) {
    alignas(64) std::array<T, columns> whole{};
    alignas(64) std::array<T, columns> some;
    for (Index part = 0; part < parts; ++part) {
      add_part(some.data(), part, begin, end - begin);
      map(whole.data(), end - begin, add, whole.data(), some.data());
    }
    const auto factor = spread(static_cast<T>(scale));
    map(sum.data() + begin, end - begin, [&](const auto& s, const auto& v) { return multiply_add(v, factor, s); },
        sum.data() + begin, whole.data());
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
