// Two views' features near each other, every column of them alive and no two alike: VICReg.
// Tests: tests/loss/variance_covariance.cpp (fixture vicreg).
#pragma once

#include <dssl/core/error.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// Numbers of VICReg; defaults are the published ones.
struct VarianceCovarianceNumbers {
  double invariance = 25;
  double variance = 25;
  double covariance = 1;
  /// Of each view's mean of hinges. Published: half, so that both views make a mean; solo-learn adds them (1).
  double variance_share = 0.5;
  double epsilon = 1e-4;  ///< below the root of a variance
};

template <class T>
struct VarianceCovarianceBuffers {
  MatrixView<T> centred, d;            // (M,D)
  MatrixView<T> covariance;            // (D,D) of sums, not yet divided by M - 1; then its gradient
  VectorView<T> mean, ones;            // (D)
  VectorView<T> variance_loss, covariance_loss;  // (D)
  VectorView<T> row_loss;              // (M)

  static VarianceCovarianceBuffers take(Arena& arena, Index rows, Index width) {
    return {arena.matrix<T>(rows, width), arena.matrix<T>(rows, width), arena.matrix<T>(width, width),
            arena.vector<T>(width),       arena.vector<T>(width),       arena.vector<T>(width),
            arena.vector<T>(width),       arena.vector<T>(rows)};
  }
};

/// The variance and covariance terms of one view: with C = cov(x) (D,D), unbiased,
/// value (2) += [variance share mean_d max(0, 1 - sqrt(C_dd + epsilon)), covariance sum_{i != j} C_ij^2 / D];
/// d_x (M,D) += weight times the gradient of their sum.
///
/// One matrix has both: variances are its diagonal, and the gradient is 2 / (M - 1) centred dC. Throws `ShapeError` where
/// M is below 2. Cost: 4 M D^2 FLOP, (D,D) numbers.
template <Backend B, class T = typename B::Scalar>
void variance_covariance_terms(const B& backend, const VarianceCovarianceBuffers<T>& buffers, VectorOf<B> value,
                               MatrixOf<B> d_x, ConstMatrixOf<B> x, const VarianceCovarianceNumbers& numbers,
                               double weight = 1) {
  require_shape(x.rows() > 1, "variance_covariance_terms: ", x.rows(), " rows have no variance; expected 2 at least");
  const double variance = numbers.variance * numbers.variance_share / static_cast<double>(x.cols());
  const double covariance = numbers.covariance / static_cast<double>(x.cols());
  backend.fill(buffers.mean, T{0});
  backend.add_column_sum(buffers.mean, x, {}, 1.0 / static_cast<double>(x.rows()));
  backend.fill(buffers.ones, T{1});
  backend.batch_norm_evaluate_forward(buffers.centred, x, buffers.mean, buffers.ones, {}, {}, 0.0);
  backend.fill(numbers_of(buffers.covariance), T{0});
  backend.linear_backward_weight(buffers.covariance, {}, buffers.centred, buffers.centred);
  backend.correlation_loss(buffers.variance_loss, buffers.covariance_loss, buffers.covariance, buffers.covariance,
                           CorrelationNumbers{.diagonal = Diagonal::least_std_one,
                                              .factor = 1.0 / static_cast<double>(x.rows() - 1),
                                              .epsilon = numbers.epsilon,
                                              .diagonal_scale = weight * variance,
                                              .rest_scale = weight * covariance});
  add_total(backend, VectorOf<B>(value.data(), 1), buffers.variance_loss, variance);
  add_total(backend, VectorOf<B>(value.data() + 1, 1), buffers.covariance_loss, covariance);
  backend.linear_backward_input(buffers.d, buffers.centred, buffers.covariance);  // which is symmetric
  backend.add_scaled(numbers_of(d_x), numbers_of(buffers.d), 2.0);
}

/// value (3) += [invariance mean over elements of (first - second)^2, variance, covariance], the last two those of
/// `variance_covariance_terms` of both views added; d_first, d_second (M,D) += weight times the gradients of the sum.
///
/// Source: Bardes et al. 2022, eq. 6; facebookresearch/vicreg main_vicreg.py. The mean of squares is over all M D
/// elements, and the covariances of the two views are added, the variances averaged.
template <Backend B, class T = typename B::Scalar>
void variance_covariance_loss(const B& backend, const VarianceCovarianceBuffers<T>& buffers, VectorOf<B> value,
                              MatrixOf<B> d_first, MatrixOf<B> d_second, ConstMatrixOf<B> first,
                              ConstMatrixOf<B> second, const VarianceCovarianceNumbers& numbers, double weight = 1) {
  const double share = numbers.invariance / static_cast<double>(first.size());
  backend.compare_rows(buffers.row_loss, buffers.d, first, second, Comparison::squared, weight * share);
  add_total(backend, VectorOf<B>(value.data(), 1), buffers.row_loss, share);
  backend.accumulate(numbers_of(d_first), numbers_of(buffers.d));
  backend.add_scaled(numbers_of(d_second), numbers_of(buffers.d), -1.0);
  const VectorOf<B> others(value.data() + 1, 2);
  variance_covariance_terms(backend, buffers, others, d_first, first, numbers, weight);
  variance_covariance_terms(backend, buffers, others, d_second, second, numbers, weight);
}

}  // namespace dssl
