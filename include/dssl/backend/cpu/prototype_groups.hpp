// Cpu backend: which rows go through the prototypes together, and which of them meet.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/operands.hpp>
#include <dssl/core/arena.hpp>

namespace dssl::cpu::inline DSSL_ISA::detail {

/// How the work over P prototypes and M student rows is cut.
///
/// Student rows go through in groups, each with the teacher rows that it is compared with, so that what is held at
/// once has a bound. A task takes some prototypes of a group, in blocks whose prototypes and gradients stay in L2.
struct PrototypeCut {
  static constexpr Index block = 48;       ///< prototypes whose products are made at once: whole tiles
  static constexpr Index most_rows = 96;   ///< student rows a group

  Index prototypes = 0;
  Index task = 0;   ///< prototypes a task
  Index tasks = 0;
  Index rows = 0;   ///< student rows a group
  Index groups = 0;

  PrototypeCut(Index prototypes_, Index student_rows) : prototypes(prototypes_) {
    task = std::max(Index{1}, (prototypes / 64 + block - 1) / block) * block;
    tasks = (prototypes + task - 1) / task;
    groups = std::max(Index{1}, (student_rows + most_rows - 1) / most_rows);
    rows = (student_rows + groups - 1) / groups;
  }
};

/// The student rows of all groups, one after the other: those with the same targets side by side.
inline void order_by_target(std::span<std::int32_t> order, std::span<const TargetRows> targets) {
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  const auto key = [&](std::int32_t i) { return std::pair(std::ranges::max(targets[static_cast<std::size_t>(i)]), i); };
  std::ranges::sort(order, {}, key);
}

/// Which column of a group's teacher rows each of its student rows is compared with.
struct TargetColumns {
  std::span<std::int32_t> column_of;                    ///< (N) a teacher row's column; -1: none
  std::span<std::int32_t> teacher_rows;                 ///< a column's teacher row
  std::array<std::span<std::int32_t>, 2> of_student;    ///< column of a student's first and second target; -1: none
  Index columns = 0;
  Index slots = 0;        ///< targets of the student that has most
  bool in_order = false;  ///< every student's only target has the student's own column

  /// Before the first group.
  void clear() {
    std::ranges::fill(column_of, -1);
    columns = 0;
  }

  void assign(std::span<const std::int32_t> students, std::span<const TargetRows> targets) {
    for (const std::int32_t row : teacher_rows.first(static_cast<std::size_t>(columns)))  // of the group before
      column_of[static_cast<std::size_t>(row)] = -1;
    columns = 0;
    slots = 0;
    in_order = true;
    for (std::size_t i = 0; i < students.size(); ++i) {
      std::size_t slot = 0;
      of_student[0][i] = of_student[1][i] = -1;
      for (const std::int32_t row : targets[static_cast<std::size_t>(students[i])]) {
        if (row < 0) continue;
        std::int32_t& column = column_of[static_cast<std::size_t>(row)];
        if (column < 0) {
          column = static_cast<std::int32_t>(columns++);
          teacher_rows[static_cast<std::size_t>(column)] = row;
        }
        of_student[slot++][i] = column;
      }
      slots = std::max(slots, static_cast<Index>(slot));
      in_order = in_order && slot == 1 && of_student[0][i] == static_cast<std::int32_t>(i);
    }
    in_order = in_order && slots == 1;
  }
};

/// Rows sorted into groups: which students, and which columns their targets get.
struct RowGroups {
  std::span<std::int32_t> order;  ///< (M) students of all groups, one after the other
  TargetColumns columns;          ///< of one group

  static RowGroups take(Arena& arena, const PrototypeCut& cut, Index student_rows, Index teacher_rows) {
    const auto numbers = [&](Index count) {
      return std::span(arena.take<std::int32_t>(count), static_cast<std::size_t>(count));
    };
    RowGroups groups;
    groups.order = numbers(student_rows);
    groups.columns.column_of = numbers(teacher_rows);
    groups.columns.teacher_rows = numbers(std::min(teacher_rows, 2 * cut.rows));
    for (auto& of_student : groups.columns.of_student) of_student = numbers(cut.rows);
    return groups;
  }

  /// The students of one group; `columns` is theirs then.
  std::span<const std::int32_t> begin_group(const PrototypeCut& cut, Index group,
                                            std::span<const TargetRows> targets) {
    const auto begin = static_cast<std::size_t>(group * cut.rows);
    const auto students = order.subspan(begin, std::min(order.size() - begin, static_cast<std::size_t>(cut.rows)));
    columns.assign(students, targets);
    return students;
  }

  /// Sorts the students and gives the largest number of teacher rows that a group is compared with.
  Index sort(const PrototypeCut& cut, std::span<const TargetRows> targets) {
    order_by_target(order, targets);
    columns.clear();
    Index most = 0;
    for (Index group = 0; group < cut.groups; ++group) {
      begin_group(cut, group, targets);
      most = std::max(most, columns.columns);
    }
    return most;
  }
};

}  // namespace dssl::cpu::inline DSSL_ISA::detail
