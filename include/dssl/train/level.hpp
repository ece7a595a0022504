// One level of the objective: two heads, a centre, and the cross-entropy between them.
// Tests: tests/train/loss_parity.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/view_pairs.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/prototype_loss.hpp>
#include <dssl/train/report.hpp>

namespace dssl {

/// Heads, centre and cross-entropy of one level (image or point), with all their buffers.
///
/// In a step: `teacher` for the teacher's features, `student` for the student's, forward and backward; over all
/// forward passes of an update the centre's mean is gathered, and `update_centre` moves the centre once.
template <class T>
class Level {
 public:
  Level() = default;

  /// `share`: part of an update that one forward pass is (1 / accumulate).
  Level(std::string name, LevelPairs pairs, const HeadConfig& head, Index width, double share)
      : x_name(std::move(name)), x_pairs(std::move(pairs)), x_head(head), x_width(width), x_share(share) {
    x_row_loss.resize(x_pairs.targets.size());
    x_row_entropy.resize(static_cast<std::size_t>(x_pairs.teacher_rows));
  }

  /// Buffers that live from step to step, and the teacher's unit vectors, from which its targets come.
  template <Backend B>
  void place_lasting(const B& backend, Arena& arena) {
    x_student_rows = place_copy(backend, arena, x_pairs.student_rows);
    x_targets = place_copy(backend, arena, x_pairs.targets);
    x_centre_rows = place_copy(backend, arena, x_pairs.centre_rows);
    x_centre = arena.vector<T>(x_head.prototypes);
    x_centre_sum = arena.vector<T>(x_head.prototypes);
    x_teacher_unit = arena.matrix<T>(x_pairs.teacher_rows, x_head.bottleneck);
    x_device_row_loss = arena.vector<T>(x_compared());
    x_device_row_entropy = arena.vector<T>(x_pairs.teacher_rows);
  }

  /// Buffers of the teacher's head, which may be overwritten once its unit vectors are known.
  void place_teacher(Arena& arena) { x_teacher = HeadActivations<T>::take(arena, x_head, x_width, x_teacher_unit); }

  /// Buffers of the student's head, of the loss and of their backward pass, which may be overwritten after `student`.
  template <Backend B>
  void place_student(const B& backend, Arena& arena) {
    const auto rows = static_cast<Index>(x_pairs.student_rows.size());
    x_student = HeadActivations<T>::take(arena, x_head, x_width, arena.matrix<T>(rows, x_head.bottleneck));
    x_gradients = HeadGradients<T>::take(arena, x_head, x_width, rows);
    x_workspace = arena.vector<std::byte>(static_cast<Index>(prototype_loss_workspace(
        backend, x_pairs.targets, x_pairs.teacher_rows, x_head.prototypes, x_head.bottleneck)));
  }

  [[nodiscard]] const LevelPairs& pairs() const { return x_pairs; }
  [[nodiscard]] VectorView<T> centre() const { return x_centre; }
  /// What the forward passes of the running update have added up for the centre.
  [[nodiscard]] VectorView<T> centre_sum() const { return x_centre_sum; }

  /// Teacher features (rows as in LevelPairs) -> unit vectors.
  template <Backend B>
  void teacher(const B& backend, MatrixView<const T> features, const HeadParameters<const T>& p) {
    backend.copy_rows(x_teacher.x, {}, features, {});
    head_forward(backend, x_teacher, p);
  }

