// Cpu backend: from unit vectors over prototypes and cross-entropy to gradients, without the logits of all rows.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <tuple>
#include <utility>

#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/loss.hpp>
#include <dssl/backend/cpu/memory.hpp>
#include <dssl/backend/cpu/prototype_groups.hpp>
#include <dssl/backend/cpu/prototype_products.hpp>
#include <dssl/backend/cpu/softmax_parts.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>

namespace dssl::cpu::inline DSSL_ISA {

namespace detail {

/// The fused loss of one call. Two sweeps over the prototypes a group of rows:
///  1. logits of both sides, kept as e = exp((z - largest of the task) / temperature), with the sums that softmax,
///     cross-entropy and entropy need: every prototype is read once, every exponential is taken once;
///  2. gradients of the logits, a block at a time, which go at once into those of prototypes and unit vectors.
/// Sums of tasks are combined in the order of the tasks.
template <class T>
class PrototypeLoss {
 public:
  /// `groups`, taken from `arena` before, and sorted: `columns` is what `sort` gave.
  PrototypeLoss(Arena& arena, const PrototypeCut& cut, const RowGroups& groups, Index columns, Index width)
      : x_cut(cut), x_width(width), x_groups(groups) {
    const Index students = padded<T>(cut.rows);
    const Index teachers = padded<T>(columns + 1);  // and the sum of the centre's rows
    x_student = PrototypeProducts<T>::take(arena, cut.rows, width);
    x_teacher = PrototypeProducts<T>::take(arena, columns + 1, width);
    x_e_student = arena.take<T>(cut.prototypes * students);
    x_e_teacher = arena.take<T>(cut.prototypes * teachers);
    x_inverse_norm = arena.vector<T>(cut.prototypes);
    x_student_parts = SoftmaxParts<T>::take(arena, cut.tasks, students);
    x_teacher_parts = SoftmaxParts<T>::take(arena, cut.tasks, teachers);
    x_spread_of_teacher = arena.matrix<T>(cut.tasks, teachers);
    for (std::size_t slot = 0; slot < 2; ++slot) {
      x_shared[slot] = arena.matrix<T>(cut.tasks, students);
      x_target_weight[slot] = arena.matrix<T>(cut.tasks, students);
    }
    x_d_unit_parts = arena.take<T>(cut.tasks * cut.rows * width);
  }

  void run(Workers& workers, const PrototypeLossResult<T>& out, const PrototypeRows<T>& student,
           const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets, const PrototypeLossNumbers& numbers) {
    const std::span<const TargetRows> rows = targets.rows.flat();
    workers.reserve(x_cut_scratch(nullptr).bytes);
    for (Index group = 0; group < x_cut.groups; ++group) {
      x_students = x_groups.begin_group(x_cut, group, rows);
      x_pack(student, teacher, targets, group == 0);
      const Index work = x_cut.prototypes * x_width / 64;
      workers.run(x_cut.tasks, work * (x_student.lanes() + x_teacher.lanes()), [&](Index task, std::size_t slot) {
        x_first_sweep(task, workers.scratch(slot), out, student, teacher, targets, numbers);
      });
      x_combine(out, targets.weights, numbers);
      workers.run(x_cut.tasks, work * 2 * x_student.lanes(), [&](Index task, std::size_t slot) {
        x_second_sweep(task, workers.scratch(slot), out, student);
      });
      x_add_parts(workers, out.d_unit);
    }
  }

 private:
  /// A thread's scratch.
  struct Scratch {
    T* d_logits = nullptr;     // (block, students)
    T* d_w = nullptr;          // (block, D)
    T* packed = nullptr;       // of the products
    std::array<T*, 2> targets{};  // (block, students)
    std::size_t bytes = 0;
  };
  Scratch x_cut_scratch(const Buffer* buffer) const {
    Arena arena = buffer == nullptr ? Arena() : Arena(*buffer);
    constexpr Index block = PrototypeCut::block;
    const Index students = padded<T>(x_cut.rows);
    Scratch s;
    s.d_logits = arena.take<T>(block * students);
    s.d_w = arena.take<T>(block * x_width);
    s.packed = arena.take<T>(PrototypeProducts<T>::scratch(block, x_width));
    for (T*& t : s.targets) t = arena.take<T>(block * students);
    s.bytes = arena.high_water();
    return s;
  }

