// Gradients against central differences, in double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/testing/gradients.hpp>

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

using dssl::GradientDifference;
using dssl::gradient_difference;

}  // namespace dssl::test
