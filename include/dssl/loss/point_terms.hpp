// Features of shared points held to a teacher's as they are, without a head: the dense counterpart of imitation.
// Tests: tests/train/catalogue.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/loss/view_pairs.hpp>

namespace dssl {

/// The student's features of a point and the EMA teacher's of the same point in a global view, as unit vectors:
///
///   loss = mean over images, points and pairs (q, v), v != q, of sum_d f(unit(s)_d, unit(t)_d), f by `C` (Huber's)
///
/// Features alone can agree by all being alike: a term beside others, not a method. Any token scheme with points.
template <Comparison C = Comparison::smooth_l1>
struct PointAgreement {
  static constexpr std::string_view name = "point-agreement";
  static constexpr Reads reads{{.points = true}, {.points = true}};
  static constexpr Whole whole = Whole::row;
  static constexpr bool spans_ranks = true;
  using Teacher = Ema;
  using Options = NoOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    Run(const TermSetting& s, const Options& /*options*/) : x_width(s.width), x_share(s.share) {
      const LevelPairs pairs = point_pairs(s.views, s.batch, s.points, true);
      x_scale = 1.0 / static_cast<double>(s.batch * s.points * pairs.pairs);
      x_teacher_rows = pairs.teacher_rows;
      std::vector<Index> features;
      for (const PartViews& part : s.parts) features.push_back(part.views * s.batch * 2 * s.points);
      for (const PairsPart& own : split_pairs(pairs, features)) {
        x_Part& part = x_parts.emplace_back();
        part.student = own.student_rows;
        for (const TargetRows& target : own.targets) {
          const std::int32_t row = target[0];
          part.teacher.push_back(own.teacher_rows.empty() ? row : own.teacher_rows[static_cast<std::size_t>(row)]);
        }
      }
    }

    void place_lasting(const B& backend, Arena& arena) {
      for (x_Part& part : x_parts) {
        part.student_rows = place_copy(backend, arena, part.student);
        part.teacher_rows = place_copy(backend, arena, part.teacher);
      }
      x_teacher = UnitRows<T>::take(arena, x_teacher_rows, x_width);
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t number) {
      x_Part& part = x_parts[number];
      const auto rows = static_cast<Index>(part.student.size());
      for (MatrixView<T>* matrix : {&part.x, &part.target, &part.d}) *matrix = arena.matrix<T>(rows, x_width);
      part.unit = UnitRows<T>::take(arena, rows, x_width);
      part.row_loss = arena.vector<T>(rows);
    }
    [[nodiscard]] bool reads_part(std::size_t number) const { return !x_parts[number].student.empty(); }

    void teacher(const B& backend, const TeacherPass<PointAgreement, T>& in) const {
      x_teacher.forward(backend, in.features.points, unit_epsilon);
    }
    void student(const B& backend, const StudentPass<PointAgreement, T>& in) const {
      if (in.part == 0) x_loss.clear(backend);
      if (!reads_part(in.part)) return;
      const x_Part& part = x_parts[in.part];
      backend.copy_rows(part.x, {}, in.features.points, part.student_rows);
      part.unit.forward(backend, part.x, unit_epsilon);
      backend.copy_rows(part.target, {}, x_teacher.unit, part.teacher_rows);
      backend.compare_rows(part.row_loss, part.d, part.unit.unit, part.target, C, in.weight * x_share * x_scale);
      add_total(backend, x_loss.value(), part.row_loss, x_scale);
      backend.l2_normalise_backward(part.d, part.d, part.unit.unit, part.unit.norm, unit_epsilon);
      put_gradients(backend, in.d_features.points, part.student_rows, part.d, in.d_features.adds.points);
    }
    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }

   private:
    struct x_Part {
      std::vector<std::int32_t> student, teacher;  // rows that are compared with each other
      RowIndex student_rows, teacher_rows;
      MatrixView<T> x, target, d;
      UnitRows<T> unit;
      VectorView<T> row_loss;
    };

    Index x_width, x_teacher_rows = 0;
    double x_share, x_scale = 1;
    std::vector<x_Part> x_parts;
    UnitRows<T> x_teacher;
    TermLoss<T> x_loss;
  };
};

}  // namespace dssl