  /// Student features -> cross-entropy with the teacher's targets, and its gradients times `weight` and this pass's
  /// share of the update; adds the pass's share of the centre's mean.
  ///
  /// d_p +=; the gradients of the features that were read are written to their rows of `d_features`, which must hold
  /// zeros elsewhere.
  template <Backend B>
  void student(const B& backend, MatrixView<T> d_features, const HeadParameters<T>& d_p, MatrixView<const T> features,
               const HeadParameters<const T>& p, const HeadParameters<const T>& teacher, double temperature,
               double teacher_temperature, double weight) {
    backend.copy_rows(x_student.x, {}, features, x_student_rows);
    head_forward(backend, x_student, p);
    const Index compared = x_compared();
    const MatrixView<T> d_unit = x_gradients.d_unit.rows(0, compared);
    if (compared < x_gradients.d_unit.rows()) {
      const MatrixView<T> rest = x_gradients.d_unit.rows(compared, x_gradients.d_unit.rows() - compared);
      backend.fill(VectorView<T>(rest.data(), rest.size()), T{0});
    }
    const VectorView<T> d_norm = x_head.learned_norm ? d_p.prototype_norm : VectorView<T>{};
    prototype_loss(backend,
                   PrototypeLossResult<T>{.loss = x_device_row_loss,
                                          .entropy = x_device_row_entropy,
                                          .d_unit = d_unit,
                                          .d_v = d_p.prototypes,
                                          .d_g = d_norm,
                                          .centre_sum = x_centre_sum},
                   PrototypeRows<T>{x_student.unit.rows(0, compared), p.prototypes, p.prototype_norm},
                   PrototypeRows<T>{x_teacher_unit, teacher.prototypes, teacher.prototype_norm},
                   PrototypeTargets<T>{x_centre, x_targets, x_centre_rows},
                   PrototypeLossNumbers{.teacher_temperature = teacher_temperature,
                                        .student_temperature = temperature,
                                        .scale = weight * x_share * x_pairs.scale,
                                        .centre_share = x_share / static_cast<double>(x_centre_rows.size())},
                   x_workspace);
    head_backward(backend, x_gradients, d_p, x_student, p);
    backend.copy_rows(d_features, x_student_rows, x_gradients.d_x, {});
  }

  /// Adds this pass's share of the level's figures to a report.
  template <Backend B>
  void add_to(const B& backend, LevelReport& report) {
    backend.download(std::span<T>(x_row_loss), static_cast<const T*>(x_device_row_loss.data()));
    backend.download(std::span<T>(x_row_entropy), static_cast<const T*>(x_device_row_entropy.data()));
    double loss = 0;
    double entropy = 0;
    for (std::size_t i = 0; i < x_row_loss.size(); ++i) {
      loss += static_cast<double>(x_row_loss[i]);
      for (const std::int32_t target : x_pairs.targets[i]) {
        if (target >= 0) entropy += static_cast<double>(x_row_entropy[static_cast<std::size_t>(target)]);
      }
    }
    report.loss += x_share * x_pairs.scale * loss;
    report.teacher_entropy += x_share * x_pairs.scale * entropy;
    report.divergence = report.loss - report.teacher_entropy;
    if (!std::isfinite(report.loss)) {
      throw NonFiniteError(join("the ", x_name, "-level loss is ", report.loss,
                                "; lower the learning rate, clip gradients, or look for images without any contrast"));
    }
  }

  /// centre = m centre + (1 - m) mean of the update's teacher rows.
  template <Backend B>
  void update_centre(const B& backend, double momentum) {
    backend.lerp(x_centre, x_centre_sum, momentum);
  }

 private:
  /// Student rows that the loss compares; with batch norm, others go through the head after them.
  [[nodiscard]] Index x_compared() const { return static_cast<Index>(x_pairs.targets.size()); }

  std::string x_name;
  LevelPairs x_pairs;
  HeadConfig x_head;
  Index x_width = 0;
  double x_share = 1;
  RowIndex x_student_rows;
  VectorView<const TargetRows> x_targets;
  RowIndex x_centre_rows;
  VectorView<T> x_centre;
  VectorView<T> x_centre_sum;
  MatrixView<T> x_teacher_unit;  // (teacher rows,256)
  VectorView<T> x_device_row_loss;
  VectorView<T> x_device_row_entropy;
  HeadActivations<T> x_teacher;
  HeadActivations<T> x_student;
  HeadGradients<T> x_gradients;
  VectorView<std::byte> x_workspace;
  std::vector<T> x_row_loss;
  std::vector<T> x_row_entropy;
};

}  // namespace dssl
