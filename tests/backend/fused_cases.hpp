// The table of optional operations: where a backend has none, the primitives that they stand for.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>

#include "backend/board.hpp"
#include "backend/op_cases.hpp"

namespace dssl::test {

/// Matrices that a composition of primitives needs besides what the optional operation is given.
template <class B>
class Scratch {
 public:
  using T = typename B::Scalar;
  explicit Scratch(const B& backend) : x_backend(backend) {}

  /// Zeros.
  MatrixView<T> matrix(Index rows, Index cols) {
    x_buffers.push_back(x_backend.allocate(static_cast<std::size_t>(rows * cols) * sizeof(T)));
    return MatrixView<T>(reinterpret_cast<T*>(x_buffers.back().data()), rows, cols);
  }

 private:
  const B& x_backend;
  std::vector<Buffer> x_buffers;
};

/// A column of a matrix of one column, and back.
template <class T>
MatrixView<T> as_column(VectorView<T> v) {
  return MatrixView<T>(v.data(), v.size(), 1);
}
template <class T>
VectorView<T> as_vector(MatrixView<T> m) {
  return VectorView<T>(m.data(), m.size());
}

/// Rows of three sequences in turn, of which some are left out.
struct SomeRows {
  std::vector<std::int32_t> packed;  ///< of every row; empty: all are there
  std::vector<std::int32_t> rows;    ///< the rows that are there
  SomeRows(Index m, int dropped) {
    for (std::int32_t i = 0; i < m; ++i) {
      const bool there = i % 3 != dropped;
      packed.push_back(there ? static_cast<std::int32_t>(rows.size()) : -1);
      if (there) rows.push_back(i);
    }
    if (dropped < 0) packed.clear();
  }
  [[nodiscard]] Index count() const { return static_cast<Index>(rows.size()); }
};

template <class B>
void residual_norm_of(const B& b, MatrixView<typename B::Scalar> out, const NormRows<typename B::Scalar>& to,
                      MatrixView<const typename B::Scalar> x, MatrixView<const typename B::Scalar> branch,
                      const BranchRows<typename B::Scalar>& from, RowIndex from_rows, RowIndex to_packed,
                      RowIndex to_rows, VectorView<const typename B::Scalar> weight,
                      VectorView<const typename B::Scalar> bias) {
  using T = typename B::Scalar;
  if constexpr (ResidualNorms<B>) {
    b.residual_norm_forward(out, to, x, branch, from, to_packed, weight, bias, 1e-6);
  } else {
    Scratch<B> scratch(b);
    MatrixView<const T> sum = x;
    if (!out.empty()) {
      const MatrixView<T> whole = scratch.matrix(x.rows(), x.cols());
      if (!branch.empty()) b.copy_rows(whole, from_rows, branch, {});
      b.residual_forward(out, x, whole, from.keep, from.sequence_of_row);
      sum = out;
    }
    if (to.y.empty()) return;
    const MatrixView<T> y = scratch.matrix(x.rows(), x.cols());
    const MatrixView<T> mean = scratch.matrix(x.rows(), 1);
    const MatrixView<T> inverse_std = scratch.matrix(x.rows(), 1);
    b.layer_norm_forward(y, as_vector(mean), as_vector(inverse_std), sum, weight, bias, 1e-6);
    b.copy_rows(to.y, {}, y, to_rows);
    b.copy_rows(as_column(to.mean), {}, mean, to_rows);
    b.copy_rows(as_column(to.inverse_std), {}, inverse_std, to_rows);
  }
}

template <class B, class M = MatrixView<typename B::Scalar>, class V = VectorView<typename B::Scalar>>
void norm_residual_backward_of(const B& b, M d_x, V d_weight, V d_bias, M d_branch, V d_branch_bias,
                               MatrixView<const typename B::Scalar> d_y, RowIndex norm_packed, RowIndex norm_rows,
                               MatrixView<const typename B::Scalar> x, VectorView<const typename B::Scalar> mean,
                               VectorView<const typename B::Scalar> inverse_std,
                               VectorView<const typename B::Scalar> weight,
                               const BranchRows<typename B::Scalar>& to, RowIndex to_rows) {
  using T = typename B::Scalar;
  if constexpr (ResidualNorms<B>) {
    b.norm_residual_backward(d_x, d_weight, d_bias, d_branch, d_branch_bias, d_y, norm_packed, x, mean, inverse_std,
                             weight, to);
  } else {
    Scratch<B> scratch(b);
    if (!d_y.empty()) {
      const M d_normal = scratch.matrix(x.rows(), x.cols());
      const M all_mean = scratch.matrix(x.rows(), 1);
      const M all_std = scratch.matrix(x.rows(), 1);
      b.copy_rows(d_normal, norm_rows, d_y, {});
      b.copy_rows(all_mean, norm_rows, as_column(mean), {});
      b.copy_rows(all_std, norm_rows, as_column(inverse_std), {});
      b.layer_norm_backward(d_x, d_weight, d_bias, d_normal, x, as_vector(all_mean), as_vector(all_std), weight);
    }
    const M whole = scratch.matrix(d_x.rows(), d_x.cols());
    b.residual_backward(whole, d_x, to.keep, to.sequence_of_row);
    const M there = scratch.matrix(to_rows.empty() ? d_x.rows() : to_rows.size(), d_x.cols());
    b.copy_rows(there, {}, whole, to_rows);
    if (!d_branch.empty()) b.copy_rows(d_branch, {}, there, {});
    if (!d_branch_bias.empty()) b.add_column_sum(d_branch_bias, MatrixView<const T>(there), RowIndex{}, 1.0);
  }
}

/// Calls visit(name, call) for every case, as `dense_cases` does.
template <class Visit>
void fused_cases(Visit&& visit) {
  struct Shape {
    Index m, d;
  };
  for (const Shape& s : {Shape{3, 1}, Shape{3, 5}, Shape{67, 192}, Shape{200, 390}, Shape{70, 1537}}) {
    const std::string shape = join(" ", s.m, " x ", s.d);
    for (const bool in_place : {false, true}) {
      const std::string name = shape + (in_place ? ", in place" : "");
      for (const bool with_bias : {true, false}) {
        visit("gelu_again_backward" + name + (with_bias ? "" : ", no bias"),
              [s, in_place, with_bias](const auto& b, auto& board) {
          using B = std::decay_t<decltype(b)>;
          using T = typename B::Scalar;
          const auto y = in_place ? board.sum(s.m, s.d, 3.0) : board.output(s.m, s.d);
          const MatrixView<const T> x = in_place ? MatrixView<const T>(y) : board.matrix(s.m, s.d, 3.0);
          const auto d_x = in_place ? board.sum(s.m, s.d) : board.output(s.m, s.d);
          const MatrixView<const T> d_y = in_place ? MatrixView<const T>(d_x) : board.matrix(s.m, s.d);
          const auto d_bias = with_bias ? board.sum(s.d) : VectorView<T>{};
          if constexpr (GeluAgain<B>) {
            b.gelu_again_backward(y, d_x, d_bias, d_y, x);
          } else {
            b.gelu_backward(d_x, d_y, x);
            b.gelu_forward(y, x);
            if (with_bias) b.add_column_sum(d_bias, MatrixView<const T>(d_x), RowIndex{}, 1.0);
          }
        });
      }
    }
    // Which sequence the branch leaves out (-1: none; 3: all, its rows are not there), and which one the norm does.
    for (const auto& [from, to] : std::vector<std::pair<int, int>>{{-1, -1}, {1, 0}, {-1, 2}, {0, -1}}) {
      const SomeRows branch_rows(s.m, from);
      const SomeRows norm_rows(s.m, to);
      const std::string name = join(shape, ", branch without ", from, ", norm without ", to);
      const auto keep_of = [s, from = from](auto& board) {
        std::vector<double> keep{1.25, 0.75, 2.0};
        if (from >= 0) keep[static_cast<std::size_t>(from)] = 0;
        return std::pair{board.given(keep, 1, 3), board.rows(stepped(static_cast<std::int32_t>(s.m), 0, 1, 3))};
      };
      for (const bool in_place : {false, true}) {
        visit("residual_norm_forward" + name + (in_place ? ", in place" : ""), [=](const auto& b, auto& board) {
          using T = typename std::decay_t<decltype(b)>::Scalar;
          const auto out = in_place ? board.sum(s.m, s.d) : board.output(s.m, s.d);
          const NormRows<T> norm{board.output(norm_rows.count(), s.d), board.output(norm_rows.count()),
                                 board.output(norm_rows.count())};
          const auto [keep, sequences] = keep_of(board);
          const auto x = in_place ? MatrixView<const T>(out) : board.matrix(s.m, s.d);
          residual_norm_of(b, out, norm, x, board.matrix(branch_rows.count(), s.d),
                           {board.rows(branch_rows.packed), VectorView<const T>(keep.data(), keep.size()), sequences},
                           board.rows(branch_rows.rows), board.rows(norm_rows.packed), board.rows(norm_rows.rows),
                           board.vector(s.d), board.vector(s.d));
        });
      }
      for (const int outputs : {0, 1, 2, 3}) {
        visit(join("norm_residual_backward", name, ", outputs ", outputs), [=](const auto& b, auto& board) {
          using T = typename std::decay_t<decltype(b)>::Scalar;
          const auto d_x = board.sum(s.m, s.d);
          const auto d_weight = board.sum(s.d);
          const auto d_bias = board.sum(s.d);
          const auto d_branch = outputs % 2 == 1 ? board.output(branch_rows.count(), s.d) : MatrixView<T>{};
          const auto d_branch_bias = outputs >= 2 ? board.sum(s.d) : VectorView<T>{};
          const auto [keep, sequences] = keep_of(board);
          norm_residual_backward_of(
              b, d_x, d_weight, d_bias, d_branch, d_branch_bias, board.matrix(norm_rows.count(), s.d),
              board.rows(norm_rows.packed), board.rows(norm_rows.rows), board.matrix(s.m, s.d),
              board.vector(norm_rows.count(), 0.1), board.vector(norm_rows.count(), 0.1, 1.0), board.vector(s.d),
              {board.rows(branch_rows.packed), VectorView<const T>(keep.data(), keep.size()), sequences},
              board.rows(branch_rows.rows));
        });
      }
    }
    visit("residual_norm_forward without a norm" + shape, [s](const auto& b, auto& board) {
      const auto out = board.output(s.m, s.d);
      residual_norm_of(b, out, {}, board.matrix(s.m, s.d), board.matrix(s.m, s.d), {}, {}, {}, {}, board.vector(s.d),
                       board.vector(s.d));
    });
    visit("residual_norm_forward of the norm alone" + shape, [s](const auto& b, auto& board) {
      using T = typename std::decay_t<decltype(b)>::Scalar;
      const NormRows<T> norm{board.output(s.m, s.d), board.output(s.m), board.output(s.m)};
      residual_norm_of(b, {}, norm, board.matrix(s.m, s.d), {}, {}, {}, {}, {}, board.vector(s.d), board.vector(s.d));
    });
    visit("norm_residual_backward of the residual path alone" + shape, [s](const auto& b, auto& board) {
      using T = typename std::decay_t<decltype(b)>::Scalar;
      const auto d_x = board.sum(s.m, s.d);
      const auto d_branch = board.output(s.m, s.d);
      const auto d_branch_bias = board.sum(s.d);
      norm_residual_backward_of(b, d_x, {}, {}, d_branch, d_branch_bias, MatrixView<const T>{}, {}, {},
                                MatrixView<const T>{}, {}, {}, {}, {}, {});
    });
  }
}

}  // namespace dssl::test
