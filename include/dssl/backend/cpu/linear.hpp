// Cpu backend: linear layers.
#pragma once

#include <algorithm>

#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/workers.hpp>

namespace dssl::cpu {

namespace detail {

/// c (+)= a b cut into blocks of fixed sizes; prepare(block of c) runs before the products of a block.
template <bool TransposedA, bool TransposedB, class T, class Prepare>
void blocked_product(Workers& workers, MatrixView<T> c, Operand<T> a, Operand<T> b, Index depth,
                     const Prepare& prepare) {
  constexpr Index high = 96;
  constexpr Index wide = 768;
  const Index m = c.rows();
  const Index n = c.cols();
  const Index across = (n + wide - 1) / wide;
  const Index down = (m + high - 1) / high;
  workers.reserve(multiply_scratch<T>());
  workers.run(across * down, m * n * depth / 32, [&](Index task, std::size_t slot) {
    const Index i = task / across * high;
    const Index j = task % across * wide;
    const Index rows = std::min(high, m - i);
    const Index cols = std::min(wide, n - j);
    prepare(i, j, rows, cols);
    Arena arena(workers.scratch(slot));
    multiply<TransposedA, TransposedB>(c.row(i) + j, n, {a.data + (TransposedA ? i : i * a.stride), a.stride},
                                       {b.data + (TransposedB ? j * b.stride : j), b.stride}, rows, cols, depth,
                                       T{1}, arena);
  });
}

}  // namespace detail

template <class T>
void linear_forward(Workers& workers, MatrixView<T> y, MatrixView<const T> x, MatrixView<const T> weight,
                    VectorView<const T> bias) {
  require_shape(y.rows() == x.rows() && y.cols() == weight.rows() && x.cols() == weight.cols(),
                "linear_forward: y ", y.rows(), " x ", y.cols(), ", x ", x.rows(), " x ", x.cols(), ", weight ",
                weight.rows(), " x ", weight.cols());
  detail::blocked_product<false, true, T>(
      workers, y, {x.data(), x.cols()}, {weight.data(), weight.cols()}, x.cols(),
      [&](Index i, Index j, Index rows, Index cols) {
        for (Index r = i; r < i + rows; ++r) {
          if (bias.empty()) {
            std::fill_n(y.row(r) + j, cols, T{0});
          } else {
            std::copy_n(bias.data() + j, cols, y.row(r) + j);
          }
        }
      });
}

template <class T>
void linear_backward_input(Workers& workers, MatrixView<T> d_x, MatrixView<const T> d_y,
                           MatrixView<const T> weight) {
  require_shape(d_x.rows() == d_y.rows() && d_y.cols() == weight.rows() && d_x.cols() == weight.cols(),
                "linear_backward_input: d_x ", d_x.rows(), " x ", d_x.cols(), ", d_y ", d_y.rows(), " x ",
                d_y.cols(), ", weight ", weight.rows(), " x ", weight.cols());
  detail::blocked_product<false, false, T>(workers, d_x, {d_y.data(), d_y.cols()}, {weight.data(), weight.cols()},
                                           d_y.cols(), [&](Index i, Index j, Index rows, Index cols) {
                                             for (Index r = i; r < i + rows; ++r) {
                                               std::fill_n(d_x.row(r) + j, cols, T{0});
                                             }
                                           });
}

template <class T>
void linear_backward_weight(Workers& workers, MatrixView<T> d_weight, VectorView<T> d_bias, MatrixView<const T> d_y,
                            MatrixView<const T> x) {
  require_shape(d_weight.rows() == d_y.cols() && d_weight.cols() == x.cols() && d_y.rows() == x.rows(),
                "linear_backward_weight: d_weight ", d_weight.rows(), " x ", d_weight.cols(), ", d_y ", d_y.rows(),
                " x ", d_y.cols(), ", x ", x.rows(), " x ", x.cols());
  detail::blocked_product<true, false, T>(workers, d_weight, {d_y.data(), d_y.cols()}, {x.data(), x.cols()},
                                          x.rows(), [](Index, Index, Index, Index) {});
  if (!d_bias.empty()) add_column_sum(workers, d_bias, d_y, RowIndex{}, 1.0);
}

}  // namespace dssl::cpu
