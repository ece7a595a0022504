// Which student rows are compared with which teacher rows, and how much each counts.
// Tests: tests/loss/view_pairs.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/operands.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Epsilon that the number of view pairs is divided with. Source: the published loss.
inline constexpr double pair_epsilon = 1e-5;

/// One level of the objective (image or point) as lists of rows; the same for every step.
///
/// Rows of the teacher's head and of the student's features are numbered within the level: view-major, then
/// batch, then (point level) partner view, then point.
struct LevelPairs {
  std::vector<std::int32_t> student_rows;  ///< features that go through the student's head, compared ones first
  std::vector<TargetRows> targets;         ///< teacher rows of each of these that is compared
  std::vector<std::int32_t> centre_rows;   ///< teacher rows that the centre averages
  Index teacher_rows = 0;                  ///< features that go through the teacher's head
  Index pairs = 0;                         ///< view pairs (q, v), v != q
  double scale = 0;                        ///< weight of one cross-entropy term: loss = scale * sum
};

/// Has the other student features go through the head too, after those that are compared: with batch norm in the head
/// they have a part in the statistics. `count`: all features of the level.
inline void add_uncompared_rows(LevelPairs& pairs, Index count) {
  std::vector<bool> there(static_cast<std::size_t>(count), false);
  for (const std::int32_t row : pairs.student_rows) there[static_cast<std::size_t>(row)] = true;
  for (Index row = 0; row < count; ++row) {
    if (!there[static_cast<std::size_t>(row)]) pairs.student_rows.push_back(static_cast<std::int32_t>(row));
  }
}

/// What some student features that follow one another have of a level. Their rows are numbered within the part, the
/// teacher's within what the part reads of them.
struct PairsPart {
  std::vector<std::int32_t> student_rows;  ///< as in `LevelPairs`
  std::vector<TargetRows> targets;         ///< as in `LevelPairs`
  std::vector<std::int32_t> centre_rows;   ///< each of the level's is in one part alone
  std::vector<std::int32_t> teacher_rows;  ///< the rows that these number; empty: all of the level
};

/// Cuts a level into parts of so many student features each, one after the other; their numbers add up to the level's.
/// A centre row goes where it is a target first, so that few rows are read for the centre alone; those that are no
/// targets go to the first part. One part is the level as it is.
[[nodiscard]] inline std::vector<PairsPart> split_pairs(const LevelPairs& level, std::span<const Index> features) {
  if (features.size() == 1) return {{level.student_rows, level.targets, level.centre_rows, {}}};
  const auto rows = static_cast<std::size_t>(level.teacher_rows);
  std::vector<bool> is_target(rows, false);
  for (const TargetRows& targets : level.targets) {
    for (const std::int32_t row : targets) {
      if (row >= 0) is_target[static_cast<std::size_t>(row)] = true;
    }
  }
  std::vector<bool> averaged(rows, false);
  std::vector<PairsPart> parts(features.size());
  Index begin = 0;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    PairsPart& part = parts[p];
    std::vector<std::int32_t> numbers(rows, -1);
    const auto number_of = [&](std::int32_t row) {
      if (row < 0) return row;
      std::int32_t& number = numbers[static_cast<std::size_t>(row)];
      if (number < 0) {
        number = static_cast<std::int32_t>(part.teacher_rows.size());
        part.teacher_rows.push_back(row);
      }
      return number;
    };
    const Index end = begin + features[p];
    for (std::size_t i = 0; i < level.student_rows.size(); ++i) {
      const std::int32_t row = level.student_rows[i];
      if (row < begin || row >= end) continue;
      part.student_rows.push_back(static_cast<std::int32_t>(row - begin));
      if (i >= level.targets.size()) continue;
      const TargetRows& targets = level.targets[i];
      const std::int32_t first = number_of(targets[0]);
      part.targets.push_back({first, number_of(targets[1])});
    }
    for (const std::int32_t row : level.centre_rows) {
      const auto at = static_cast<std::size_t>(row);
      const bool here = numbers[at] >= 0 || (p == 0 && !is_target[at]);
      if (!here || averaged[at]) continue;
      averaged[at] = true;
      part.centre_rows.push_back(number_of(row));
    }
    begin = end;
  }
  return parts;
}

/// Image level: the class tokens. Student row (v, b) meets teacher rows (q, b) of both global views q != v.
/// `all_views`: all V student views, else the two global ones.
[[nodiscard]] inline LevelPairs image_pairs(Index views, Index batch, bool all_views,
                                            double epsilon = pair_epsilon) {
  LevelPairs out;
  const Index student_views = all_views ? views : 2;
  out.teacher_rows = 2 * batch;
  for (Index v = 0; v < student_views; ++v) {
    for (Index b = 0; b < batch; ++b) {
      TargetRows targets{-1, -1};
      std::size_t count = 0;
      for (Index q = 0; q < 2; ++q) {
        if (q != v) targets[count++] = static_cast<std::int32_t>(q * batch + b);
      }
      out.student_rows.push_back(static_cast<std::int32_t>(v * batch + b));
      out.targets.push_back(targets);
    }
  }
  for (Index row = 0; row < 2 * batch; ++row) out.centre_rows.push_back(static_cast<std::int32_t>(row));
  out.pairs = 2 * student_views - 2;
  out.scale = 1.0 / (static_cast<double>(batch) * (static_cast<double>(out.pairs) + epsilon));
  return out;
}

/// Point level: K points a view pair. Student row (v, b, q, k) meets teacher row (q, b, v, k), q != v; pairs of
/// a view with itself take no part, but for the centre, which averages the teacher's tokens of the pairs with
/// the two global views, itself included. `all_views`: all V student views, else the two global ones.
[[nodiscard]] inline LevelPairs point_pairs(Index views, Index batch, Index points, bool all_views) {
  LevelPairs out;
  const Index student_views = all_views ? views : 2;
  const auto teacher_row = [&](Index q, Index b, Index v, Index k) {
    return static_cast<std::int32_t>(((q * batch + b) * views + v) * points + k);
  };
  out.teacher_rows = 2 * batch * views * points;
  for (Index v = 0; v < student_views; ++v) {
    for (Index b = 0; b < batch; ++b) {
      for (Index q = 0; q < 2; ++q) {
        if (q == v) continue;
        for (Index k = 0; k < points; ++k) {
          out.student_rows.push_back(static_cast<std::int32_t>(((v * batch + b) * 2 + q) * points + k));
          out.targets.push_back({teacher_row(q, b, v, k), -1});
        }
      }
    }
  }
  for (Index q = 0; q < 2; ++q) {
    for (Index b = 0; b < batch; ++b) {
      for (Index v = 0; v < 2; ++v) {
        for (Index k = 0; k < points; ++k) out.centre_rows.push_back(teacher_row(q, b, v, k));
      }
    }
  }
  out.pairs = 2 * student_views - 2;
  out.scale =
      1.0 / (static_cast<double>(batch * points) * (static_cast<double>(out.pairs) + pair_epsilon));
  return out;
}

}  // namespace dssl
