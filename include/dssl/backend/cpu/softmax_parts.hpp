// Cpu backend: softmax in parts, one lane a row, over blocks of logits that lie transposed.
#pragma once

#include <algorithm>
#include <cmath>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::inline DSSL_ISA::detail {

/// Statistics of one side's softmax, a number for each task and lane.
template <class T>
struct SoftmaxParts {
  MatrixView<T> most;    // largest centred logit z
  MatrixView<T> total;   // sum e, e = exp((z - most) / temperature)
  MatrixView<T> weight;  // what e is to be multiplied with in the gradient

  static SoftmaxParts take(Arena& arena, Index tasks, Index lanes) {
    return {arena.matrix<T>(tasks, lanes), arena.matrix<T>(tasks, lanes), arena.matrix<T>(tasks, lanes)};
  }
};

/// Two levels of sums of `count` rows of registers: 16 rows at most are added up at a time.
template <class T, class Term>
[[nodiscard]] Lanes<T> sum_down(Index count, const Term& term) {
  Lanes<T> whole = spread(T{0});
  for (Index first = 0; first < count; first += 16) {
    Lanes<T> part = spread(T{0});
    for (Index r = first; r < std::min(count, first + 16); ++r) part = part + term(r);
    whole = whole + part;
  }
  return whole;
}

/// z -> e = exp((z - most) * inverse), in place down a register of columns; total = sum e; gives sum e (z - most).
template <class T>
Lanes<T> exponentials_down(Lanes<T>& total, T* z, Index stride, Index count, const Lanes<T>& most,
                           const Lanes<T>& inverse) {
  Lanes<T> dot = spread(T{0});
  for (Index first = 0; first < count; first += 16) {
    Lanes<T> part = spread(T{0});
    Lanes<T> part_dot = spread(T{0});
    for (Index r = first; r < std::min(count, first + 16); ++r) {
      const Lanes<T> below = load(z + r * stride) - most;
      const Lanes<T> e = exponential<T>(below * inverse);
      store(z + r * stride, e);
      part = part + e;
      part_dot = multiply_add(e, below, part_dot);
    }
    total = total + part;
    dot = dot + part_dot;
  }
  return dot;
}

/// Largest of a column, and the sum of its tasks' parts, relative to it: f(task, exp((most - largest) / temperature),
/// most - largest).
template <class T, class F>
void over_tasks(const SoftmaxParts<T>& parts, Index column, double temperature, const F& f) {
  T largest = parts.most(0, column);
  for (Index task = 1; task < parts.most.rows(); ++task) largest = std::max(largest, parts.most(task, column));
  for (Index task = 0; task < parts.most.rows(); ++task) {
    const double below = static_cast<double>(parts.most(task, column)) - static_cast<double>(largest);
    f(task, std::exp(below / temperature), below);
  }
}

}  // namespace dssl::cpu::inline DSSL_ISA::detail
