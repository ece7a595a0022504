// How scores of normal images grow with the number of patches that they were chosen from, and scores without that.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What the size of an image adds to its score, by normal images.
///
/// An image's score is the largest of the scores of its patches, or the mean of the largest few, and of more patches the
/// largest is larger though nothing is there. Where the distribution of a patch's score falls off exponentially, as the ends of
/// most do, the largest of n lies on average at a + b log n. Scores are compared without that:
///
///   s' = s - slope log(n / usual),   log usual = mean of log n,   slope = max(0, cov(log n, s) / var(log n))
///
/// mean, covariance and variance over normal images of which nothing was learned. It is never below 0: a largest score that falls
/// with the number of patches is of something else. The score of an image of `usual` patches stays as it is. What it costs: where
/// larger images are normal for another reason, that goes too. Source: the law of the largest of n (Gumbel), least squares.
/// Test: tests/defects/patch_rules.cpp.
struct SizeTrend {
  double slope = 0;  ///< of scores over log n
  double usual = 1;  ///< number of patches

  /// Of scores of normal images and the numbers of their patches. Throws `ShapeError`, `DataError` where there are no images
  /// or one has no patch.
  [[nodiscard]] static SizeTrend of(std::span<const double> scores, std::span<const Index> patches) {
    require_shape(scores.size() == patches.size(), scores.size(), " scores of ", patches.size(), " images");
    if (scores.empty()) throw DataError("the trend of scores over sizes: there are no images");
    const auto count = static_cast<double>(scores.size());
    double mean_score = 0, mean_log = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (patches[i] < 1) throw DataError("the trend of scores over sizes: an image has no patch");
      mean_score += scores[i] / count;
      mean_log += std::log(static_cast<double>(patches[i])) / count;
    }
    double together = 0, square = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double apart = std::log(static_cast<double>(patches[i])) - mean_log;
      together += apart * (scores[i] - mean_score);
      square += apart * apart;
    }
    // Images of one size differ in their logarithms by rounding alone.
    const bool vary = square > 1e-12 * count;
    return {.slope = vary ? std::max(0.0, together / square) : 0.0, .usual = std::exp(mean_log)};
  }

  /// A score without it.
  [[nodiscard]] double without(double score, Index patches) const {
    return slope == 0 ? score : score - slope * std::log(static_cast<double>(patches) / usual);
  }
  [[nodiscard]] bool operator==(const SizeTrend&) const = default;
};

}  // namespace dssl
