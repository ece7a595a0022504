// Exponential and normal distribution function on vector registers.
#pragma once

#include <array>
#include <cmath>
#include <numbers>
#include <type_traits>

#include <dssl/backend/cpu/lanes.hpp>

namespace dssl::cpu {

/// exp(x), relative error about 1e-7 in float; NaN stays NaN.
template <class T>
[[nodiscard]] inline Lanes<T> exponential(const Lanes<T>& x) {
  return Eigen::internal::pexp(x);
}

/// (1 + erf(x / sqrt 2)) / 2.
template <class T>
[[nodiscard]] inline Lanes<T> normal_distribution(const Lanes<T>& x) {
  constexpr Index lanes = lane_count<T>;
  alignas(64) std::array<T, lanes> values;
  store(values.data(), x);
  for (T& v : values) v = T{0.5} * (T{1} + std::erf(v / static_cast<T>(std::numbers::sqrt2)));
  return load(values.data());
}

}  // namespace dssl::cpu
