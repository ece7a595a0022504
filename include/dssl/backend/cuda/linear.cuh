// Cuda backend: linear layers.
#pragma once

#include <type_traits>

#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/product.cuh>

namespace dssl::cuda {

/// y (M,O) = bias in each row.
template <class T>
__global__ void spread_bias(T* y, const T* bias, Index size, Index cols) {
  for (Index i = grid_thread(); i < size; i += grid_threads()) y[i] = bias[i % cols];
}

/// y = x weight^T + bias; the bias is added by the product itself in float, and before it in double, for
/// which cuBLASLt has no epilogue.
template <class T>
void linear_forward(const Stream& stream, const Products& products, MatrixView<T> y, MatrixView<const T> x,
                    MatrixView<const T> weight, VectorView<const T> bias) {
  const bool before = std::is_same_v<T, double> && !bias.empty();
  if (before) launch_over(stream, spread_bias<T>, y.size(), y.data(), bias.data(), y.size(), y.cols());
  products.multiply(stream, y, as_it_is(x), transposed(weight), 1.0, before ? 1.0 : 0.0,
                    before || bias.empty() ? nullptr : bias.data());
}

template <class T>
void linear_backward_input(const Stream& stream, const Products& products, MatrixView<T> d_x,
                           MatrixView<const T> d_y, MatrixView<const T> weight) {
  products.multiply(stream, d_x, as_it_is(d_y), as_it_is(weight));
}

template <class T>
void linear_backward_weight(const Stream& stream, const Products& products, MatrixView<T> d_weight,
                            VectorView<T> d_bias, MatrixView<const T> d_y, MatrixView<const T> x) {
  if (x.rows() == 0) return;
  products.multiply(stream, d_weight, transposed(d_y), as_it_is(x), 1.0, 1.0);
  if (!d_bias.empty()) add_column_sum(stream, d_bias, d_y, RowIndex{}, 1.0);
}

}  // namespace dssl::cuda