  void x_pack(const PrototypeRows<T>& student, const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
              bool with_centre) {
    const auto students = static_cast<Index>(x_students.size());
    const Index columns = x_groups.columns.columns;
    for (Index i = 0; i < students; ++i) {
      std::copy_n(student.unit.row(x_students[static_cast<std::size_t>(i)]), x_width, x_student.row(i));
    }
    for (Index i = 0; i < columns; ++i) {
      const std::int32_t row = x_groups.columns.teacher_rows[static_cast<std::size_t>(i)];
      std::copy_n(teacher.unit.row(row), x_width, x_teacher.row(i));
    }
    x_centre_column = with_centre ? columns : -1;
    if (with_centre) {
      // The mean of logits is the logit of the mean: one row instead of many.
      T* sum = x_teacher.row(x_centre_column);
      const Index count = targets.centre_rows.empty() ? teacher.unit.rows() : targets.centre_rows.size();
      for (Index d = 0; d < x_width; ++d) {
        double total = 0;
        for (Index i = 0; i < count; ++i) total += static_cast<double>(teacher.unit(row_at(targets.centre_rows, i), d));
        sum[d] = static_cast<T>(total);
      }
    }
    x_student.pack(students, true);
    x_teacher.pack(columns + (with_centre ? 1 : 0), false);
  }

  /// z (count, lanes) = logits of a block of prototypes, less `centre` where there is one; most = max(most, z).
  /// `seen(r, |v|, logits of prototype r, their scale)` comes before.
  template <class Seen>
  void x_logits(T* z, const PrototypeProducts<T>& rows, const PrototypeRows<T>& side, Index first, Index count,
                const T* centre, T* most, const Seen& seen) const {
    const Index lanes = rows.lanes();
    // Norms first: this pass reads the block in the order of memory, the product then finds it in cache (31 instead
    // of 41 ms for the whole call where it waits for memory most, 4 rows on 65 536 x 256).
    std::array<double, PrototypeCut::block> norm;
    for (Index r = 0; r < count; ++r) norm[static_cast<std::size_t>(r)] = length(side.v.row(first + r), x_width);
    rows.logits(z, lanes, side.v.row(first), count);
    std::array<T, PrototypeCut::block> scales;
    for (Index r = 0; r < count; ++r) {
      const double n = norm[static_cast<std::size_t>(r)];
      const double scale = (side.g.empty() ? 1.0 : static_cast<double>(side.g(first + r))) / n;
      scales[static_cast<std::size_t>(r)] = static_cast<T>(scale);
      seen(r, n, z + r * lanes, scale);
    }
    for (Index j = 0; j < lanes; j += lane_count<T>) {
      Lanes<T> largest = load(most + j);
      for (Index r = 0; r < count; ++r) {
        const auto shift = spread(centre == nullptr ? T{0} : -centre[r]);
        const Lanes<T> x = multiply_add(Lanes<T>(load(z + r * lanes + j)),
                                        Lanes<T>(spread(scales[static_cast<std::size_t>(r)])), Lanes<T>(shift));
        store(z + r * lanes + j, x);
        largest = Eigen::internal::pmax(x, largest);
      }
      store(most + j, largest);
    }
  }

