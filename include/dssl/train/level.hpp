// One level of the objective: two heads, a centre, and the cross-entropy between them.
// Tests: tests/train/loss_parity.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
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

/// Temperatures of the two softmaxes of a step.
struct LevelTemperatures {
  double student = 0.1;
  double teacher = 0.04;
};

/// Heads, centre and cross-entropy of one level (image or point), with all their buffers.
///
/// In a step: `teacher` for the teacher's features, then `student` for those of each part of the student's pass,
/// forward and backward; over all forward passes of an update the centre's mean is gathered, and `update_centre` moves
/// the centre once. What a part is compared with, how much its terms weigh and what the centre is the mean of are the
/// whole level's: the parts' losses, gradients and centre sums add up to those of one part with all features.
template <class T>
class Level {
 public:
  Level() = default;

  /// `features`: how many of the student's each part has. `share`: part of an update that one forward pass is
  /// (1 / accumulate).
  Level(std::string name, LevelPairs pairs, std::span<const Index> features, const HeadConfig& head, Index width,
        double share)
      : x_name(std::move(name)), x_pairs(std::move(pairs)), x_head(head), x_width(width), x_share(share) {
    for (PairsPart& own : split_pairs(x_pairs, features)) {
      x_Part part;
      const auto read = static_cast<Index>(own.teacher_rows.size());
      part.teacher_count = read > 0 || own.targets.empty() ? read : x_pairs.teacher_rows;
      part.host_row_loss.resize(own.targets.size());
      part.host_row_entropy.resize(static_cast<std::size_t>(part.teacher_count));
      part.pairs = std::move(own);
      x_parts.push_back(std::move(part));
    }
  }

  /// Buffers that live from step to step, and the teacher's unit vectors, from which its targets come.
  template <Backend B>
  void place_lasting(const B& backend, Arena& arena) {
    for (x_Part& part : x_parts) {
      part.student_rows = place_copy(backend, arena, part.pairs.student_rows);
      part.targets = place_copy(backend, arena, part.pairs.targets);
      part.centre_rows = place_copy(backend, arena, part.pairs.centre_rows);
      part.teacher_rows = place_copy(backend, arena, part.pairs.teacher_rows);
      part.row_loss = arena.vector<T>(part.compared());
      part.row_entropy = arena.vector<T>(part.teacher_count);
    }
    x_centre = arena.vector<T>(x_head.prototypes);
    x_centre_sum = arena.vector<T>(x_head.prototypes);
    x_teacher_unit = arena.matrix<T>(x_pairs.teacher_rows, x_head.bottleneck);
  }

  /// Buffers of the teacher's head, which may be overwritten once its unit vectors are known.
  void place_teacher(Arena& arena) { x_teacher = HeadActivations<T>::take(arena, x_head, x_width, x_teacher_unit); }

  /// Buffers of the student's head, of the loss and of their backward pass, which may be overwritten after `student` of
  /// that part.
  template <Backend B>
  void place_student(const B& backend, Arena& arena, std::size_t number) {
    if (!compares(number)) return;
    x_Part& part = x_parts[number];
    const auto rows = static_cast<Index>(part.pairs.student_rows.size());
    part.head = HeadActivations<T>::take(arena, x_head, x_width, arena.matrix<T>(rows, x_head.bottleneck));
    part.gradients = HeadGradients<T>::take(arena, x_head, x_width, rows);
    part.teacher_unit = part.pairs.teacher_rows.empty() ? x_teacher_unit
                                                        : arena.matrix<T>(part.teacher_count, x_head.bottleneck);
    part.workspace = arena.vector<std::byte>(static_cast<Index>(prototype_loss_workspace(
        backend, part.pairs.targets, part.teacher_count, x_head.prototypes, x_head.bottleneck)));
  }

  [[nodiscard]] const LevelPairs& pairs() const { return x_pairs; }
  [[nodiscard]] VectorView<T> centre() const { return x_centre; }
  /// What the forward passes of the running update have added up for the centre.
  [[nodiscard]] VectorView<T> centre_sum() const { return x_centre_sum; }
  /// Whether a part has features that are compared with the teacher's.
  [[nodiscard]] bool compares(std::size_t number) const {
    return number < x_parts.size() && x_parts[number].compared() > 0;
  }

  /// Teacher features (rows as in LevelPairs) -> unit vectors.
  template <Backend B>
  void teacher(const B& backend, MatrixView<const T> features, const HeadParameters<const T>& p) {
    backend.copy_rows(x_teacher.x, {}, features, {});
    head_forward(backend, x_teacher, p);
  }

