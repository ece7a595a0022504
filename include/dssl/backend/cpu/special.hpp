// Exponential and normal distribution function on vector registers.
#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <numbers>
#include <type_traits>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// c[0] + c[1] x + c[2] x^2 + ...
template <class T, std::size_t N>
[[nodiscard]] inline Lanes<T> polynomial(const Lanes<T>& x, const std::array<T, N>& c) {
  Lanes<T> sum = spread(c[N - 1]);
  for (std::size_t i = N - 1; i-- > 0;) sum = multiply_add(sum, x, spread(c[i]));
  return sum;
}

/// Beyond this the upper tail of the normal distribution is below 1.1e-8, and its argument is cut off.
inline constexpr float normal_cut = 5.6F;

/// 1.5 * 2^23: added to a small number it rounds that to a whole one, whose bits are then the lowest of the sum.
inline constexpr float whole_numbers_from = 12'582'912.0F;

/// 2^(rest + n), rest in [-1/2, 1/2], shifted = n + `whole_numbers_from`. 2^rest is a polynomial (least largest
/// relative error: 9e-8), 2^n is n added to its exponent.
///
/// A template, as `power_of_two` is, for builds without registers (EIGEN_DONT_VECTORIZE), which have no whole numbers.
template <std::same_as<float> T>
[[nodiscard]] inline Lanes<T> power_in_parts(const Lanes<T>& rest, const Lanes<T>& shifted) {
  namespace in = Eigen::internal;
  using Whole = WholeNumbers<T>;
  constexpr std::array<float, 6> fraction{1.0F,           0.693146977F,   0.240222420F,
                                          0.0555073393F, 0.00967151658F, 0.00132646682F};
  const Whole exponent = in::plogical_shift_left<23>(in::preinterpret<Whole>(shifted));
  return in::preinterpret<Lanes<T>>(in::padd(in::preinterpret<Whole>(polynomial<T>(rest, fraction)), exponent));
}

/// 2^t for |t| below 120, relative error below 2e-7; NaN stays NaN.
template <std::same_as<float> T>
[[nodiscard]] inline Lanes<T> power_of_two(const Lanes<T>& t) {
  if constexpr (HasWholeNumbers<T>) {
    const Lanes<T> magic = spread(whole_numbers_from);
    const Lanes<T> shifted = t + magic;
    return power_in_parts<T>(t - (shifted - magic), shifted);
  } else {
    return Eigen::internal::pexp(Lanes<T>(t * spread(std::numbers::ln2_v<T>)));
  }
}

/// exp(x), relative error below 2e-7 in float (with AVX-512 below 3.1e-7 where |x| > 39); NaN stays NaN.
///
/// AVX2 multiplies and adds, but has no instruction that scales by 2^n, without which Eigen's exponential is twice as
/// long as this one. Here x below -87.3 is taken for that (1.2e-38), above 88.3 for that (2.2e38).
/// Test: "Cpu exponential is exact to rounding".
template <class T>
[[nodiscard]] inline Lanes<T> exponential(const Lanes<T>& x) {
#if defined(EIGEN_VECTORIZE_AVX2) && defined(EIGEN_VECTORIZE_FMA) && !defined(EIGEN_VECTORIZE_AVX512)
  if constexpr (std::is_same_v<T, float>) {
    namespace in = Eigen::internal;
    const Lanes<T> within = in::pmin(in::pmax(x, spread(-87.3F)), spread(88.3F));
    const Lanes<T> log2_e = spread(std::numbers::log2e_v<T>);
    constexpr T beyond = static_cast<T>(std::numbers::log2e - static_cast<double>(std::numbers::log2e_v<T>));
    const Lanes<T> magic = spread(whole_numbers_from);
    const Lanes<T> shifted = multiply_add(within, log2_e, magic);
    const Lanes<T> rest = multiply_add(within, log2_e, Lanes<T>(magic - shifted));
    return power_in_parts<T>(multiply_add(within, spread(beyond), rest), shifted);
  }
#endif
  return Eigen::internal::pexp(x);
}