  void x_first_sweep(Index task, const Buffer& memory, const PrototypeLossResult<T>& out,
                     const PrototypeRows<T>& student, const PrototypeRows<T>& teacher,
                     const PrototypeTargets<T>& targets, const PrototypeLossNumbers& numbers) {
    const Index begin = task * x_cut.task;
    const Index end = std::min(x_cut.prototypes, begin + x_cut.task);
    const Index t_lanes = x_teacher.lanes();
    const Index s_lanes = x_student.lanes();
    T* t_most = x_teacher_parts.most.row(task);
    T* s_most = x_student_parts.most.row(task);
    std::fill_n(t_most, t_lanes, std::numeric_limits<T>::lowest());
    std::fill_n(s_most, s_lanes, std::numeric_limits<T>::lowest());
    for (Index p = begin; p < end; p += PrototypeCut::block) {
      const Index count = std::min(PrototypeCut::block, end - p);
      x_logits(x_e_teacher + p * t_lanes, x_teacher, teacher, p, count, targets.centre.data() + p, t_most,
               [&](Index r, double, const T* logits, double scale) {
                 if (x_centre_column < 0) return;
                 const auto sum = static_cast<double>(logits[x_centre_column]);
                 out.centre_sum(p + r) += static_cast<T>(numbers.centre_share * scale * sum);
               });
      x_logits(x_e_student + p * s_lanes, x_student, student, p, count, nullptr, s_most,
               [&](Index r, double norm, auto...) { x_inverse_norm(p + r) = static_cast<T>(1.0 / norm); });
    }
    // Teacher: e, sum e and sum e (z - most).
    const auto t_inverse = spread(static_cast<T>(1.0 / numbers.teacher_temperature));
    for (Index j = 0; j < t_lanes; j += lane_count<T>) {
      const auto most = load(t_most + j);
      Lanes<T> total = spread(T{0});
      T* e = x_e_teacher + begin * t_lanes + j;
      const Lanes<T> dot = exponentials_down<T>(total, e, t_lanes, end - begin, most, t_inverse);
      store(x_teacher_parts.total.row(task) + j, total);
      store(x_spread_of_teacher.row(task) + j, dot);
    }
    // Student: e, sum e, and sum e_teacher (z - most) for each target.
    const auto s_inverse = spread(static_cast<T>(1.0 / numbers.student_temperature));
    for (Index slot = 0; slot < x_groups.columns.slots; ++slot) {
      std::fill_n(x_shared[static_cast<std::size_t>(slot)].row(task), s_lanes, T{0});
    }
    for (Index p = begin; p < end; p += PrototypeCut::block) {
      const Index count = std::min(PrototypeCut::block, end - p);
      const Scratch scratch = x_cut_scratch(&memory);
      for (Index slot = 0; slot < x_groups.columns.slots; ++slot) {
        const auto [e_teacher, stride] = x_targets(slot, p, count, scratch);
        T* shared = x_shared[static_cast<std::size_t>(slot)].row(task);
        for (Index j = 0; j < s_lanes; j += lane_count<T>) {
          const auto most = load(s_most + j);
          const T* z = x_e_student + p * s_lanes + j;
          const T* t = e_teacher + j;
          store(shared + j, Lanes<T>(load(shared + j) + sum_down<T>(count, [&, stride = stride](Index r) {
                                       return Lanes<T>(load(t + r * stride) * (load(z + r * s_lanes) - most));
                                     })));
        }
      }
    }
    for (Index j = 0; j < s_lanes; j += lane_count<T>) {
      Lanes<T> total = spread(T{0});
      static_cast<void>(exponentials_down<T>(total, x_e_student + begin * s_lanes + j, s_lanes, end - begin,
                                             load(s_most + j), s_inverse));
      store(x_student_parts.total.row(task) + j, total);
    }
  }

  /// A block of the teacher's e with a student's target in the student's lane, and its stride.
  std::pair<const T*, Index> x_targets(Index slot, Index first, Index count, const Scratch& scratch) const {
    const Index t_lanes = x_teacher.lanes();
    const T* e = x_e_teacher + first * t_lanes;
    if (x_groups.columns.in_order) return {e, t_lanes};
    const Index s_lanes = x_student.lanes();
    T* out = scratch.targets[static_cast<std::size_t>(slot)];
    const std::span<const std::int32_t> column = x_groups.columns.of_student[static_cast<std::size_t>(slot)];
    const auto students = static_cast<Index>(x_students.size());
    for (Index r = 0; r < count; ++r) {
      for (Index i = 0; i < students; ++i) {
        const std::int32_t c = column[static_cast<std::size_t>(i)];
        out[r * s_lanes + i] = c < 0 ? T{0} : e[r * t_lanes + c];
      }
      std::fill_n(out + r * s_lanes + students, s_lanes - students, T{0});
    }
    return {out, s_lanes};
  }

