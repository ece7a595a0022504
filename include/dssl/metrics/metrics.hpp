// How well scores rank positives (defects) above negatives.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/metrics/score_tally.hpp>

namespace dssl {

// Everywhere: an alarm is a score of at least the threshold; equal scores raise it together. All metrics are
// exact for a tally that is `exact()`, up to the rounding of sums in double. What needs both positives and
// negatives throws `DataError` that says which are missing. Cost O(n log n) to sort, once a tally.

namespace detail {

template <class Score, class Label>
[[nodiscard]] ScoreTally tally_of(std::span<const Score> scores, std::span<const Label> labels) {
  ScoreTally tally({.distinct = std::max<Index>(4096, static_cast<Index>(scores.size()))});
  tally.add(scores, labels);
  return tally;
}

}  // namespace detail

/// Area under the ROC curve up to a share `limit` of false alarms, over that share: in [0, 1].
///
///   (1 / limit) integral of recall over the false-alarm rate from 0 to limit
///
/// by trapezia: equal scores make one straight piece. limit 1: the probability that a positive scores above a
/// negative, ties counting one half. Throws `DataError` for a set of one kind, `OptionError` for a limit
/// outside (0, 1]. Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, for the limit.
/// Test: evaluation.safetensors, and slow counts of pairs (tests/metrics/metrics.cpp).
[[nodiscard]] inline double auroc(const ScoreTally& tally, double limit = 1.0) {
  if (!(limit > 0 && limit <= 1)) throw OptionError("limit", limit, "above 0, up to 1");
  tally.require_both();
  const double end = limit * tally.negatives();
  double recalled = 0;
  double alarms = 0;
  double area = 0;
  tally.each_group([&](double, double positives, double negatives) {
    const double width = std::min(negatives, std::max(0.0, end - alarms));
    const double share = negatives > 0 ? width / negatives : 0.0;
    area += width * (recalled + 0.5 * share * positives);
    recalled += positives;
    alarms += negatives;
  });
  return std::min(1.0, area / (tally.positives() * end));
}

/// The most by which `auroc(tally, limit)` may be off because bits of the scores were dropped; 0 for an exact
/// tally. Half the pairs of positives and negatives that can no longer be told apart, as a share of all
/// (where the limit cuts a group, all its pairs below the limit). Throws as `auroc`.
[[nodiscard]] inline double auroc_error(const ScoreTally& tally, double limit = 1.0) {
  if (!(limit > 0 && limit <= 1)) throw OptionError("limit", limit, "above 0, up to 1");
  tally.require_both();
  if (tally.exact()) return 0;
  const double end = limit * tally.negatives();
  double alarms = 0;
  double area = 0;
  tally.each_group([&](double, double positives, double negatives) {
    const double width = std::min(negatives, std::max(0.0, end - alarms));
    area += width * positives * (width < negatives ? 1.0 : 0.5);
    alarms += negatives;
  });
  return area / (tally.positives() * end);
}

/// Average precision: sum over thresholds of (gain in recall) x precision, in (0, 1]; no interpolation.
///
/// Throws `DataError` where there are no positives, or nothing but positives. Test: as `auroc`.
[[nodiscard]] inline double average_precision(const ScoreTally& tally) {
  tally.require_both();
  double recalled = 0;
  double alarms = 0;
  double area = 0;
  tally.each_group([&](double, double positives, double negatives) {
    recalled += positives;
    alarms += positives + negatives;
    area += positives * recalled / alarms;
  });
  return area / tally.positives();
}

/// One threshold, and what it does.
struct OperatingPoint {
  double threshold = std::numeric_limits<double>::infinity();  ///< alarm: score >= threshold
  double recall = 0;                                           ///< share of the positives that raise an alarm
  double false_alarms = 0;                                     ///< share of the negatives that do
  double precision = 1;  ///< share of the alarms that are positives; 1 where there is none
  /// Share of the positives that go unnoticed.
  [[nodiscard]] double missed() const { return 1 - recall; }
  /// Harmonic mean of precision and recall; 0 where either is.
  [[nodiscard]] double f1() const {
    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0.0;
  }
};

/// Calls point(OperatingPoint) for each different threshold, from no alarm (an infinite one) to all alarms.
/// Throws `DataError`.
template <class Point>
void each_operating_point(const ScoreTally& tally, const Point& point) {
  tally.require_both();
  double recalled = 0;
  double alarms = 0;
  point(OperatingPoint{});
  tally.each_group([&](double threshold, double positives, double negatives) {
    recalled += positives;
    alarms += negatives;
    point(OperatingPoint{.threshold = threshold,
                         .recall = std::min(1.0, recalled / tally.positives()),
                         .false_alarms = std::min(1.0, alarms / tally.negatives()),
                         .precision = recalled / (recalled + alarms)});
  });
}

/// All operating points: the ROC curve (false_alarms, recall) and the precision-recall curve in one.
[[nodiscard]] inline std::vector<OperatingPoint> operating_points(const ScoreTally& tally) {
  std::vector<OperatingPoint> points;
  each_operating_point(tally, [&](const OperatingPoint& point) { points.push_back(point); });
  return points;
}

/// The threshold with the largest F1 = 2 precision recall / (precision + recall); the highest among equals.
///
/// It is chosen with knowledge of the labels: what it promises, no threshold set beforehand will keep.
/// Throws `DataError`. Test: tests/metrics/metrics.cpp.
[[nodiscard]] inline OperatingPoint best_f1(const ScoreTally& tally) {
  OperatingPoint best;
  each_operating_point(tally, [&](const OperatingPoint& point) {
    if (point.f1() > best.f1()) best = point;
  });
  return best;
}

/// The lowest threshold that at most a share `rate` of the negatives reaches: `missed()` is the share of
/// defects that go unnoticed at that price. Where the highest scores are of more negatives than that, nothing
/// raises an alarm and all are missed. rate in [0, 1]. Throws `DataError`, `OptionError`.
/// Test: tests/metrics/metrics.cpp.
[[nodiscard]] inline OperatingPoint at_false_alarms(const ScoreTally& tally, double rate) {
  if (!(rate >= 0 && rate <= 1)) throw OptionError("rate", rate, "0 to 1");
  OperatingPoint best;
  each_operating_point(tally, [&](const OperatingPoint& point) {
    if (point.false_alarms <= rate) best = point;
  });
  return best;
}

/// Share of the positives that are found, mean over 2, 5, 10 and 20 % of the negatives in false alarm: what settings are chosen
/// by where one rate alone would be of few images; 0.0925 by chance. Throws `DataError`. Test: tests/metrics/metrics.cpp.
[[nodiscard]] inline double found_at_few_alarms(const ScoreTally& tally) {
  double found = 0;
  for (const double rate : {0.02, 0.05, 0.1, 0.2}) found += (1 - at_false_alarms(tally, rate).missed()) / 4;
  return found;
}

/// The same for scores and labels that are in memory: not 0 is positive. Always exact. Throws also
/// `ShapeError`, `NonFiniteError` for a score that is not a number.
template <class Score, class Label>
[[nodiscard]] double auroc(std::span<const Score> scores, std::span<const Label> labels, double limit = 1.0) {
  return auroc(detail::tally_of(scores, labels), limit);
}
template <class Score, class Label>
[[nodiscard]] double average_precision(std::span<const Score> scores, std::span<const Label> labels) {
  return average_precision(detail::tally_of(scores, labels));
}
template <class Score, class Label>
[[nodiscard]] OperatingPoint best_f1(std::span<const Score> scores, std::span<const Label> labels) {
  return best_f1(detail::tally_of(scores, labels));
}
template <class Score, class Label>
[[nodiscard]] OperatingPoint at_false_alarms(std::span<const Score> scores, std::span<const Label> labels,
                                             double rate) {
  return at_false_alarms(detail::tally_of(scores, labels), rate);
}

}  // namespace dssl
