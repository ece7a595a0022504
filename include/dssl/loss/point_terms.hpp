// Features of shared points held to a teacher's as they are, without a head: the dense counterpart of imitation.
// Tests: tests/train/catalogue.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/loss/view_pairs.hpp>

namespace dssl {

/// The student's features of a point and the EMA teacher's of the same point in a global view, as unit vectors:
///
///   loss = mean over images, points and pairs (q, v), v != q, of sum_d f(unit(s)_d, unit(t)_d), f by `C` (Huber's)
///
/// Where points may not be valid the mean is over those that are, of the whole pass over all ranks, and 0 where none is.
/// Features alone can agree by all being alike: a term beside others, not a method. Any token scheme with points.
template <Comparison C = Comparison::smooth_l1>
struct PointAgreement {
  static constexpr std::string_view name = "point-agreement";
  static constexpr Reads reads{{.points = true}, {.points = true}};
  static constexpr Whole whole = Whole::row;
  static constexpr bool spans_ranks = true;
  static constexpr bool skips_points = true;
  using Teacher = Ema;
  using Options = NoOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    Run(const TermSetting& s, const Options& /*options*/)
        : x_width(s.width), x_share(s.share), x_checked(s.checked_points), x_ranks(s.ranks) {
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
        const auto rows = static_cast<Index>(part.student.size());
        if (x_checked) {
          part.set_student_rows = arena.vector<std::int32_t>(rows);
          part.set_teacher_rows = arena.vector<std::int32_t>(rows);
        } else {
          part.student_rows = place_copy(backend, arena, part.student);
          part.teacher_rows = place_copy(backend, arena, part.teacher);
        }
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

    /// The points that are valid in the pass that comes: their rows are compared, and no others.
    void set_valid(const B& backend, std::span<const std::uint8_t> valid) {
      double count = 0;
      for (x_Part& part : x_parts) {
        x_student_host.clear();
        x_teacher_host.clear();
        for (std::size_t i = 0; i < part.student.size(); ++i) {
          if (!valid.empty() && valid[static_cast<std::size_t>(part.teacher[i])] == 0) continue;
          x_student_host.push_back(part.student[i]);
          x_teacher_host.push_back(part.teacher[i]);
        }
        const auto rows = static_cast<Index>(x_student_host.size());
        backend.upload(part.set_student_rows.data(), std::span<const std::int32_t>(x_student_host));
        backend.upload(part.set_teacher_rows.data(), std::span<const std::int32_t>(x_teacher_host));
        part.student_rows = RowIndex(part.set_student_rows.data(), rows);
        part.teacher_rows = RowIndex(part.set_teacher_rows.data(), rows);
        count += static_cast<double>(rows);
      }
      x_ranks.all_sum(std::span<double>(&count, 1));
      x_scale = count > 0 ? static_cast<double>(x_ranks.size()) / count : 0;
    }
    [[nodiscard]] bool repeats() const { return !x_checked; }

    void teacher(const B& backend, const TeacherPass<PointAgreement, T>& in) const {
      x_teacher.forward(backend, in.features.points, unit_epsilon);
    }
    void student(const B& backend, const StudentPass<PointAgreement, T>& in) const {
      if (in.part == 0) x_loss.clear(backend);
      const x_Part& part = x_parts[in.part];
      const Index rows = part.student_rows.size();
      if (rows == 0) return;
      const MatrixView<T> x = part.x.rows(0, rows), target = part.target.rows(0, rows), d = part.d.rows(0, rows);
      const UnitRows<T> unit = part.unit.first(rows);
      const VectorView<T> row_loss(part.row_loss.data(), rows);
      backend.copy_rows(x, {}, in.features.points, part.student_rows);
      unit.forward(backend, x, unit_epsilon);
      backend.copy_rows(target, {}, x_teacher.unit, part.teacher_rows);
      backend.compare_rows(row_loss, d, unit.unit, target, C, in.weight * x_share * x_scale);
      add_total(backend, x_loss.value(), row_loss, x_scale);
      backend.l2_normalise_backward(d, d, unit.unit, unit.norm, unit_epsilon);
      put_gradients(backend, in.d_features.points, part.student_rows, d, in.d_features.adds.points);
    }
    void start(TermReport& report) const {
      if (x_checked) report.counted = 0;
    }
    void add_to(const B& backend, TermReport& report) const {
      x_loss.add_to(backend, report, x_share);
      if (x_checked && x_scale > 0) report.counted += x_share;
    }

   private:
    struct x_Part {
      std::vector<std::int32_t> student, teacher;  // rows that are compared with each other, by the part and by the whole pass
      RowIndex student_rows, teacher_rows;         // those of them that are compared in this pass
      VectorView<std::int32_t> set_student_rows, set_teacher_rows;  // where points may not be valid
      MatrixView<T> x, target, d;
      UnitRows<T> unit;
      VectorView<T> row_loss;
    };

    Index x_width, x_teacher_rows = 0;
    double x_share, x_scale = 1;
    bool x_checked;  // whether points may not be valid
    Communicator x_ranks;
    std::vector<x_Part> x_parts;
    std::vector<std::int32_t> x_student_host, x_teacher_host;
    UnitRows<T> x_teacher;
    TermLoss<T> x_loss;
  };
};

}  // namespace dssl
