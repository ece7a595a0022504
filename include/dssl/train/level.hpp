// One level of the objective: two heads, a centre, and the cross-entropy between them.
#pragma once

#include <cmath>
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
#include <dssl/train/report.hpp>

namespace dssl {

/// Heads, centre and cross-entropy of one level (image or point), with all their buffers.
///
/// In a step: `teacher` for the teacher's features, `student` for the student's, `backward`; over all forward
/// passes of an update the centre's mean is gathered, and `update_centre` moves the centre once.
template <class T>
class Level {
 public:
  Level() = default;

  /// `share`: part of an update that one forward pass is (1 / accumulate).
  Level(std::string name, LevelPairs pairs, const HeadConfig& head, Index width, double share)
      : x_name(std::move(name)), x_pairs(std::move(pairs)), x_head(head), x_width(width), x_share(share) {
    x_row_loss.resize(x_pairs.student_rows.size());
    x_row_entropy.resize(static_cast<std::size_t>(x_pairs.teacher_rows));
  }

  /// Buffers that live from step to step, and the teacher's targets.
  template <Backend B>
  void place_lasting(const B& backend, Arena& arena) {
    x_student_rows = place_copy(backend, arena, x_pairs.student_rows);
    x_targets = place_copy(backend, arena, x_pairs.targets);
    x_centre_rows = place_copy(backend, arena, x_pairs.centre_rows);
    x_centre = arena.vector<T>(x_head.prototypes);
    x_centre_sum = arena.vector<T>(x_head.prototypes);
    x_probabilities = arena.matrix<T>(x_pairs.teacher_rows, x_head.prototypes);
    x_device_row_loss = arena.vector<T>(static_cast<Index>(x_pairs.student_rows.size()));
    x_device_row_entropy = arena.vector<T>(x_pairs.teacher_rows);
  }

  /// Buffers of the teacher's head, which may be overwritten once its targets are known.
  void place_teacher(Arena& arena) {
    x_teacher = HeadActivations<T>::take(arena, x_head, x_width, x_probabilities);
  }

  /// Buffers of the student's head and its backward pass.
  void place_student(Arena& arena) {
    const auto rows = static_cast<Index>(x_pairs.student_rows.size());
    x_student = HeadActivations<T>::take(arena, x_head, x_width, arena.matrix<T>(rows, x_head.prototypes));
    x_gradients = HeadGradients<T>::take(arena, x_head, x_width, rows);
  }

  [[nodiscard]] const LevelPairs& pairs() const { return x_pairs; }
  [[nodiscard]] VectorView<T> centre() const { return x_centre; }
  /// What the forward passes of the running update have added up for the centre.
  [[nodiscard]] VectorView<T> centre_sum() const { return x_centre_sum; }

  /// Teacher features (rows as in LevelPairs) -> targets; adds its share of the centre's mean.
  template <Backend B>
  void teacher(const B& backend, MatrixView<const T> features, const HeadParameters<const T>& p, double temperature) {
    backend.copy_rows(x_teacher.x, {}, features, {});
    head_forward(backend, x_teacher, p);
    backend.add_column_sum(x_centre_sum, x_probabilities, x_centre_rows,
                           x_share / static_cast<double>(x_centre_rows.size()));
    backend.centred_softmax(x_probabilities, x_probabilities, x_centre, temperature);
    backend.row_entropy(x_device_row_entropy, x_probabilities);
  }

  /// Student features -> cross-entropy and its gradient, times `weight` and this pass's share of the update.
  template <Backend B>
  void student(const B& backend, MatrixView<const T> features, const HeadParameters<const T>& p, double temperature,
               double weight) {
    backend.copy_rows(x_student.x, {}, features, x_student_rows);
    head_forward(backend, x_student, p);
    backend.cross_entropy(x_device_row_loss, x_student.logits, x_student.logits, x_probabilities, x_targets,
                          temperature, weight * x_share * x_pairs.scale);
  }

  /// Backward pass of the student's head: d_p +=; the gradients of the features that were read are written to
  /// their rows of d_features, which must hold zeros elsewhere.
  template <Backend B>
  void backward(const B& backend, MatrixView<T> d_features, const HeadParameters<T>& d_p,
                const HeadParameters<const T>& p) {
    head_backward(backend, x_gradients, d_p, x_student.logits, x_student, p, x_head);
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
  MatrixView<T> x_probabilities;  // (teacher rows,P): the teacher's logits, then its probabilities
  VectorView<T> x_device_row_loss;
  VectorView<T> x_device_row_entropy;
  HeadActivations<T> x_teacher;
  HeadActivations<T> x_student;
  HeadGradients<T> x_gradients;
  std::vector<T> x_row_loss;
  std::vector<T> x_row_entropy;
};

}  // namespace dssl
