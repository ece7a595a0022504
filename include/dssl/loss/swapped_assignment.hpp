// Each view predicts the prototypes that the other views are assigned to: SwAV.
// Tests: tests/loss/swapped_assignment.cpp (fixture swav).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/loss/key_queue.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/sinkhorn.hpp>

namespace dssl {

/// Numbers of SwAV; defaults are the published ones.
struct SwappedAssignmentNumbers {
  double temperature = 0.1;
  /// Of Sinkhorn-Knopp. Views that agree to less than epsilon / temperature at first are predicted less and less, until the loss
  /// stays at that of equal shares: smaller then (docs/results.md).
  double epsilon = 0.05;
  Index iterations = 3;
  /// Rows of earlier batches that each global view is assigned with; 0: none, as in published runs of large batches. Those of
  /// small ones (256 images) have 3840.
  Index queue = 0;
  Index queue_first_epoch = 15;  ///< the first epoch, from 0, whose rows go into the queue

  /// Throws `OptionError`.
  void validate(std::string_view prefix) const {
    if (!(temperature > 0)) throw OptionError(join(prefix, "temperature"), temperature, "above 0");
    if (!(epsilon > 0)) throw OptionError(join(prefix, "epsilon"), epsilon, "above 0");
    if (iterations < 1) throw OptionError(join(prefix, "iterations"), iterations, "at least 1");
    if (queue < 0 || queue > longest_queue) throw OptionError(join(prefix, "queue"), queue, join("0 to ", longest_queue));
    if (queue_first_epoch < 0) throw OptionError(join(prefix, "queue_first_epoch"), queue_first_epoch, "at least 0");
  }
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "temperature"), temperature);
    f(join(prefix, "epsilon"), epsilon);
    f(join(prefix, "iterations"), iterations);
    f(join(prefix, "queue"), queue);
    f(join(prefix, "queue_first_epoch"), queue_first_epoch);
  }
};

/// Buffers for views of B images each, P prototypes, and at most Q rows of a queue (0: none).
template <class T>
struct SwappedAssignmentBuffers {
  MatrixView<T> assigned;     // (Q + B,P) scores of the queue, then of the assigning view
  MatrixView<T> assignments;  // (B,P) of that view
  MatrixView<T> scores;       // (B,P) of one view, then their gradients
  MatrixView<T> d_unit;       // (B,D) of that view
  VectorView<T> centre;       // (P)
  VectorView<T> row_sums;     // (Q + B)
  VectorView<T> loss;         // (B)
  MatrixView<T> mean;         // (1,P) of the assignments of all assigning views
  VectorView<TargetRows> targets;  // (B) row i of the assignments

  /// `targets`: where they lie, as they outlive the other buffers; `number_targets` writes them.
  static SwappedAssignmentBuffers take(Arena& arena, VectorView<TargetRows> targets, Index prototypes, Index width,
                                       Index queue) {
    const Index images = targets.size();
    return {arena.matrix<T>(queue + images, prototypes), arena.matrix<T>(images, prototypes),
            arena.matrix<T>(images, prototypes),         arena.matrix<T>(images, width),
            arena.vector<T>(prototypes),                 arena.vector<T>(queue + images),
            arena.vector<T>(images),                     arena.matrix<T>(1, prototypes), targets};
  }
};

/// targets (B) = the assignments that images have: row i. Uploads; nothing where the arena only measured.
template <Backend B>
void number_targets(const B& backend, VectorView<TargetRows> targets) {
  if (targets.data() == nullptr) return;
  std::vector<TargetRows> rows;
  for (Index i = 0; i < targets.size(); ++i) rows.push_back({static_cast<std::int32_t>(i), -1});
  backend.upload(targets.data(), std::span<const TargetRows>(rows));
}

/// buffers.assignments (B,P) = those rows that are `unit`'s of Sinkhorn-Knopp's for the scores of `queue` (Q,D), or empty, and of
/// `unit` (B,D).
///
/// unit: unit vectors of the assigning view; prototypes (P,D): rows of length 1; scores are products of the two.
template <Backend B, class T = typename B::Scalar>
void assign_view(const B& backend, const SwappedAssignmentBuffers<T>& buffers, ConstMatrixOf<B> unit,
                 ConstMatrixOf<B> prototypes, ConstMatrixOf<B> queue, const SwappedAssignmentNumbers& numbers) {
  const Index queued = queue.empty() ? 0 : queue.rows();
  const Index images = buffers.targets.size();
  require_shape(unit.rows() == images && queued + images <= buffers.assigned.rows(), "assign_view: ", unit.rows(),
                " rows and a queue of ", queued, "; buffers are for ", images, " rows and a queue of at most ",
                buffers.assigned.rows() - images);
  if (queued > 0) backend.linear_forward(buffers.assigned.rows(0, queued), queue, prototypes, {});
  backend.linear_forward(buffers.assigned.rows(queued, images), unit, prototypes, {});
  sinkhorn_centre(backend, buffers.centre, VectorOf<B>(buffers.row_sums.data(), queued + images),
                  buffers.assigned.rows(0, queued + images), numbers.epsilon, numbers.iterations);
  backend.centred_softmax(buffers.assignments, buffers.assigned.rows(queued, images), buffers.centre, numbers.epsilon);
}

