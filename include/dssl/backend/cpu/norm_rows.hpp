// Cpu backend: layer norm of one row, forward and backward.
#pragma once

#include <cmath>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// The two sums of a row that a norm's backward pass needs.
struct TwoSums {
  double first = 0;
  double second = 0;
};

/// Sums of f(in[i]...).first and .second over [0, count): as `sum`, each row read once for both.
template <class T, class F, class... In>
[[nodiscard]] inline TwoSums two_sums(Index count, const F& f, const In*... in) {
  constexpr Index lanes = lane_count<T>;
  constexpr Index terms = 16;
  TwoSums total;
  Index i = 0;
  while (i < count) {
    auto a0 = spread(T{0});
    auto a1 = a0;
    auto b0 = a0;
    auto b1 = a0;
    // Two of each at once, since one would wait for itself.
    const Index end = std::min(count, i + 2 * terms * lanes);
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const TwoLanes<T> x = f(load(in + i)...);
      const TwoLanes<T> y = f(load(in + i + lanes)...);
      a0 = a0 + x.first;
      b0 = b0 + x.second;
      a1 = a1 + y.first;
      b1 = b1 + y.second;
    }
    for (; i < end; i += lanes) {
      if (i + lanes <= end) {
        const TwoLanes<T> x = f(load(in + i)...);
        a0 = a0 + x.first;
        b0 = b0 + x.second;
      } else {
        const TwoLanes<T> x = f(load_part(in + i, end - i)...);
        a1 = a1 + keep_first<T>(x.first, end - i);
        b1 = b1 + keep_first<T>(x.second, end - i);
      }
    }
    i = end;
    total.first += static_cast<double>(Eigen::internal::predux(Lanes<T>(a0 + a1)));
    total.second += static_cast<double>(Eigen::internal::predux(Lanes<T>(b0 + b1)));
  }
  return total;
}

/// y = (x - mean) / sqrt(var + epsilon) * weight + bias for one row, which stays in the L1 cache between its passes.
template <class T>
inline void norm_row(T* y, T& mean, T& inverse_std, const T* x, Index width, const T* weight, const T* bias,
                     double epsilon) {
  const auto columns = static_cast<double>(width);
  const double mu = sum<T>(width, [](const auto& v) { return v; }, x) / columns;
  const auto centre = spread(static_cast<T>(mu));
  const double squares = sum<T>(width, [&](const auto& v) { return (v - centre) * (v - centre); }, x);
  const double scale = 1.0 / std::sqrt(squares / columns + epsilon);
  mean = static_cast<T>(mu);
  inverse_std = static_cast<T>(scale);
  const auto factor = spread(static_cast<T>(scale));
  map(y, width,
      [&](const auto& v, const auto& w, const auto& b) { return multiply_add((v - centre) * factor, w, b); }, x,
      weight, bias);
}

/// d_x += inverse_std (u - mean(u) - n mean(u n)) with u = d_y weight and n = (x - mean) inverse_std;
/// sum_weight += d_y n, sum_bias += d_y. One row, read twice.
template <class T>
inline void norm_row_backward(T* d_x, T* sum_weight, T* sum_bias, const T* d_y, const T* x, T mean, T inverse_std,
                              const T* weight, Index width) {
  constexpr Index lanes = lane_count<T>;
  const auto columns = static_cast<double>(width);
  const auto centre = spread(mean);
  const auto factor = spread(inverse_std);
  const TwoSums sums = two_sums<T>(
      width,
      [&](const auto& g, const auto& w, const auto& v) {
        const Lanes<T> u = g * w;
        return TwoLanes<T>{u, u * ((v - centre) * factor)};
      },
      d_y, weight, x);
  const auto shift = spread(static_cast<T>(sums.first / columns));
  const auto slope = spread(static_cast<T>(sums.second / columns));
  const auto step = [&](Index i, const auto& read, const auto& write) {
    const Lanes<T> g = read(d_y + i);
    const Lanes<T> n = (read(x + i) - centre) * factor;
    write(d_x + i, multiply_add(factor, Lanes<T>(g * read(weight + i) - shift - n * slope), read(d_x + i)));
    write(sum_weight + i, multiply_add(g, n, read(sum_weight + i)));
    write(sum_bias + i, Lanes<T>(read(sum_bias + i) + g));
  };
  Index i = 0;
  for (; i + lanes <= width; i += lanes) {
    step(i, [](const T* p) { return load(p); }, [](T* p, const Lanes<T>& v) { store(p, v); });
  }
  if (i == width) return;
  const Index rest = width - i;
  step(i, [&](const T* p) { return load_part(p, rest); }, [&](T* p, const Lanes<T>& v) { store_part(p, v, rest); });
}

}  // namespace dssl::cpu::inline DSSL_ISA
