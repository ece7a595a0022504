// Similarities between patches held to an earlier teacher's: Gram anchoring of DINOv3.
// Tests: tests/loss/gram.cpp (fixture gram).
#pragma once

#include <dssl/core/error.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// What happens to similarities below 0 before they are compared.
enum class NegativeSimilarity {
  keep,
  to_zero,             ///< the student's and the teacher's (published: remove_neg)
  teachers_to_zero,    ///< the teacher's alone: what the published remove_only_teacher_neg comes to
};

/// Numbers of Gram anchoring; defaults are those of the published training (config `gram`), not of the class.
struct GramNumbers {
  bool normalised = true;  ///< rows are unit vectors
  NegativeSimilarity negative = NegativeSimilarity::keep;
};

/// Buffers for blocks of `rows` rows each.
template <class T>
struct GramBuffers {
  UnitRows<T> student, teacher;             // (R,D)
  MatrixView<T> of_student, of_teacher;     // (R,R)
  MatrixView<T> d;                          // (R,D)
  VectorView<T> loss;                       // (R)

  static GramBuffers take(Arena& arena, Index rows, Index width, Index teacher_width) {
    return {UnitRows<T>::take(arena, rows, width), UnitRows<T>::take(arena, rows, teacher_width),
            arena.matrix<T>(rows, rows),           arena.matrix<T>(rows, rows),
            arena.matrix<T>(rows, width),          arena.vector<T>(rows)};
  }
};

/// value (1) += the mean of the squares of S S^T - T T^T, over the blocks of R rows that the M rows make; d_student (M,D)
/// += weight times its gradient.
///
/// student (M,D), teacher (M,E): patch features; R is that of `buffers`: the patches of an image (published: img_level), or
/// all rows, the whole batch as one, which takes M^2 numbers. Throws `ShapeError` where M is no multiple of R. Source:
/// Simeoni et al. 2025, eq. 2; dinov3 gram_loss.py. There the option remove_only_teacher_neg sets the teacher to 0 first, so
/// that its test whether both are negative never holds and the student is never clamped: `teachers_to_zero` is what it
/// does, not what it says.
template <Backend B, class T = typename B::Scalar>
void gram_loss(const B& backend, const GramBuffers<T>& buffers, VectorOf<B> value, MatrixOf<B> d_student,
               ConstMatrixOf<B> student, ConstMatrixOf<B> teacher, const GramNumbers& numbers = {}, double weight = 1) {
  const Index rows = buffers.of_student.rows();
  require_shape(student.rows() % rows == 0 && teacher.rows() == student.rows(), "gram_loss: ", student.rows(), " and ",
                teacher.rows(), " rows in blocks of ", rows);
  const double share = 1.0 / (static_cast<double>(student.rows()) * static_cast<double>(rows));
  const Comparison comparison = numbers.negative == NegativeSimilarity::keep      ? Comparison::squared
                                : numbers.negative == NegativeSimilarity::to_zero ? Comparison::positive_squared
                                                                                  : Comparison::squared_to_positive;
  for (Index first = 0; first < student.rows(); first += rows) {
    ConstMatrixOf<B> s = student.rows(first, rows);
    ConstMatrixOf<B> t = teacher.rows(first, rows);
    if (numbers.normalised) {
      buffers.student.forward(backend, s, unit_epsilon);
      buffers.teacher.forward(backend, t, unit_epsilon);
      s = buffers.student.unit;
      t = buffers.teacher.unit;
    }
    backend.linear_forward(buffers.of_student, s, s, {});
    backend.linear_forward(buffers.of_teacher, t, t, {});
    backend.compare_rows(buffers.loss, buffers.of_student, buffers.of_student, buffers.of_teacher, comparison,
                         weight * share);
    add_total(backend, value, buffers.loss, share);
    row_products_backward(backend, buffers.d, buffers.of_student, s);
    const MatrixOf<B> d = d_student.rows(first, rows);
    if (numbers.normalised) {
      buffers.student.backward(backend, d, buffers.d, unit_epsilon);
    } else {
      backend.accumulate(numbers_of(d), numbers_of(buffers.d));
    }
  }
}

}  // namespace dssl