/// Of one assigning view's assignments, which are in `buffers`: entropy (1) += share times the mean entropy of a row, in nats;
/// buffers.mean (1,P) += share times the mean row. `share` is 1 / the number of assigning views; buffers.loss is overwritten.
template <Backend B, class T = typename B::Scalar>
void add_assignment_entropy(const B& backend, const SwappedAssignmentBuffers<T>& buffers, VectorOf<B> entropy, double share) {
  const double mean = share / static_cast<double>(buffers.targets.size());
  backend.row_entropy(buffers.loss, buffers.assignments);
  add_total(backend, entropy, buffers.loss, mean);
  backend.add_column_sum(numbers_of(buffers.mean), buffers.assignments, {}, mean);
}

/// What the other views predict of view `assigning`, whose assignments q are in `buffers`: value (1) += share * the mean
/// over the other views v and images of -q log softmax(scores_v / temperature); d_unit (V B,D) and d_prototypes (P,D) +=
/// weight times its gradients, q being a constant. unit (V B,D): unit vectors, view by view.
template <Backend B, class T = typename B::Scalar>
void predict_assignments(const B& backend, const SwappedAssignmentBuffers<T>& buffers, VectorOf<B> value,
                         MatrixOf<B> d_unit, MatrixOf<B> d_prototypes, ConstMatrixOf<B> unit,
                         ConstMatrixOf<B> prototypes, Index assigning, const SwappedAssignmentNumbers& numbers,
                         double share, double weight = 1) {
  const Index images = buffers.targets.size();
  const Index views = unit.rows() / images;
  require_shape(unit.rows() == views * images && views > 1, "predict_assignments: ", unit.rows(), " rows of ", images,
                " images; expected two views at least");
  const double mean = share / static_cast<double>((views - 1) * images);
  for (Index view = 0; view < views; ++view) {
    if (view == assigning) continue;
    const ConstMatrixOf<B> x = unit.rows(view * images, images);
    backend.linear_forward(buffers.scores, x, prototypes, {});
    backend.cross_entropy(buffers.loss, buffers.scores, buffers.scores, buffers.assignments, buffers.targets,
                          numbers.temperature, weight * mean);
    add_total(backend, value, buffers.loss, mean);
    backend.linear_backward_weight(d_prototypes, {}, buffers.scores, x);
    backend.linear_backward_input(buffers.d_unit, buffers.scores, prototypes);
    backend.accumulate(numbers_of(d_unit.rows(view * images, images)), numbers_of(buffers.d_unit));
  }
}

/// One assigning view's part, of the views' own features: `assign_view` of view `assigning` with `queue`, then
/// `predict_assignments`. `share` is 1 / the number of assigning views.
///
/// prototypes (P,D): rows of length 1, which the caller sees to before each step; queue (Q,D): unit vectors of earlier
/// steps in any order, or empty. Source: Caron et al. 2020, eq. 2; facebookresearch/swav main_swav.py train(). There
/// rows go into the queue, in front, after scores were taken of it, and it is used once it is full.
template <Backend B, class T = typename B::Scalar>
void swapped_assignment_loss(const B& backend, const SwappedAssignmentBuffers<T>& buffers, VectorOf<B> value,
                             MatrixOf<B> d_unit, MatrixOf<B> d_prototypes, ConstMatrixOf<B> unit,
                             ConstMatrixOf<B> prototypes, ConstMatrixOf<B> queue, Index assigning,
                             const SwappedAssignmentNumbers& numbers, double share, double weight = 1) {
  const Index images = buffers.targets.size();
  require_shape(unit.rows() >= (assigning + 1) * images, "swapped_assignment_loss: ", unit.rows(), " rows of ", images,
                " images have no view ", assigning);
  assign_view(backend, buffers, unit.rows(assigning * images, images), prototypes, queue, numbers);
  predict_assignments(backend, buffers, value, d_unit, d_prototypes, unit, prototypes, assigning, numbers, share, weight);
}

}  // namespace dssl
