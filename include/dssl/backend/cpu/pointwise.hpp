// Cpu backend: operations that treat every element alone.
#pragma once

#include <algorithm>

#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// Elements that one task of a pointwise operation takes.
inline constexpr Index pointwise_piece = 32'768;

template <class T>
void fill(Workers& workers, VectorView<T> x, T value) {
  workers.run_pieces(x.size(), pointwise_piece, x.size() / 8,
                     [&](Index begin, Index end) { std::fill(x.data() + begin, x.data() + end, value); });
}

template <class T>
void copy(Workers& workers, VectorView<T> y, VectorView<const T> x) {
  workers.run_pieces(x.size(), pointwise_piece, x.size() / 8, [&](Index begin, Index end) {
    std::copy(x.data() + begin, x.data() + end, y.data() + begin);
  });
}

template <class T>
void gelu_forward(Workers& workers, MatrixView<T> y, MatrixView<const T> x) {
  workers.run_pieces(x.size(), pointwise_piece, x.size() / 3, [&](Index begin, Index end) {
    map(y.data() + begin, end - begin, [](const auto& v) { return gelu<T>(v); }, x.data() + begin);
  });
}

template <class T>
void gelu_backward(Workers& workers, MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> x) {
  workers.run_pieces(x.size(), pointwise_piece, x.size() / 2, [&](Index begin, Index end) {
    map(d_x.data() + begin, end - begin, [](const auto& g, const auto& v) { return g * gelu_and_slope<T>(v).second; },
        d_y.data() + begin, x.data() + begin);
  });
}

/// See `GeluAgain` in backend/concept.hpp. A task has some rows and all columns, so that it reads memory in order.
template <class T>
void gelu_again_backward(Workers& workers, MatrixView<T> y, MatrixView<T> d_x, VectorView<T> d_bias,
                         MatrixView<const T> d_y, MatrixView<const T> x) {
  const Index width = d_y.cols();
  const Index parts = (d_y.rows() + sum_part - 1) / sum_part;
  const Buffer& shared = workers.shared(static_cast<std::size_t>(parts * width) * sizeof(T));
  const MatrixView<T> sums(reinterpret_cast<T*>(shared.data()), parts, width);
  workers.run(parts, d_y.size() / 2, [&](Index task, std::size_t) {
    T* sum = sums.row(task);
    std::fill_n(sum, width, T{0});
    for (Index m = task * sum_part; m < std::min(d_y.rows(), (task + 1) * sum_part); ++m) {
      map_two(y.row(m), d_x.row(m), width,
              [](const auto& g, const auto& v) {
                TwoLanes<T> both = gelu_and_slope<T>(v);
                both.second = g * both.second;
                return both;
              },
              d_y.row(m), x.row(m));
      map(sum, width, [](const auto& before, const auto& d) { return before + d; }, sum, d_x.row(m));
    }
  });
  add_parts<T, 1>(workers, {d_bias}, sums, parts);
}

template <class T>
void residual_forward(Workers& workers, MatrixView<T> out, MatrixView<const T> x, MatrixView<const T> branch,
                      VectorView<const T> keep, RowIndex sequence_of_row) {
  const Index width = x.cols();
  workers.run_pieces(x.rows(), std::max(Index{1}, pointwise_piece / std::max(Index{1}, width)), x.size() / 4,
                     [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const auto scale = spread(keep.empty() ? T{1} : keep(sequence_of_row(m)));
      map(out.row(m), width, [&](const auto& a, const auto& b) { return multiply_add(scale, b, a); }, x.row(m),
          branch.row(m));
    }
  });
}

template <class T>
void residual_backward(Workers& workers, MatrixView<T> d_branch, MatrixView<const T> d_out,
                       VectorView<const T> keep, RowIndex sequence_of_row) {
  const Index width = d_out.cols();
  workers.run_pieces(d_out.rows(), std::max(Index{1}, pointwise_piece / std::max(Index{1}, width)), d_out.size() / 4,
                     [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const auto scale = spread(keep.empty() ? T{1} : keep(sequence_of_row(m)));
      map(d_branch.row(m), width, [&](const auto& g) { return scale * g; }, d_out.row(m));
    }
  });
}

template <class T>
void accumulate(Workers& workers, VectorView<T> y, VectorView<const T> x) {
  workers.run_pieces(y.size(), pointwise_piece, y.size() / 4, [&](Index begin, Index end) {
    map(y.data() + begin, end - begin, [](const auto& a, const auto& b) { return a + b; }, y.data() + begin,
        x.data() + begin);
  });
}

namespace detail {

/// y -> m y + (1 - m) x. With m near 1 the sum is taken as y + (1 - m)(x - y): m itself, rounded to T, would let y drift.
template <class T>
class Lerp {
 public:
  explicit Lerp(double m)
      : x_keep(spread(static_cast<T>(m))), x_take(spread(static_cast<T>(1.0 - m))), x_near_one(m > 0.5) {}
  [[nodiscard]] Lanes<T> operator()(const Lanes<T>& y, const Lanes<T>& x) const {
    return x_near_one ? multiply_add(x_take, Lanes<T>(x - y), y) : multiply_add(x_take, x, Lanes<T>(x_keep * y));
  }

 private:
  Lanes<T> x_keep;
  Lanes<T> x_take;
  bool x_near_one;
};

}  // namespace detail

template <class T>
void lerp(Workers& workers, VectorView<T> y, VectorView<const T> x, double m) {
  const detail::Lerp<T> mixed(m);
  workers.run_pieces(y.size(), pointwise_piece, y.size() / 4, [&](Index begin, Index end) {
    T* out = y.data() + begin;
    map(out, end - begin, [&](const auto& a, const auto& b) { return mixed(a, b); }, out, x.data() + begin);
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
