// A threshold that keeps a promise about false alarms, from normal scores alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// The fewest normal scores that a threshold can be taken from: ceil(1 / rate) - 1, that is 99 for 1 %. With
/// fewer even the largest is reached too often. Throws `OptionError` for a rate outside (0, 1). Test:
/// tests/metrics/calibration.cpp.
[[nodiscard]] inline Index calibration_size(double rate) {
  if (!(rate > 0 && rate < 1)) throw OptionError("rate", rate, "above 0, below 1");
  // A rate of 0.01 is not a whole hundredth in binary: what is meant is the whole number beside it.
  return static_cast<Index>(std::clamp(std::ceil((1 / rate) * (1 - 1e-9)) - 1, 1.0, 1e18));
}

/// The threshold that a new normal image reaches with a chance of at most `rate`: an alarm is score >= it.
///
/// The smallest number above the ceil((n + 1) (1 - rate))-th smallest of the n scores (the conformal
/// quantile). The promise holds on average over calibration sets, for any distribution, if the normal images
/// to come are exchangeable with these; so they must not be those that the bank was built from, and images of
/// one piece count as one. Needs at least `calibration_size(rate)` images. O(n). Throws `DataError`
/// that says how many scores it takes, `OptionError` for a rate outside (0, 1), `NonFiniteError`. Source:
/// Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005. Test:
/// tests/metrics/calibration.cpp.
[[nodiscard]] inline double alarm_threshold(std::span<const double> normal_scores, double rate) {
  const Index least = calibration_size(rate);
  for (const double s : normal_scores) {
    if (!std::isfinite(s)) throw NonFiniteError("calibration: a score is not finite");
  }
  if (static_cast<Index>(normal_scores.size()) < least) {
    throw DataError(join("calibration: ", normal_scores.size(),
                         " normal scores are too few for a false-alarm rate of ", rate, "; at least ", least,
                         " are needed"));
  }
  const auto n = static_cast<double>(normal_scores.size());
  // Likewise a whole number where that is meant.
  const double place = std::min(n, std::ceil((n + 1) * (1 - rate) - 1e-9 * (n + 1)));
  std::vector<double> sorted(normal_scores.begin(), normal_scores.end());
  const auto at = sorted.begin() + std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(place) - 1);
  std::nth_element(sorted.begin(), at, sorted.end());
  return std::nextafter(*at, std::numeric_limits<double>::infinity());
}

}  // namespace dssl
