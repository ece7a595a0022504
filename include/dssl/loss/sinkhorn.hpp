// Rows of scores assigned to prototypes so that all prototypes get the same share: Sinkhorn-Knopp of SwAV, DINOv2, DINOv3.
// Tests: tests/loss/sinkhorn.cpp (fixture sinkhorn).
#pragma once

#include <dssl/backend/over_ranks.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// centre (P) = what is taken off the scores, so that softmax((scores - centre) / epsilon) is the assignment after
/// `iterations` rounds of Sinkhorn-Knopp. row_sums (M) is overwritten.
///
/// scores (M,P). The published code scales Q = exp(scores / epsilon): prototypes to equal sums, samples to equal sums, by
/// turns, samples last. The prototypes' factors alone say what the result is: it is a softmax with a centre, centre =
/// -epsilon log(factors). In logarithms no score overflows (published: above 88 epsilon in float), and constants that the
/// published code divides by drop out. Weights that a sample's row has nothing to do with (rows of padding) must not be in
/// `scores`. Source: Caron et al. 2020, app. A; swav distributed_sinkhorn, dinov2 sinkhorn_knopp_teacher. Cost: 2 iterations
/// - 1 passes over the scores. Throws `ShapeError` where iterations is below 1.
///
/// `ranks`: each has some of the rows, or none; the P numbers of each round are combined, and the centre is that of all
/// rows on each of them. Without rows on any rank it stays as it was.
template <Backend B>
void sinkhorn_centre(const B& backend, VectorOf<B> centre, VectorOf<B> row_sums, ConstMatrixOf<B> scores,
                     double epsilon, Index iterations, const Communicator& ranks = {}) {
  require_shape(iterations >= 1, "sinkhorn_centre: ", iterations, " iterations; expected 1 at least");
  const bool rows = scores.rows() > 0;
  const auto sum_columns = [&](ConstVectorOf<B> shift) {
    if (rows) backend.column_log_sum(centre, scores, shift, epsilon);
    if (!ranks.alone()) log_sum_over_ranks(backend, ranks, centre, rows, epsilon);
  };
  sum_columns({});
  for (Index i = 1; i < iterations; ++i) {
    if (rows) backend.row_log_sum(row_sums, scores, centre, epsilon);
    sum_columns(row_sums);
  }
}

/// assignments (M,P) = Sinkhorn-Knopp's result, whose rows sum to 1; centre (P), row_sums (M) are overwritten.
template <Backend B>
void sinkhorn_assign(const B& backend, MatrixOf<B> assignments, VectorOf<B> centre, VectorOf<B> row_sums,
                     ConstMatrixOf<B> scores, double epsilon, Index iterations) {
  sinkhorn_centre(backend, centre, row_sums, scores, epsilon, iterations);
  backend.centred_softmax(assignments, scores, centre, epsilon);
}

}  // namespace dssl
