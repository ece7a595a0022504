// What losses on matrices of features share: unit rows, sums of a loss over rows, and names for a backend's views.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

// Every loss here is a function (backend, buffers, value, gradients, inputs, numbers, weight):
//  - value += the loss as published, whatever the weight, so that a report tells each term of a sum by itself;
//  - gradients += weight times the loss's gradient, so that terms add up in one buffer;
//  - nothing is downloaded or allocated: buffers are taken from an arena before the first step.
// An input that gets no gradient is a constant, as a teacher's features are.

template <class B>
using VectorOf = VectorView<typename B::Scalar>;
template <class B>
using ConstVectorOf = VectorView<const typename B::Scalar>;
template <class B>
using MatrixOf = MatrixView<typename B::Scalar>;
template <class B>
using ConstMatrixOf = MatrixView<const typename B::Scalar>;

/// All numbers of a matrix, in memory order.
template <class T>
[[nodiscard]] constexpr VectorView<T> numbers_of(MatrixView<T> matrix) {
  return VectorView<T>(matrix.data(), matrix.size());
}

/// value (1) += scale * the sum of a loss over its rows (M).
template <Backend B>
void add_total(const B& backend, VectorOf<B> value, ConstVectorOf<B> loss, double scale) {
  backend.add_column_sum(value, ConstMatrixOf<B>(loss.data(), loss.size(), 1), {}, scale);
}

/// out (n) = first, first + 1, ... modulo `modulus`: columns that belong to rows. Uploads; nothing where the arena only
/// measured.
template <Backend B>
void number_rows(const B& backend, VectorView<std::int32_t> out, Index first, Index modulus) {
  if (out.data() == nullptr) return;
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(out.size()));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::int32_t>((first + static_cast<Index>(i)) % modulus);
  }
  backend.upload(out.data(), std::span<const std::int32_t>(numbers));
}

/// Rows of length 1: unit[m] = x[m] / max(|x[m]|, epsilon), and the way back.
template <class T>
struct UnitRows {
  MatrixView<T> unit;  // (M,D)
  VectorView<T> norm;  // (M)

  static UnitRows take(Arena& arena, Index rows, Index width) {
    return {arena.matrix<T>(rows, width), arena.vector<T>(rows)};
  }
  /// The first `rows` of them.
  [[nodiscard]] UnitRows first(Index rows) const { return {unit.rows(0, rows), VectorView<T>(norm.data(), rows)}; }

  template <Backend B>
  void forward(const B& backend, MatrixView<const T> x, double epsilon) const {
    backend.l2_normalise_forward(unit, norm, x, epsilon);
  }
  /// d_x (M,D) += the gradient of x; d_unit (M,D) is overwritten.
  template <Backend B>
  void backward(const B& backend, MatrixView<T> d_x, MatrixView<T> d_unit, double epsilon) const {
    backend.l2_normalise_backward(d_unit, d_unit, unit, norm, epsilon);
    backend.accumulate(numbers_of(d_x), numbers_of(d_unit));
  }
};

/// The epsilon of a unit vector where a method names none: that of torch.nn.functional.normalize.
inline constexpr double unit_epsilon = 1e-12;

/// d_x (M,D) = (d_g + d_g^T) x: the gradient of x behind its products of rows g (M,M) = x x^T.
template <Backend B>
void row_products_backward(const B& backend, MatrixOf<B> d_x, ConstMatrixOf<B> d_g, ConstMatrixOf<B> x) {
  backend.linear_backward_input(d_x, d_g, x);
  backend.linear_backward_weight(d_x, {}, d_g, x);
}

}  // namespace dssl
