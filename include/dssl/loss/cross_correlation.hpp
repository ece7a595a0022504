// The correlation of two views' features held to the identity: Barlow Twins.
// Tests: tests/loss/cross_correlation.cpp (fixture barlow).
#pragma once

#include <dssl/loss/pieces.hpp>

namespace dssl {

/// Numbers of Barlow Twins; defaults are the published ones.
struct CrossCorrelationNumbers {
  double redundancy = 0.0051;  ///< lambda, of what is not on the diagonal (lightly: 5e-3)
  double epsilon = 1e-5;       ///< of the batch norm
};

template <class T>
struct CrossCorrelationBuffers {
  /// One view's features with mean 0 and variance 1 down the columns.
  struct Side {
    MatrixView<T> normal;     // (M,D)
    VectorView<T> mean;       // (D)
    VectorView<T> inverse_std;

    static Side take(Arena& arena, Index rows, Index width) {
      return {arena.matrix<T>(rows, width), arena.vector<T>(width), arena.vector<T>(width)};
    }
  };
  Side first, second;
  MatrixView<T> correlation;        // (D,D) of sums, not yet divided by M; then its gradient
  MatrixView<T> d_normal;           // (M,D)
  VectorView<T> diagonal, rest;     // (D)

  static CrossCorrelationBuffers take(Arena& arena, Index rows, Index width) {
    return {Side::take(arena, rows, width), Side::take(arena, rows, width), arena.matrix<T>(width, width),
            arena.matrix<T>(rows, width),   arena.vector<T>(width),         arena.vector<T>(width)};
  }
};

/// With C (D,D) = n1^T n2 / M, n the batch norm without weight and bias (biased variance) of each view:
/// value (2) += [sum_i (C_ii - 1)^2, redundancy sum_{i != j} C_ij^2], the loss being their sum; d_first, d_second (M,D) +=
/// weight times its gradients.
///
/// first, second (M,D). The whole batch is one matrix: rows given in parts are another loss. The batch norms' statistics
/// stay in `buffers`, for running ones: the published module is one, which sees the first view, then the second. Source:
/// Zbontar et al. 2021, eq. 1; facebookresearch/barlowtwins main.py. solo-learn multiplies all by 0.025.
/// Cost: 6 M D^2 FLOP a product, three products.
template <Backend B, class T = typename B::Scalar>
void cross_correlation_loss(const B& backend, const CrossCorrelationBuffers<T>& buffers, VectorOf<B> value,
                            MatrixOf<B> d_first, MatrixOf<B> d_second, ConstMatrixOf<B> first,
                            ConstMatrixOf<B> second, const CrossCorrelationNumbers& numbers, double weight = 1) {
  const auto& a = buffers.first;
  const auto& b = buffers.second;
  backend.batch_norm_forward(a.normal, a.mean, a.inverse_std, first, {}, {}, numbers.epsilon);
  backend.batch_norm_forward(b.normal, b.mean, b.inverse_std, second, {}, {}, numbers.epsilon);
  backend.fill(numbers_of(buffers.correlation), T{0});
  backend.linear_backward_weight(buffers.correlation, {}, a.normal, b.normal);
  backend.correlation_loss(buffers.diagonal, buffers.rest, buffers.correlation, buffers.correlation,
                           CorrelationNumbers{.diagonal = Diagonal::one,
                                              .factor = 1.0 / static_cast<double>(first.rows()),
                                              .diagonal_scale = weight,
                                              .rest_scale = weight * numbers.redundancy});
  add_total(backend, VectorOf<B>(value.data(), 1), buffers.diagonal, 1.0);
  add_total(backend, VectorOf<B>(value.data() + 1, 1), buffers.rest, numbers.redundancy);
  backend.linear_forward(buffers.d_normal, b.normal, buffers.correlation, {});
  backend.batch_norm_backward(buffers.d_normal, {}, {}, buffers.d_normal, first, a.mean, a.inverse_std, {});
  backend.accumulate(numbers_of(d_first), numbers_of(buffers.d_normal));
  backend.linear_backward_input(buffers.d_normal, a.normal, buffers.correlation);
  backend.batch_norm_backward(buffers.d_normal, {}, {}, buffers.d_normal, second, b.mean, b.inverse_std, {});
  backend.accumulate(numbers_of(d_second), numbers_of(buffers.d_normal));
}

}  // namespace dssl
