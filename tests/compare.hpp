// Comparisons that say how far apart two tensors are, relative to the larger one's largest magnitude.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

namespace dssl::test {

/// Largest difference over the largest magnitude of `expected`; infinity if either holds NaN or sizes differ.
template <class A, class B>
double relative_difference(std::span<const A> actual, std::span<const B> expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  double difference = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto a = static_cast<double>(actual[i]);
    const auto e = static_cast<double>(expected[i]);
    if (std::isnan(a) || std::isnan(e)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(e));
    difference = std::max(difference, std::abs(a - e));
  }
  if (difference == 0) return 0;
  return difference / std::max(largest, std::numeric_limits<double>::min());
}

}  // namespace dssl::test
