// How well scores rank positives above negatives.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>

namespace dssl {

namespace detail {

/// Calls group(positives, negatives) for every run of equal scores, from the highest score down.
template <class Score, class Label, class Group>
void each_score_group(std::span<const Score> scores, std::span<const Label> labels, const Group& group) {
  require_shape(scores.size() == labels.size(), "ranking: ", scores.size(), " scores for ", labels.size(),
                " labels");
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  for (std::size_t i = 0; i < order.size();) {
    double positives = 0;
    double negatives = 0;
    const Score score = scores[order[i]];
    for (; i < order.size() && scores[order[i]] == score; ++i)
      (labels[order[i]] != 0 ? positives : negatives) += 1;
    group(positives, negatives);
  }
}

template <class Score>
void require_ordered(std::span<const Score> scores) {
  for (const Score s : scores) {
    if (!(s == s)) throw NonFiniteError("ranking: a score is not a number");
  }
}

}  // namespace detail

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counting one half.
///
/// In [0, 1]; NaN where there are no positives or no negatives. labels: not 0 is positive. O(n log n).
/// Throws `ShapeError`, `NonFiniteError` for a score that is not a number.
/// Test: evaluation.safetensors (tests/eval/metrics.cpp).
template <class Score, class Label>
[[nodiscard]] double auroc(std::span<const Score> scores, std::span<const Label> labels) {
  detail::require_ordered(scores);
  double positives = 0;
  double negatives = 0;
  double area = 0;
  detail::each_score_group(scores, labels, [&](double p, double n) {
    area += n * (positives + 0.5 * p);
    positives += p;
    negatives += n;
  });
  if (positives == 0 || negatives == 0) return std::numeric_limits<double>::quiet_NaN();
  return area / (positives * negatives);
}

/// Average precision: sum over thresholds of (gain in recall) x precision; equal scores share one threshold.
///
/// In (0, 1]; NaN where there are no positives. Else as `auroc`.
template <class Score, class Label>
[[nodiscard]] double average_precision(std::span<const Score> scores, std::span<const Label> labels) {
  detail::require_ordered(scores);
  double positives = 0;
  double taken = 0;
  double area = 0;
  detail::each_score_group(scores, labels, [&](double p, double n) {
    positives += p;
    taken += p + n;
    area += p * positives / taken;
  });
  return positives > 0 ? area / positives : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace dssl
