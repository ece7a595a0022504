// A student's features held to those of a larger teacher: distillation of class tokens and maps.
// Tests: tests/loss/imitation.cpp (fixture distillation).
#pragma once

#include <dssl/loss/cosine.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// How features are compared with the teacher's.
enum class Likeness {
  squared,       ///< mean over elements of (y - t)^2
  cosine,        ///< 1 - mean over rows of cos(y, t)
  smooth_l1,     ///< mean over elements, (y - t)^2 / 2 within 1 and |y - t| - 1/2 beyond
  unit_squared,  ///< mean over elements of (unit(y) - unit(t))^2: 2 (1 - cos) / D where no row is 0
};

/// imitation_cosine: 1 - cos, with the epsilon of torch.nn.CosineSimilarity.
inline constexpr CosineNumbers imitation_cosine{.factor = 1, .offset = 1, .epsilon = 1e-8};

template <class T>
struct ImitationBuffers {
  CosineBuffers<T> cosine;

  static ImitationBuffers take(Arena& arena, Index rows, Index width) {
    return {CosineBuffers<T>::take(arena, rows, width)};
  }
};

/// value (1) += the likeness's loss of student (M,D) and teacher (M,D); d_student (M,D) += weight times its gradient.
///
/// Where the widths differ the student is an adapter's output, a linear layer of the student's own. No public code is
/// the reference of distillation from features; the formulas are torch's mse_loss, cosine_similarity, smooth_l1_loss with
/// beta 1, and normalize. Means are over all elements, D too: a rate tuned for one likeness is not one for another.
template <Backend B, class T = typename B::Scalar>
void imitation_loss(const B& backend, const ImitationBuffers<T>& buffers, VectorOf<B> value, MatrixOf<B> d_student,
                    ConstMatrixOf<B> student, ConstMatrixOf<B> teacher, Likeness likeness, double weight = 1) {
  const CosineBuffers<T>& parts = buffers.cosine;
  if (likeness == Likeness::cosine) {
    cosine_loss(backend, parts, value, d_student, student, teacher, imitation_cosine, weight);
    return;
  }
  const double share = 1.0 / static_cast<double>(student.size());
  if (likeness == Likeness::unit_squared) {
    parts.prediction.forward(backend, student, unit_epsilon);
    parts.target.forward(backend, teacher, unit_epsilon);
    backend.compare_rows(parts.loss, parts.d_unit, parts.prediction.unit, parts.target.unit, Comparison::squared,
                         weight * share);
    parts.prediction.backward(backend, d_student, parts.d_unit, unit_epsilon);
  } else {
    backend.compare_rows(parts.loss, parts.d_unit, student, teacher,
                         likeness == Likeness::squared ? Comparison::squared : Comparison::smooth_l1, weight * share);
    backend.accumulate(numbers_of(d_student), numbers_of(parts.d_unit));
  }
  add_total(backend, value, parts.loss, share);
}

}  // namespace dssl
