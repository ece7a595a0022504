// The cosine of a prediction and its target: BYOL, SimSiam, and imitation of a teacher's directions.
// Tests: tests/loss/cosine.cpp (fixtures byol_loss, simsiam_loss).
#pragma once

#include <dssl/loss/pieces.hpp>

namespace dssl {

/// Numbers of one direction: loss = offset - factor * mean over rows of cos(prediction, target).
struct CosineNumbers {
  double factor = 1;
  double offset = 0;
  double epsilon = 1e-8;  ///< least length that a row is divided by
};

/// BYOL: 2 - 2 cos a direction, both directions added. Source: Grill et al. 2020, eq. 2; deepmind's
/// helpers.regression_loss, whose 1e-12 is of the squared length.
inline constexpr CosineNumbers byol_cosine{.factor = 2, .offset = 2, .epsilon = 1e-6};
/// SimSiam: half of -cos a direction, so that both add up to the published mean. Source: Chen and He 2021, eq. 2;
/// facebookresearch/simsiam main_simsiam.py, with the epsilon of torch.nn.CosineSimilarity. It is a quarter of BYOL's
/// scale: rates are not exchanged between them.
inline constexpr CosineNumbers simsiam_cosine{.factor = 0.5, .offset = 0, .epsilon = 1e-8};

template <class T>
struct CosineBuffers {
  UnitRows<T> prediction, target;
  MatrixView<T> d_unit;      // (M,D)
  VectorView<T> loss;        // (M) -cos of each row
  VectorView<T> constant;    // (1)

  static CosineBuffers take(Arena& arena, Index rows, Index width) {
    return {UnitRows<T>::take(arena, rows, width), UnitRows<T>::take(arena, rows, width),
            arena.matrix<T>(rows, width), arena.vector<T>(rows), arena.vector<T>(1)};
  }
};

/// value (1) += offset - factor mean_m cos(prediction[m], target[m]); d_prediction (M,D) += weight times its gradient.
///
/// prediction, target (M,D); the cosine is that of unit(x) = x / max(|x|, epsilon), below which the length is a constant.
/// Cost: 5 passes over (M,D). Test: tests/loss/cosine.cpp.
template <Backend B, class T = typename B::Scalar>
void cosine_loss(const B& backend, const CosineBuffers<T>& buffers, VectorOf<B> value, MatrixOf<B> d_prediction,
                 ConstMatrixOf<B> prediction, ConstMatrixOf<B> target, const CosineNumbers& numbers, double weight = 1) {
  const double share = numbers.factor / static_cast<double>(prediction.rows());
  buffers.prediction.forward(backend, prediction, numbers.epsilon);
  buffers.target.forward(backend, target, numbers.epsilon);
  backend.compare_rows(buffers.loss, buffers.d_unit, buffers.prediction.unit, buffers.target.unit,
                       Comparison::negative_dot, weight * share);
  add_total(backend, value, buffers.loss, share);
  if (numbers.offset != 0) {
    backend.fill(buffers.constant, static_cast<T>(numbers.offset));
    backend.accumulate(value, buffers.constant);
  }
  buffers.prediction.backward(backend, d_prediction, buffers.d_unit, numbers.epsilon);
}

}  // namespace dssl
