// Cpu backend: what blocks of some families have beside.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/pointwise.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// 1 / (1 + exp(-x)).
template <class T>
[[nodiscard]] inline Lanes<T> logistic(const Lanes<T>& x) {
  const Lanes<T> one = spread(T{1});
  return Eigen::internal::pdiv(one, Lanes<T>(one + exponential<T>(Lanes<T>(spread(T{0}) - x))));
}

/// Rows of this width that one task takes.
[[nodiscard]] inline Index pointwise_rows(Index width) {
  return std::max(Index{1}, pointwise_piece / std::max(Index{1}, width));
}

/// See `BlockPrimitives` in backend/concept.hpp, here and below.
template <class T>
void swiglu_forward(Workers& workers, MatrixView<T> y, MatrixView<const T> x) {
  const Index width = y.cols();
  workers.run_pieces(y.rows(), pointwise_rows(width), y.size() / 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      map(
          y.row(m), width, [](const auto& gate, const auto& value) { return gate * logistic<T>(gate) * value; },
          x.row(m), x.row(m) + width);
    }
  });
}

/// The value and both gradients of one register of gates, values and gradients.
template <class T>
struct SwigluLanes {
  Lanes<T> y, d_gate, d_value;

  SwigluLanes(const Lanes<T>& gate, const Lanes<T>& value, const Lanes<T>& d) {
    const Lanes<T> one = spread(T{1});
    const Lanes<T> share = logistic<T>(gate);
    const Lanes<T> silu = gate * share;
    y = silu * value;
    d_gate = d * value * share * multiply_add<Lanes<T>>(gate, one - share, one);
    d_value = d * silu;
  }
};

template <class T>
void swiglu_again_backward(Workers& workers, MatrixView<T> y, MatrixView<T> d_x, MatrixView<const T> d_y,
                           MatrixView<const T> x) {
  constexpr Index lanes = lane_count<T>;
  const Index width = y.cols();
  workers.run_pieces(y.rows(), pointwise_rows(width), y.size(), [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const T* const gate = x.row(m);
      const T* const value = gate + width;
      Index i = 0;
      for (; i + lanes <= width; i += lanes) {
        const SwigluLanes<T> all(load(gate + i), load(value + i), load(d_y.row(m) + i));
        store(y.row(m) + i, all.y);
        store(d_x.row(m) + i, all.d_gate);
        store(d_x.row(m) + width + i, all.d_value);
      }
      if (i == width) continue;
      const Index rest = width - i;
      const SwigluLanes<T> all(load_part(gate + i, rest), load_part(value + i, rest), load_part(d_y.row(m) + i, rest));
      store_part(y.row(m) + i, all.y, rest);
      store_part(d_x.row(m) + i, all.d_gate, rest);
      store_part(d_x.row(m) + width + i, all.d_value, rest);
    }
  });
}

/// A few numbers a place of a grid: sines and cosines of the C library.
template <class T>
void rotation_rows(Workers& workers, MatrixView<T> out, MatrixView<const T> coordinates, VectorView<const T> periods) {
  const Index quarter = periods.size();
  workers.run_pieces(out.rows(), 64, out.size() * 16, [&](Index begin, Index end) {
    for (Index p = begin; p < end; ++p) {
      for (Index j = 0; j < 2 * quarter; ++j) {
        const auto at = static_cast<double>(coordinates(p, j / quarter));
        const double angle = 2.0 * std::numbers::pi * at / static_cast<double>(periods(j % quarter));
        out(p, j) = static_cast<T>(std::cos(angle));
        out(p, 2 * quarter + j) = static_cast<T>(std::sin(angle));
      }
    }
  });
}

template <class T>
void rotate_heads(Workers& workers, MatrixView<T> x, MatrixView<const T> rotations, RowIndex places, RowIndex packed,
                  Index heads, double direction) {
  const Index half = rotations.cols() / 2;
  const auto turn = spread(static_cast<T>(direction));
  workers.run_pieces(places.size(), pointwise_rows(4 * half * heads), places.size() * half * heads,
                     [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const Index m = packed.empty() ? n : packed(n);
      if (places(n) < 0 || m < 0) continue;
      const T* const cosines = rotations.row(places(n));
      for (Index h = 0; h < 2 * heads; ++h) {
        T* const first = x.row(m) + 2 * half * h;
        map_two(first, first + half, half,
                [&](const auto& a, const auto& b, const auto& cosine, const auto& sine) {
                  const Lanes<T> s = turn * sine;
                  return TwoLanes<T>{a * cosine - b * s, b * cosine + a * s};
                },
                first, first + half, cosines, cosines + half);
      }
    }
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
