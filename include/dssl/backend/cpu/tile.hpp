// The inner loop of all matrix products: a few rows times a few registers of columns.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/matrix_product.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// Columns of a packed panel of the right operand: two registers.
template <class T>
inline constexpr Index panel_width = 2 * lane_count<T>;

/// Sixteen registers (AVX2) and not thirty-two (AVX-512): tiles are small, read what is packed more often, and leave
/// the memory's pace to prefetching.
inline constexpr bool few_registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS < 32;

/// Rows of the largest tile: with two registers of columns its sums fill three quarters of the registers, the
/// rest hold a row of the panel and one number of the left operand.
inline constexpr int tile_rows = few_registers ? 6 : 12;

/// Columns rounded up to whole registers.
template <class T>
[[nodiscard]] constexpr Index padded(Index columns) {
  return (columns + lane_count<T> - 1) / lane_count<T> * lane_count<T>;
}

/// The left operand, element (i, k): data[i * stride + k]; where it lies by columns, data[k * stride + i], or in
/// slivers of `tile_rows` rows, each at data + its number * step, [k * stride + i % tile_rows] within it.
template <class T>
struct Left {
  const T* data = nullptr;
  Index stride = 0;
  Index step = tile_rows;
};

/// The right operand, element (k, j): panel j / panel_width at data + that * step, within it
/// [k * stride + j % panel_width]; what lies beyond the last column must be readable up to a whole register.
template <class T>
struct Right {
  const T* data = nullptr;
  Index stride = 0;
  Index step = 0;
};

namespace detail {

/// Calls f(0), ..., f(N - 1) with constants.
template <int N, class F>
EIGEN_ALWAYS_INLINE void unrolled(const F& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>{}), ...);
  }(std::make_integer_sequence<int, N>{});
}

/// Puts the first `cols` columns of a tile's sums into c.
template <class T>
void finish_part(T* c, Index c_stride, const T* sums, Index sums_stride, Index rows, Index cols, Onto onto,
                 const T* bias) {
  for (Index r = 0; r < rows; ++r) {
    for (Index j = 0; j < cols; ++j) {
      const T base = onto == Onto::sum ? c[r * c_stride + j] : bias == nullptr ? T{0} : bias[j];
      c[r * c_stride + j] = base + sums[r * sums_stride + j];
    }
  }
}

/// c (R, cols) = or += a (R, depth) b (depth, cols), cols at most V registers.
template <class T, int R, int V, bool ByColumns>
void tile(T* c, Index c_stride, Index cols, const T* a, Index a_stride, const T* b, Index b_stride, Index depth,
          Onto onto, const T* bias) {
  constexpr Index lanes = lane_count<T>;
  Lanes<T> sums[R][V];
  unrolled<R>([&](auto r) __attribute__((always_inline)) { unrolled<V>([&](auto v) __attribute__((always_inline)) { sums[r][v] = spread(T{0}); }); });
  if constexpr (few_registers) {
    // c comes while the sums are made (forward of 2412 rows, 384 to 1536, one core of a Zen 3: 84 GFLOP/s, 89 so).
    unrolled<R>([&](auto r) __attribute__((always_inline)) { __builtin_prefetch(c + r * c_stride, 1); });
  }
  for (Index k = 0; k < depth; ++k) {
    Lanes<T> right[V];
    unrolled<V>([&](auto v) __attribute__((always_inline)) { right[v] = load(b + k * b_stride + v * lanes); });
    unrolled<R>([&](auto r) __attribute__((always_inline)) {
      const auto left = spread(ByColumns ? a[k * a_stride + r] : a[r * a_stride + k]);
      unrolled<V>([&](auto v) __attribute__((always_inline)) { sums[r][v] = multiply_add(left, right[v], sums[r][v]); });
    });
  }
  // What follows the loop is kept plain: with a decision for each register g++ spills the sums inside the loop.
  if (cols < V * lanes) {
    alignas(64) std::array<T, static_cast<std::size_t>(R * V * lanes)> whole;
    unrolled<R>([&](auto r) __attribute__((always_inline)) {
      unrolled<V>([&](auto v) __attribute__((always_inline)) {
        store(whole.data() + (r * V + v) * lanes, sums[r][v]);
      });
    });
    finish_part(c, c_stride, whole.data(), V * lanes, R, cols, onto, bias);
    return;
  }
  if (onto == Onto::sum) {
    unrolled<R>([&](auto r) __attribute__((always_inline)) {
      T* out = c + r * c_stride;
      unrolled<V>([&](auto v) __attribute__((always_inline)) {
        store(out + v * lanes, Lanes<T>(load(out + v * lanes) + sums[r][v]));
      });
    });
    return;
  }
  Lanes<T> shift[V];
  unrolled<V>([&](auto v) __attribute__((always_inline)) {
    shift[v] = bias == nullptr ? spread(T{0}) : load(bias + v * lanes);
  });
  unrolled<R>([&](auto r) __attribute__((always_inline)) {
    T* out = c + r * c_stride;
    unrolled<V>([&](auto v) __attribute__((always_inline)) {
      store(out + v * lanes, Lanes<T>(sums[r][v] + shift[v]));
    });
  });
}