/// Q = Phi(-s), the upper tail of the normal distribution, for s in [0, normal_cut].
///
/// Float: 2^(s p(s) - 1) with a polynomial p, since log2 Q is nearly quadratic. Absolute error below 1e-7, relative
/// error below 4e-4; NaN stays NaN. Double: the C library's erfc. Cost: 18 operations a register, no division.
/// Coefficients: least largest error, weighted by the larger of Q and 1e-4.
/// Test: "Cpu normal distribution function is exact to rounding".
template <class T>
[[nodiscard]] inline Lanes<T> upper_tail(const Lanes<T>& s) {
  if constexpr (std::is_same_v<T, float>) {
    constexpr std::array<float, 8> logarithm{-1.15110807F,     -0.459174547F,    -0.0526227359F,  0.00727763948F,
                                             -0.000321443965F, -0.000102954673F, 2.08226088e-05F, -1.23715102e-06F};
    return power_of_two<T>(multiply_add(polynomial<T>(s, logarithm), s, spread(-1.0F)));
  } else {
    alignas(64) std::array<T, lane_count<T>> values;
    store(values.data(), s);
    for (T& v : values) v = T{0.5} * std::erfc(v / std::numbers::sqrt2_v<T>);
    return load(values.data());
  }
}

/// |x|, in float at most normal_cut; NaN stays NaN.
template <class T>
[[nodiscard]] inline Lanes<T> normal_size(const Lanes<T>& x) {
  const Lanes<T> size = Eigen::internal::pabs(x);
  if constexpr (std::is_same_v<T, float>) return Eigen::internal::pmin(size, spread(normal_cut));
  else return size;
}

/// GELU: x Phi(x) = max(x, 0) - |x| Q(|x|). Float: absolute error below 5e-7, or below a rounding of x if that is
/// more. Cost: 22 operations a register; 0.27 ns a number on a 2.8 GHz core with AVX-512, half of what an
/// exponential, a division and a polynomial took.
template <class T>
[[nodiscard]] inline Lanes<T> gelu(const Lanes<T>& x) {
  const Lanes<T> size = normal_size<T>(x);
  return Eigen::internal::pmax(x, spread(T{0})) - size * upper_tail<T>(size);
}

/// GELU and its slope, Phi(x) + x phi(x), at once. The slope at -|x| is Q - |x| phi, at |x| one minus that. In float phi = Q h with a polynomial h for
/// the ratio phi / Q. Absolute error of the slope in float below 5e-7. Cost: 34 operations a register.
/// Test: "Cpu GELU and its slope are exact to rounding".
template <class T>
[[nodiscard]] inline TwoLanes<T> gelu_and_slope(const Lanes<T>& x) {
  namespace in = Eigen::internal;
  const Lanes<T> size = normal_size<T>(x);
  const Lanes<T> tail = upper_tail<T>(size);
  Lanes<T> density;
  if constexpr (std::is_same_v<T, float>) {
    constexpr std::array<float, 8> ratio{0.797902485F,   0.636391597F,    0.10995615F,      -0.0209603338F,
                                         0.00169219645F, 0.00020844813F, -6.05345646e-05F, 4.02325870e-06F};
    density = tail * polynomial<T>(size, ratio);
  } else {
    density = spread(static_cast<T>(1.0 / std::sqrt(2.0 * std::numbers::pi))) * exponential<T>(spread(T{-0.5}) * x * x);
  }
  const Lanes<T> below = tail - size * density;
  return {in::pmax(x, spread(T{0})) - size * tail,
          in::pselect(in::pcmp_lt(x, spread(T{0})), below, Lanes<T>(spread(T{1}) - below))};
}

}  // namespace dssl::cpu::inline DSSL_ISA
