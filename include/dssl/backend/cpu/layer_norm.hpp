// Cpu backend: layer norm, alone and in one pass with the residual path beside it.
#pragma once

#include <algorithm>

#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/norm_rows.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// Row of a branch's matrices that row m of the token matrix is, or -1.
[[nodiscard]] inline Index packed_row(RowIndex packed, Index m) { return packed.empty() ? m : Index{packed(m)}; }

/// Multiplier of row m.
template <class T>
[[nodiscard]] T kept_share(const BranchRows<T>& rows, Index m) {
  return rows.keep.empty() ? T{1} : rows.keep(rows.sequence_of_row(m));
}

template <class T>
void layer_norm_forward(Workers& workers, MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std,
                        MatrixView<const T> x, VectorView<const T> weight, VectorView<const T> bias,
                        double epsilon) {
  const Index width = x.cols();
  workers.run_pieces(x.rows(), std::max(Index{1}, 16'384 / std::max(Index{1}, width)), x.size() / 4,
                     [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      norm_row(y.row(m), mean(m), inverse_std(m), x.row(m), width, weight.data(), bias.data(), epsilon);
    }
  });
}

/// See `ResidualNorms` in backend/concept.hpp. Each row of x, of the branch and of the sum is read or written once.
template <class T>
void residual_norm_forward(Workers& workers, MatrixView<T> out, const NormRows<T>& to, MatrixView<const T> x,
                           MatrixView<const T> branch, const BranchRows<T>& from, RowIndex to_packed,
                           VectorView<const T> weight, VectorView<const T> bias, double epsilon) {
  const Index width = x.cols();
  workers.run_pieces(x.rows(), std::max(Index{1}, 16'384 / std::max(Index{1}, width)), x.size() / 2,
                     [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const T* row = x.row(m);
      if (!out.empty()) {
        const Index source = packed_row(from.packed, m);
        if (source >= 0) {
          const auto scale = spread(kept_share(from, m));
          map(out.row(m), width, [&](const auto& a, const auto& b) { return multiply_add(scale, b, a); }, row,
              branch.row(source));
        } else if (out.row(m) != row) {
          std::copy_n(row, width, out.row(m));
        }
        row = out.row(m);
      }
      const Index target = to.y.empty() ? -1 : packed_row(to_packed, m);
      if (target < 0) continue;
      norm_row(to.y.row(target), to.mean(target), to.inverse_std(target), row, width, weight.data(), bias.data(),
               epsilon);
    }
  });
}

/// See `ResidualNorms` in backend/concept.hpp.
template <class T>
void norm_residual_backward(Workers& workers, MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias,
                            MatrixView<T> d_branch, VectorView<T> d_branch_bias, MatrixView<const T> d_y,
                            RowIndex norm_packed, MatrixView<const T> x, VectorView<const T> mean,
                            VectorView<const T> inverse_std, VectorView<const T> weight, const BranchRows<T>& to) {
  const Index width = d_x.cols();
  const Index parts = (d_x.rows() + sum_part - 1) / sum_part;
  const Buffer& shared = workers.shared(static_cast<std::size_t>(parts * 3 * width) * sizeof(T));
  const MatrixView<T> sums(reinterpret_cast<T*>(shared.data()), 3 * parts, width);
  const bool branches = !d_branch.empty() || !d_branch_bias.empty();
  workers.run(parts, d_x.size() / 2, [&](Index task, std::size_t) {
    T* sum_weight = sums.row(3 * task);
    T* sum_bias = sums.row(3 * task + 1);
    T* sum_branch = sums.row(3 * task + 2);
    std::fill_n(sum_weight, 3 * width, T{0});
    for (Index m = task * sum_part; m < std::min(d_x.rows(), (task + 1) * sum_part); ++m) {
      const Index source = d_y.empty() ? -1 : packed_row(norm_packed, m);
      if (source >= 0) {
        norm_row_backward(d_x.row(m), sum_weight, sum_bias, d_y.row(source), x.row(m), mean(source),
                          inverse_std(source), weight.data(), width);
      }
      const Index target = branches ? packed_row(to.packed, m) : -1;
      if (target < 0) continue;
      const auto scale = spread(kept_share(to, m));
      if (d_branch.empty()) {
        map(sum_branch, width, [&](const auto& s, const auto& g) { return s + scale * g; }, sum_branch, d_x.row(m));
      } else if (d_branch_bias.empty()) {
        map(d_branch.row(target), width, [&](const auto& g) { return scale * g; }, d_x.row(m));
      } else {
        map_two(d_branch.row(target), sum_branch, width,
                [&](const auto& g, const auto& s) {
                  const Lanes<T> share = scale * g;
                  return TwoLanes<T>{share, s + share};
                },
                d_x.row(m), sum_branch);
      }
    }
  });
  add_parts<T, 3>(workers, {d_weight, d_bias, d_branch_bias}, sums, parts);
}

template <class T>
void layer_norm_backward(Workers& workers, MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias,
                         MatrixView<const T> d_y, MatrixView<const T> x, VectorView<const T> mean,
                         VectorView<const T> inverse_std, VectorView<const T> weight) {
  norm_residual_backward<T>(workers, d_x, d_weight, d_bias, {}, {}, d_y, {}, x, mean, inverse_std, weight, {});
}

}  // namespace dssl::cpu::inline DSSL_ISA
