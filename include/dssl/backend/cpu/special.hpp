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

/// c[0] + c[1] x + c[2] x^2 + ...
template <class T, std::size_t N>
[[nodiscard]] inline Lanes<T> polynomial(const Lanes<T>& x, const std::array<T, N>& c) {
  Lanes<T> sum = spread(c[N - 1]);
  for (std::size_t i = N - 1; i-- > 0;) sum = multiply_add(sum, x, spread(c[i]));
  return sum;
}

/// Phi(x) = (1 + erf(x / sqrt 2)) / 2, with `bell` = exp(-x^2 / 2), which a derivative needs as well.
///
/// Float: absolute error below 1e-7, relative error below 3e-6 in the lower tail. Near 0 an odd polynomial about
/// one half; beyond, bell times a polynomial in 1 / (1 + p |x|), which Phi(-|x|) / bell is close to. Coefficients:
/// weighted least squares towards the smallest largest relative error, fits to 1e-8 and 2e-7.
/// Test: "Cpu normal distribution function is exact to rounding".
template <class T>
[[nodiscard]] inline Lanes<T> normal_distribution(const Lanes<T>& x, const Lanes<T>& bell) {
  namespace in = Eigen::internal;
  if constexpr (std::is_same_v<T, float>) {
    constexpr std::array<float, 6> centre{0.398942262F,    -0.0664902106F, 0.00997228362F,
                                          -0.00118383789F, 0.000111041591F, -6.8095992e-06F};
    constexpr std::array<float, 6> tail{0.131732702F,  0.130166501F, 0.128250733F,
                                        0.0468735285F, 0.136488304F, -0.0738745108F};
    const Lanes<T> size = in::pabs(x);
    const Lanes<T> t = spread(1.0F) / multiply_add(spread(0.33F), size, spread(1.0F));
    const Lanes<T> below = polynomial<T>(t, tail) * t * bell;
    const Lanes<T> far = in::pselect(in::pcmp_lt(x, spread(0.0F)), below, Lanes<T>(spread(1.0F) - below));
    const Lanes<T> near = multiply_add(polynomial<T>(x * x, centre), x, spread(0.5F));
    return in::pselect(in::pcmp_lt(size, spread(1.25F)), near, far);
  } else {
    alignas(64) std::array<T, lane_count<T>> values;
    store(values.data(), x);
    for (T& v : values) v = T{0.5} * std::erfc(-v / std::numbers::sqrt2_v<T>);
    return load(values.data());
  }
}

/// exp(-x^2 / 2).
template <class T>
[[nodiscard]] inline Lanes<T> bell_curve(const Lanes<T>& x) {
  return exponential<T>(spread(T{-0.5}) * x * x);
}

}  // namespace dssl::cpu