/// All rows of one panel, the largest tiles first.
template <class T, int R, int V, bool ByColumns>
void rows_of_panel(T* c, Index c_stride, Index rows, Index cols, Left<T> a, const T* b, Index b_stride, Index depth,
                   Onto onto, const T* bias) {
  Index i = 0;
  const T* left = a.data;
  const Index step = !ByColumns ? R * a.stride : R == tile_rows ? a.step : Index{R};
  for (; i + R <= rows; i += R, left += step) {
    tile<T, R, V, ByColumns>(c + i * c_stride, c_stride, cols, left, a.stride, b, b_stride, depth, onto, bias);
  }
  if constexpr (R > 1) {
    if (i < rows) {
      constexpr int next = R == 12 ? 8 : R == 6 ? 4 : R / 2;
      rows_of_panel<T, next, V, ByColumns>(c + i * c_stride, c_stride, rows - i, cols,
                                           {left, a.stride}, b, b_stride, depth, onto, bias);
    }
  }
}

}  // namespace detail

/// c (rows, cols) = or += a (rows, depth) b (depth, cols) [+ bias (cols), null for none]; one thread, no scratch.
/// Every sum over depth runs in the order of k, in one register lane.
template <bool ByColumns, class T>
void multiply(T* c, Index c_stride, Index rows, Index cols, Left<T> a, Right<T> b, Index depth, Onto onto,
              const T* bias = nullptr) {
  for (Index j = 0; j < cols; j += panel_width<T>) {
    const T* panel = b.data + j / panel_width<T> * b.step;
    const T* shift = bias == nullptr ? nullptr : bias + j;
    if (cols - j > lane_count<T>) {
      detail::rows_of_panel<T, tile_rows, 2, ByColumns>(c + j, c_stride, rows, cols - j, a, panel, b.stride, depth,
                                                        onto, shift);
    } else {
      detail::rows_of_panel<T, tile_rows, 1, ByColumns>(c + j, c_stride, rows, cols - j, a, panel, b.stride, depth,
                                                        onto, shift);
    }
  }
}

/// out[k][j] = in[j][k] for j < rows and k < cols; columns of out from `rows` up to a whole register become 0.
template <class T>
void transpose(T* out, Index out_stride, const T* in, Index in_stride, Index rows, Index cols) {
  constexpr Index lanes = lane_count<T>;
  for (Index j = 0; j < rows; j += lanes) {
    Index k = 0;
    if (j + lanes <= rows) {
      for (; k + lanes <= cols; k += lanes) {
        Square<T> block;
        for (Index r = 0; r < lanes; ++r) block.packet[r] = load(in + (j + r) * in_stride + k);
        Eigen::internal::ptranspose(block);
        for (Index r = 0; r < lanes; ++r) store(out + (k + r) * out_stride + j, block.packet[r]);
      }
    }
    const Index count = std::min(lanes, rows - j);
    for (; k < cols; ++k) {
      T* to = out + k * out_stride + j;
      for (Index r = 0; r < count; ++r) to[r] = in[(j + r) * in_stride + k];
      for (Index r = count; r < lanes; ++r) to[r] = T{0};
    }
  }
}

/// out[r][c] = in[r][c]; columns of out from `cols` up to a whole register become 0.
template <class T>
void copy_block(T* out, Index out_stride, const T* in, Index in_stride, Index rows, Index cols) {
  const Index rest = padded<T>(cols) - cols;
  for (Index r = 0; r < rows; ++r) {
    map(out + r * out_stride, cols, [](const auto& x) { return x; }, in + r * in_stride);
    std::fill_n(out + r * out_stride + cols, rest, T{0});
  }
}

}  // namespace dssl::cpu::inline DSSL_ISA