  /// Sums of all tasks -> loss and entropy, and what e is multiplied with to give the gradients of the logits.
  void x_combine(const PrototypeLossResult<T>& out, VectorView<const T> weights, const PrototypeLossNumbers& numbers) {
    for (Index c = 0; c < x_groups.columns.columns; ++c) {
      double total = 0;
      double dot = 0;
      over_tasks(x_teacher_parts, c, numbers.teacher_temperature, [&](Index task, double factor, double below) {
        const auto part = static_cast<double>(x_teacher_parts.total(task, c));
        total += factor * part;
        dot += factor * (static_cast<double>(x_spread_of_teacher(task, c)) + below * part);
        x_teacher_parts.weight(task, c) = static_cast<T>(factor);
      });
      for (Index task = 0; task < x_cut.tasks; ++task) {
        x_teacher_parts.weight(task, c) =
            static_cast<T>(static_cast<double>(x_teacher_parts.weight(task, c)) / total);
      }
      out.entropy(x_groups.columns.teacher_rows[static_cast<std::size_t>(c)]) =
          static_cast<T>(std::log(total) - dot / total / numbers.teacher_temperature);
    }
    for (std::size_t slot = 0; slot < static_cast<std::size_t>(x_groups.columns.slots); ++slot) {
      std::fill_n(x_target_weight[slot].data(), x_target_weight[slot].size(), T{0});
    }
    std::fill_n(x_student_parts.weight.data(), x_student_parts.weight.size(), T{0});
    for (Index i = 0; i < static_cast<Index>(x_students.size()); ++i) {
      double total = 0;
      double shared = 0;  // sum over targets and prototypes of p (z - largest)
      Index seen = 0;
      double scale = numbers.scale / numbers.student_temperature;
      if (!weights.empty()) scale *= static_cast<double>(weights(x_students[static_cast<std::size_t>(i)]));
      for (const auto& column : x_groups.columns.of_student) seen += column[static_cast<std::size_t>(i)] >= 0 ? 1 : 0;
      over_tasks(x_student_parts, i, numbers.student_temperature, [&](Index task, double factor, double below) {
        total += factor * static_cast<double>(x_student_parts.total(task, i));
        x_student_parts.weight(task, i) = static_cast<T>(factor);
        for (std::size_t slot = 0; slot < static_cast<std::size_t>(seen); ++slot) {
          const std::int32_t c = x_groups.columns.of_student[slot][static_cast<std::size_t>(i)];
          const auto weight = static_cast<double>(x_teacher_parts.weight(task, c));
          shared += weight * (static_cast<double>(x_shared[slot](task, i)) +
                              below * static_cast<double>(x_teacher_parts.total(task, c)));
          x_target_weight[slot](task, i) = static_cast<T>(scale * weight);
        }
      });
      const auto count = static_cast<double>(seen);
      for (Index task = 0; task < x_cut.tasks; ++task) {
        T& weight = x_student_parts.weight(task, i);
        weight = static_cast<T>(scale * count * static_cast<double>(weight) / total);
      }
      out.loss(x_students[static_cast<std::size_t>(i)]) =
          static_cast<T>(count * std::log(total) - shared / numbers.student_temperature);
    }
  }

  void x_second_sweep(Index task, const Buffer& memory, const PrototypeLossResult<T>& out,
                      const PrototypeRows<T>& student) {
    const Index begin = task * x_cut.task;
    const Index end = std::min(x_cut.prototypes, begin + x_cut.task);
    const Index lanes = x_student.lanes();
    const Scratch scratch = x_cut_scratch(&memory);
    T* d_unit = x_d_unit_parts + task * x_student.count() * x_width;
    for (Index p = begin; p < end; p += PrototypeCut::block) {
      const Index count = std::min(PrototypeCut::block, end - p);
      x_d_logits(task, p, count, scratch);
      x_student.gradient_of_prototypes(scratch.d_w, scratch.d_logits, lanes, count);
      for (Index r = 0; r < count; ++r) {
        const T dot = add_through_norm(out.d_v.row(p + r), scratch.d_w + r * x_width, student.v.row(p + r), x_width,
                                       student.g.empty() ? T{1} : student.g(p + r), x_inverse_norm(p + r));
        if (!out.d_g.empty()) out.d_g(p + r) += dot;
      }
      for (Index r = 0; !student.g.empty() && r < count; ++r) {
        if (student.g(p + r) == T{1}) continue;
        const auto g = spread(student.g(p + r));
        T* row = scratch.d_logits + r * lanes;
        map(row, lanes, [&](const auto& d) { return d * g; }, row);
      }
      x_student.gradient_of_rows(d_unit, scratch.d_logits, lanes, student.v.row(p), count,
                                 p == begin ? Onto::assign : Onto::sum, scratch.packed);
    }
  }

  /// Gradients of a block's logits, divided by |v|.
  void x_d_logits(Index task, Index first, Index count, const Scratch& scratch) const {
    const Index lanes = x_student.lanes();
    std::array<const T*, 2> e_teacher{};
    std::array<Index, 2> stride{};
    for (Index slot = 0; slot < x_groups.columns.slots; ++slot) {
      const auto at = static_cast<std::size_t>(slot);
      std::tie(e_teacher[at], stride[at]) = x_targets(slot, first, count, scratch);
    }
    for (Index j = 0; j < lanes; j += lane_count<T>) {
      const auto of_student = load(x_student_parts.weight.row(task) + j);
      const auto of_first = load(x_target_weight[0].row(task) + j);
      const auto of_second = load(x_target_weight[1].row(task) + j);
      for (Index r = 0; r < count; ++r) {
        Lanes<T> d = of_student * load(x_e_student + (first + r) * lanes + j);
        if (x_groups.columns.slots > 0) d = d - of_first * load(e_teacher[0] + r * stride[0] + j);
        if (x_groups.columns.slots > 1) d = d - of_second * load(e_teacher[1] + r * stride[1] + j);
        store(scratch.d_logits + r * lanes + j, Lanes<T>(d * spread(x_inverse_norm(first + r))));
      }
    }
  }

