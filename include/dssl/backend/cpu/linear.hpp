// Cpu backend: linear layers.
#pragma once

#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/packed_weights.hpp>

namespace dssl::cpu::inline DSSL_ISA {

template <class T, class Products>
void linear_forward(Workers& workers, const Products& products, MatrixView<T> y, MatrixView<const T> x,
                    WeightView<const T> weight, VectorView<const T> bias) {
  require_shape(y.rows() == x.rows() && y.cols() == weight.rows() && x.cols() == weight.cols(),
                "linear_forward: y ", y.rows(), " x ", y.cols(), ", x ", x.rows(), " x ", x.cols(),
                ", weight ", weight.rows(), " x ", weight.cols());
  products.multiply(workers, MatrixProduct<T>{.c = y,
                                              .a = {x.data(), x.cols()},
                                              .b = {weight.data(), weight.cols(), true},
                                              .depth = x.cols(),
                                              .bias = bias.empty() ? nullptr : bias.data(),
                                              .packed = weight.packed});
}

template <class T, class Products>
void linear_backward_input(Workers& workers, const Products& products, MatrixView<T> d_x,
                           MatrixView<const T> d_y, MatrixView<const T> weight) {
  require_shape(d_x.rows() == d_y.rows() && d_y.cols() == weight.rows() && d_x.cols() == weight.cols(),
                "linear_backward_input: d_x ", d_x.rows(), " x ", d_x.cols(), ", d_y ", d_y.rows(), " x ",
                d_y.cols(), ", weight ", weight.rows(), " x ", weight.cols());
  products.multiply(
      workers,
      MatrixProduct<T>{
          .c = d_x, .a = {d_y.data(), d_y.cols()}, .b = {weight.data(), weight.cols()}, .depth = d_y.cols()});
}

template <class T, class Products>
void linear_backward_weight(Workers& workers, const Products& products, MatrixView<T> d_weight,
                            VectorView<T> d_bias, MatrixView<const T> d_y, MatrixView<const T> x) {
  require_shape(d_weight.rows() == d_y.cols() && d_weight.cols() == x.cols() && d_y.rows() == x.rows(),
                "linear_backward_weight: d_weight ", d_weight.rows(), " x ", d_weight.cols(), ", d_y ",
                d_y.rows(), " x ", d_y.cols(), ", x ", x.rows(), " x ", x.cols());
  if (!d_bias.empty()) add_column_sum(workers, d_bias, d_y, RowIndex{}, 1.0);
  products.multiply(workers, MatrixProduct<T>{.c = d_weight,
                                              .a = {d_y.data(), d_y.cols(), true},
                                              .b = {x.data(), x.cols()},
                                              .depth = x.rows(),
                                              .onto = Onto::sum});
}

}  // namespace dssl::cpu::inline DSSL_ISA