  /// A part's student features -> cross-entropy with the teacher's targets, and its gradients times `weight` and this
  /// pass's share of the update; adds the part's share of the centre's mean.
  ///
  /// d_p +=; the gradients of the features that were read are written to their rows of `d_features`, which must hold
  /// zeros elsewhere.
  template <Backend B>
  void student(const B& backend, std::size_t number, MatrixView<T> d_features, const HeadParameters<T>& d_p,
               MatrixView<const T> features, const HeadParameters<const T>& p, const HeadParameters<const T>& teacher,
               const LevelTemperatures& temperatures, double weight) const {
    if (!compares(number)) return;
    const x_Part& part = x_parts[number];
    backend.copy_rows(part.head.x, {}, features, part.student_rows);
    head_forward(backend, part.head, p);
    const Index compared = part.compared();
    const MatrixView<T> d_unit = part.gradients.d_unit.rows(0, compared);
    if (compared < part.gradients.d_unit.rows()) {
      const MatrixView<T> rest = part.gradients.d_unit.rows(compared, part.gradients.d_unit.rows() - compared);
      backend.fill(VectorView<T>(rest.data(), rest.size()), T{0});
    }
    if (!part.teacher_rows.empty()) backend.copy_rows(part.teacher_unit, {}, x_teacher_unit, part.teacher_rows);
    // No rows would be all of them: a part without any has no share.
    const double averaged = part.centre_rows.empty() ? 0 : x_share / static_cast<double>(x_pairs.centre_rows.size());
    const VectorView<T> d_norm = x_head.learned_norm ? d_p.prototype_norm : VectorView<T>{};
    prototype_loss(backend,
                   PrototypeLossResult<T>{.loss = part.row_loss,
                                          .entropy = part.row_entropy,
                                          .d_unit = d_unit,
                                          .d_v = d_p.prototypes,
                                          .d_g = d_norm,
                                          .centre_sum = x_centre_sum},
                   PrototypeRows<T>{part.head.unit.rows(0, compared), p.prototypes, p.prototype_norm},
                   PrototypeRows<T>{part.teacher_unit, teacher.prototypes, teacher.prototype_norm},
                   PrototypeTargets<T>{x_centre, part.targets, part.centre_rows},
                   PrototypeLossNumbers{.teacher_temperature = temperatures.teacher,
                                        .student_temperature = temperatures.student,
                                        .scale = weight * x_share * x_pairs.scale,
                                        .centre_share = averaged},
                   part.workspace);
    head_backward(backend, part.gradients, d_p, part.head, p);
    backend.copy_rows(d_features, part.student_rows, part.gradients.d_x, {});
  }

  /// Adds this pass's share of the level's figures to a report.
  template <Backend B>
  void add_to(const B& backend, LevelReport& report) {
    double loss = 0;
    double entropy = 0;
    for (x_Part& part : x_parts) {
      if (part.compared() == 0) continue;
      backend.download(std::span<T>(part.host_row_loss), static_cast<const T*>(part.row_loss.data()));
      backend.download(std::span<T>(part.host_row_entropy), static_cast<const T*>(part.row_entropy.data()));
      for (std::size_t i = 0; i < part.host_row_loss.size(); ++i) {
        loss += static_cast<double>(part.host_row_loss[i]);
        for (const std::int32_t target : part.pairs.targets[i]) {
          if (target >= 0) entropy += static_cast<double>(part.host_row_entropy[static_cast<std::size_t>(target)]);
        }
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
  /// What belongs to one part of the student's pass.
  struct x_Part {
    PairsPart pairs;
    Index teacher_count = 0;  // rows of the teacher that it reads
    RowIndex student_rows;
    VectorView<const TargetRows> targets;
    RowIndex centre_rows;
    RowIndex teacher_rows;  // empty: all
    VectorView<T> row_loss;
    VectorView<T> row_entropy;
    std::vector<T> host_row_loss;
    std::vector<T> host_row_entropy;
    HeadActivations<T> head;
    HeadGradients<T> gradients;
    MatrixView<T> teacher_unit;  // (rows that it reads,256)
    VectorView<std::byte> workspace;

    /// Student rows that the loss compares; with batch norm, others go through the head after them.
    [[nodiscard]] Index compared() const { return static_cast<Index>(pairs.targets.size()); }
  };

  std::string x_name;
  LevelPairs x_pairs;
  HeadConfig x_head;
  Index x_width = 0;
  double x_share = 1;
  std::vector<x_Part> x_parts;
  VectorView<T> x_centre;
  VectorView<T> x_centre_sum;
  MatrixView<T> x_teacher_unit;  // (teacher rows,256)
  HeadActivations<T> x_teacher;
};

}  // namespace dssl
