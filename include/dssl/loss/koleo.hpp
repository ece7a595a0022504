// Features of a batch spread over the sphere: KoLeo, the entropy estimate of DINOv2 and DINOv3.
// Tests: tests/loss/koleo.cpp (fixture koleo).
#pragma once

#include <cstdint>

#include <dssl/core/error.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// Numbers of KoLeo; defaults are the published ones.
struct KoLeoNumbers {
  double epsilon = 1e-8;  ///< of unit vectors, of each number of a difference, and below the logarithm
};

template <class T>
struct KoLeoBuffers {
  UnitRows<T> y;                            // (M,D)
  MatrixView<T> products;                   // (M,M)
  MatrixView<T> neighbour, d_pair, d_unit;  // (M,D)
  VectorView<T> loss;                       // (M)
  VectorView<std::int32_t> own;             // (M)
  MatrixView<std::int32_t> nearest;         // (K,M)

  static KoLeoBuffers take(Arena& arena, Index rows, Index width, Index neighbours = 1) {
    return take(arena, arena.vector<std::int32_t>(rows), width, neighbours);
  }
  /// The same with own columns that lie elsewhere, as they are written once.
  static KoLeoBuffers take(Arena& arena, VectorView<std::int32_t> own, Index width, Index neighbours = 1) {
    const Index rows = own.size();
    return {UnitRows<T>::take(arena, rows, width),
            arena.matrix<T>(rows, rows),
            arena.matrix<T>(rows, width),
            arena.matrix<T>(rows, width),
            arena.matrix<T>(rows, width),
            arena.vector<T>(rows),
            own,
            arena.matrix<std::int32_t>(neighbours, rows)};
  }
  /// Writes what does not change from step to step.
  template <Backend B>
  void begin(const B& backend) const {
    number_rows(backend, own, 0, own.size());
  }
};

/// value (1) += -mean over rows i and their K nearest rows n of log(|y_i - y_n + epsilon| + epsilon), y = unit(x); d_x
/// (M,D) += weight times its gradient, which flows into the neighbour too.
///
/// x (M,D). The nearest row has the largest y_i . y_n, itself left out, the first among equals. `buffers.begin` once
/// beforehand. Source: Sablayrolles et al. 2019; dinov2 and dinov3 koleo_loss.py, which add epsilon to each number of the
/// difference (torch's PairwiseDistance) and again in the logarithm. In training it is taken of each global view's class
/// tokens by themselves, and the views are added: one call a view. Throws `ShapeError` where there are not K other rows.
template <Backend B, class T = typename B::Scalar>
void koleo_loss(const B& backend, const KoLeoBuffers<T>& buffers, VectorOf<B> value, MatrixOf<B> d_x,
                ConstMatrixOf<B> x, const KoLeoNumbers& numbers = {}, double weight = 1) {
  const Index neighbours = buffers.nearest.rows();
  require_shape(neighbours < x.rows(), "koleo_loss: ", neighbours, " neighbours of each of ", x.rows(),
                " rows; expected fewer than rows");
  const double share = 1.0 / static_cast<double>(x.rows() * neighbours);
  buffers.y.forward(backend, x, numbers.epsilon);
  backend.linear_forward(buffers.products, buffers.y.unit, buffers.y.unit, {});
  backend.largest_columns(buffers.nearest, buffers.products, buffers.own);
  backend.fill(numbers_of(buffers.d_unit), T{0});
  for (Index k = 0; k < neighbours; ++k) {
    const RowIndex nearest(buffers.nearest.row(k), x.rows());
    backend.copy_rows(buffers.neighbour, {}, buffers.y.unit, nearest);
    backend.log_distance(buffers.loss, buffers.d_pair, buffers.y.unit, buffers.neighbour, numbers.epsilon,
                         weight * share);
    add_total(backend, value, buffers.loss, share);
    backend.accumulate(numbers_of(buffers.d_unit), numbers_of(buffers.d_pair));
    backend.fill(numbers_of(buffers.neighbour), T{0});
    backend.add_scaled(numbers_of(buffers.neighbour), numbers_of(buffers.d_pair), -1.0);
    backend.add_rows(buffers.d_unit, nearest, buffers.neighbour, {});
  }
  buffers.y.backward(backend, d_x, buffers.d_unit, numbers.epsilon);
}

}  // namespace dssl