  void x_add_parts(Workers& workers, MatrixView<T> d_unit) const {
    const auto count = static_cast<Index>(x_students.size());
    workers.run_pieces(count, 4, count * x_width * x_cut.tasks / 8, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        T* row = d_unit.row(x_students[static_cast<std::size_t>(i)]);
        std::copy_n(x_d_unit_parts + i * x_width, x_width, row);
        for (Index task = 1; task < x_cut.tasks; ++task) {
          map(row, x_width, [](const auto& a, const auto& b) { return a + b; }, row,
              static_cast<const T*>(x_d_unit_parts) + (task * count + i) * x_width);
        }
      }
    });
  }

  PrototypeCut x_cut;
  Index x_width;
  RowGroups x_groups;
  std::span<const std::int32_t> x_students;  // of the running group
  Index x_centre_column = -1;
  PrototypeProducts<T> x_student, x_teacher;
  T* x_e_student;  // (P, lanes of a group's students)
  T* x_e_teacher;  // (P, lanes of a group's targets)
  VectorView<T> x_inverse_norm;  // (P) of the student's prototypes
  SoftmaxParts<T> x_student_parts, x_teacher_parts;
  MatrixView<T> x_spread_of_teacher;              // (tasks, lanes) sum e (z - most)
  std::array<MatrixView<T>, 2> x_shared;          // (tasks, lanes) sum e_teacher (z_student - most)
  std::array<MatrixView<T>, 2> x_target_weight;   // (tasks, lanes) what a target's e is multiplied with
  T* x_d_unit_parts;                              // (tasks, students, D)
};

}  // namespace detail

/// Bytes that `prototype_loss` works in: about 2 P numbers for each of at most 96 rows.
template <class T>
[[nodiscard]] std::size_t prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                   Index prototypes, Index width) {
  const auto rows = static_cast<Index>(targets.size());
  const detail::PrototypeCut cut(prototypes, rows);
  Arena measure;
  static_cast<void>(detail::RowGroups::take(measure, cut, rows, teacher_rows));
  // The number of columns takes sorting, which takes memory.
  Arena sizes = measure;
  const Buffer buffer = allocate(sizes.high_water());
  Arena live(buffer);
  const Index columns = detail::RowGroups::take(live, cut, rows, teacher_rows).sort(cut, targets);
  static_cast<void>(detail::PrototypeLoss<T>(measure, cut, {}, columns, width));
  return measure.high_water();
}

/// The contract is backend/concept.hpp's.
///
/// Cost: 2 (N' + 3 M) P D FLOP, N' the targets of each group of at most 96 student rows, rounded up to whole
/// registers; 5 P D numbers moved a group and 4 P a row. Nothing is allocated.
/// Test: "Cpu loss over prototypes holds to the oracle".
template <class T>
void prototype_loss(Workers& workers, const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                    const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                    const PrototypeLossNumbers& numbers, VectorView<std::byte> workspace) {
  const Index rows = student.unit.rows();
  const Index prototypes = student.v.rows();
  const Index width = student.v.cols();
  require_shape(student.unit.cols() == width && teacher.unit.cols() == width && teacher.v.rows() == prototypes &&
                    teacher.v.cols() == width && targets.rows.size() == rows && targets.centre.size() == prototypes &&
                    (targets.weights.empty() || targets.weights.size() == rows),
                "prototype_loss: student ", rows, " x ", student.unit.cols(), " on ", prototypes, " x ", width,
                ", teacher ", teacher.unit.rows(), " x ", teacher.unit.cols(), " on ", teacher.v.rows(), " x ",
                teacher.v.cols(), ", ", targets.rows.size(), " targets, ", targets.weights.size(), " weights, centre ",
                targets.centre.size());
  const detail::PrototypeCut cut(prototypes, rows);
  const Buffer bytes(workspace.data(), static_cast<std::size_t>(workspace.size()), [](std::byte*) {});
  Arena arena(bytes);
  detail::RowGroups groups = detail::RowGroups::take(arena, cut, rows, teacher.unit.rows());
  const Index columns = groups.sort(cut, targets.rows.flat());
  detail::PrototypeLoss<T>(arena, cut, groups, columns, width)
      .run(workers, result, student, teacher, targets, numbers);
}

}  // namespace dssl::cpu::inline DSSL_ISA
