// The end of a head: prototypes, softmax, cross-entropy and the way back, fused where the backend can.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Normalised prototypes in memory: what the primitives need between forward and backward.
template <class T>
struct NormalisedPrototypes {
  MatrixView<T> w;     // (P,D) g v / |v|
  VectorView<T> norm;  // (P) |v|

  static NormalisedPrototypes take(Arena& arena, Index prototypes, Index width) {
    return {arena.matrix<T>(prototypes, width), arena.vector<T>(prototypes)};
  }
};

/// logits (M,P) = unit w^T, keeping w and |v| in `normalised`. Cost: 2 M P D FLOP.
/// Test: fixture `head`.
template <Backend B, class T = typename B::Scalar>
void prototype_logits(const B& backend, MatrixView<T> logits, const NormalisedPrototypes<T>& normalised,
                      const PrototypeRows<T>& rows) {
  backend.weight_norm_forward(normalised.w, normalised.norm, rows.v, rows.g);
  backend.linear_forward(logits, rows.unit, normalised.w, {});
}

/// d_logits (M,P) -> d_unit (M,D) =, d_v (P,D) +=, d_g (P) += or empty; d_w (P,D) is overwritten.
/// Cost: 4 M P D FLOP. Test: fixture `head`; central differences in tests/nn.
template <Backend B, class T = typename B::Scalar>
void prototype_logits_backward(const B& backend, MatrixView<T> d_unit, MatrixView<T> d_v, VectorView<T> d_g,
                               MatrixView<T> d_w, MatrixView<const std::type_identity_t<T>> d_logits,
                               const NormalisedPrototypes<T>& normalised, const PrototypeRows<T>& rows) {
  backend.fill(VectorView<T>(d_w.data(), d_w.size()), T{0});
  backend.linear_backward_weight(d_w, {}, d_logits, rows.unit);
  backend.weight_norm_backward(d_v, d_g, d_w, rows.v, rows.g, normalised.norm);
  backend.linear_backward_input(d_unit, d_logits, normalised.w);
}

/// `prototype_loss` (below) as a sequence of primitives; what the fused operation is held to.
/// Memory: (M + N) P + 2 P D numbers.
template <class T>
class PlainPrototypeLoss {
 public:
  PlainPrototypeLoss(Arena& arena, Index rows, Index teacher_rows, Index prototypes, Index width)
      : x_probabilities(arena.matrix<T>(teacher_rows, prototypes)),
        x_logits(arena.matrix<T>(rows, prototypes)),
        x_normalised(NormalisedPrototypes<T>::take(arena, prototypes, width)),
        x_d_w(arena.matrix<T>(prototypes, width)) {}

  template <Backend B>
  void run(const B& backend, const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
           const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
           const PrototypeLossNumbers& numbers) const {
    prototype_logits(backend, x_probabilities, x_normalised, teacher);
    backend.add_column_sum(result.centre_sum, x_probabilities, targets.centre_rows, numbers.centre_share);
    backend.centred_softmax(x_probabilities, x_probabilities, targets.centre, numbers.teacher_temperature);
    backend.row_entropy(result.entropy, x_probabilities);
    prototype_logits(backend, x_logits, x_normalised, student);
    backend.cross_entropy(result.loss, x_logits, x_logits, x_probabilities, targets.rows, numbers.student_temperature,
                          numbers.scale, targets.weights);
    prototype_logits_backward(backend, result.d_unit, result.d_v, result.d_g, x_d_w, x_logits, x_normalised, student);
  }

 private:
  MatrixView<T> x_probabilities;  // (N,P): the teacher's logits, then its probabilities
  MatrixView<T> x_logits;         // (M,P): the student's logits, then their gradients
  NormalisedPrototypes<T> x_normalised;
  MatrixView<T> x_d_w;
};

/// Bytes of workspace that `prototype_loss` wants. `targets`: as its targets' rows, in the host's memory.
template <Backend B>
[[nodiscard]] std::size_t prototype_loss_workspace(const B& backend, std::span<const TargetRows> targets,
                                                   Index teacher_rows, Index prototypes, Index width) {
  if constexpr (FusedPrototypeLoss<B>) {
    return backend.prototype_loss_workspace(targets, teacher_rows, prototypes, width);
  } else {
    Arena measure;
    const PlainPrototypeLoss<typename B::Scalar> plain(measure, static_cast<Index>(targets.size()), teacher_rows,
                                                       prototypes, width);
    return measure.high_water();
  }
}

/// Teacher's and student's unit vectors -> cross-entropy of every student row with its targets, the entropy of these,
/// the centre's sum, and the gradients of the student's unit vectors and prototypes.
///
/// The teacher's logits are centred and divided by its temperature, the student's divided by its own; sum p log q as
/// in the published loss. Contract: backend/concept.hpp. Cost: 2 (N + 3 M) P D FLOP.
/// Test: the fused operation against the primitives in tests/backend; fixtures `training_*`.
template <Backend B, class T = typename B::Scalar>
void prototype_loss(const B& backend, const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                    const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                    const PrototypeLossNumbers& numbers, VectorView<std::byte> workspace) {
  if constexpr (FusedPrototypeLoss<B>) {
    backend.prototype_loss(result, student, teacher, targets, numbers, workspace);
  } else {
    const Buffer bytes(workspace.data(), static_cast<std::size_t>(workspace.size()), [](std::byte*) {});
    Arena arena(bytes);
    const PlainPrototypeLoss<T> plain(arena, student.unit.rows(), teacher.unit.rows(), student.v.rows(),
                                      student.v.cols());
    plain.run(backend, result, student, teacher, targets, numbers);
  }
}

}  // namespace dssl
