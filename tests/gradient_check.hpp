// Gradients against central differences, in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/core/random.hpp>

namespace dssl::test {

/// Normal random numbers, the same for the same seed.
inline std::vector<double> normal_values(std::size_t count, std::uint64_t seed, double scale = 1.0) {
  RandomStream random({.seed = seed});
  std::vector<double> values(count);
  for (double& value : values) value = scale * random.normal();
  return values;
}

inline void fill_normal(std::span<double> out, std::uint64_t seed, double scale = 1.0, double centre = 0.0) {
  RandomStream random({.seed = seed});
  for (double& value : out) value = centre + scale * random.normal();
}

inline double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// How far a tensor's gradient is from central differences.
struct GradientDifference {
  double difference = 0;  ///< the largest that was seen
  double norm = 0;        ///< of the gradient

  /// Within 1e-6 of the norm, or within what rounding makes of a gradient of zero.
  [[nodiscard]] bool small() const { return difference <= 1e-6 * norm + 1e-9; }
};

/// Compares the gradient `d_x` of loss() with central differences: along one random direction, in which every
/// entry has its part, in the entry with the largest gradient and in `entries` entries drawn at random.
/// `loss` reads `x`, which is left as it was. A gradient that is not finite differs by infinity.
template <class Loss>
GradientDifference gradient_difference(std::span<double> x, std::span<const double> d_x, const Loss& loss,
                                       std::uint64_t seed, int entries = 1) {
  constexpr double step = 1e-5;
  GradientDifference result;
  result.norm = std::sqrt(dot(d_x, d_x));
  if (!std::isfinite(result.norm) || x.size() != d_x.size()) return {.difference = HUGE_VAL, .norm = 0};
  const std::vector<double> before(x.begin(), x.end());
  const auto along = [&](std::span<const double> direction) {
    const auto at = [&](double distance) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = before[i] + distance * direction[i];
      return loss();
    };
    const double slope = (at(step) - at(-step)) / (2 * step);
    std::copy(before.begin(), before.end(), x.begin());
    result.difference = std::max(result.difference, std::abs(slope - dot(d_x, direction)));
  };
  std::vector<double> direction = normal_values(x.size(), seed);
  const double length = std::sqrt(dot(direction, direction));
  for (double& value : direction) value /= length;
  along(direction);
  RandomStream random({.seed = seed, .sample = 1});
  std::size_t entry = 0;
  for (std::size_t i = 0; i < d_x.size(); ++i) {
    if (std::abs(d_x[i]) > std::abs(d_x[entry])) entry = i;
  }
  for (int i = 0; i <= entries; ++i) {
    std::fill(direction.begin(), direction.end(), 0.0);
    direction[entry] = 1.0;
    along(direction);
    entry = random.below(static_cast<std::uint32_t>(x.size()));
  }
  return result;
}

}  // namespace dssl::test
