// Cpu backend: linear layers.
#pragma once

#include <algorithm>
#include <optional>
#include <type_traits>

#include <dssl/backend/cpu/bf16_product.hpp>
#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/workers.hpp>

namespace dssl::cpu {

// Where there is a mode, operands become bf16 numbers, one or three each, as they are packed.

template <class T>
void linear_forward(Workers& workers, MatrixView<T> y, MatrixView<const T> x, MatrixView<const T> weight,
                    VectorView<const T> bias, std::optional<bf16::Mode> mode = {}) {
  require_shape(y.rows() == x.rows() && y.cols() == weight.rows() && x.cols() == weight.cols(),
                "linear_forward: y ", y.rows(), " x ", y.cols(), ", x ", x.rows(), " x ", x.cols(), ", weight ",
                weight.rows(), " x ", weight.cols());
  if constexpr (std::is_same_v<T, float>) {
    if (mode) {
      bf16::product<bf16::Order::by_extent, bf16::Order::by_extent>(
          workers, *mode, y, {x.data(), x.cols()}, {weight.data(), weight.cols()}, x.cols(), Onto::assign,
          bias.empty() ? nullptr : bias.data());
      return;
    }
  }
  product<false, RightOrder::columns, T>(workers, y, {x.data(), x.cols()}, weight.data(), weight.cols(), x.cols(),
                                         Onto::assign, bias.empty() ? nullptr : bias.data());
}

template <class T>
void linear_backward_input(Workers& workers, MatrixView<T> d_x, MatrixView<const T> d_y,
                           MatrixView<const T> weight, std::optional<bf16::Mode> mode = {}) {
  require_shape(d_x.rows() == d_y.rows() && d_y.cols() == weight.rows() && d_x.cols() == weight.cols(),
                "linear_backward_input: d_x ", d_x.rows(), " x ", d_x.cols(), ", d_y ", d_y.rows(), " x ",
                d_y.cols(), ", weight ", weight.rows(), " x ", weight.cols());
  if constexpr (std::is_same_v<T, float>) {
    if (mode) {
      bf16::product<bf16::Order::by_extent, bf16::Order::by_depth>(workers, *mode, d_x, {d_y.data(), d_y.cols()},
                                                                   {weight.data(), weight.cols()}, d_y.cols(),
                                                                   Onto::assign);
      return;
    }
  }
  product<false, RightOrder::rows, T>(workers, d_x, {d_y.data(), d_y.cols()}, weight.data(), weight.cols(),
                                      d_y.cols(), Onto::assign);
}

template <class T>
void linear_backward_weight(Workers& workers, MatrixView<T> d_weight, VectorView<T> d_bias, MatrixView<const T> d_y,
                            MatrixView<const T> x, std::optional<bf16::Mode> mode = {}) {
  require_shape(d_weight.rows() == d_y.cols() && d_weight.cols() == x.cols() && d_y.rows() == x.rows(),
                "linear_backward_weight: d_weight ", d_weight.rows(), " x ", d_weight.cols(), ", d_y ", d_y.rows(),
                " x ", d_y.cols(), ", x ", x.rows(), " x ", x.cols());
  if (!d_bias.empty()) add_column_sum(workers, d_bias, d_y, RowIndex{}, 1.0);
  if constexpr (std::is_same_v<T, float>) {
    if (mode) {
      bf16::product<bf16::Order::by_depth, bf16::Order::by_depth>(workers, *mode, d_weight, {d_y.data(), d_y.cols()},
                                                                  {x.data(), x.cols()}, x.rows(), Onto::sum);
      return;
    }
  }
  product<true, RightOrder::rows, T>(workers, d_weight, {d_y.data(), d_y.cols()}, x.data(), x.cols(), x.rows(),
                                     Onto::sum);
}

}  // namespace dssl::cpu
