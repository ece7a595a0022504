// Matrix products of one thread: Eigen's kernels on blocks of fixed sizes, packed into scratch.
#pragma once

#include <algorithm>
#include <cstddef>

#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu {

/// A matrix in memory: element (i, j) lies at data[i * stride + j], or at data[j * stride + i] when transposed.
template <class T>
struct Operand {
  const T* data = nullptr;
  Index stride = 0;
};

namespace detail {

/// Eigen's record of block sizes, over memory that is ours: Eigen's own would come from the heap.
template <class T>
class Blocking : public Eigen::internal::level3_blocking<T, T> {
 public:
  static constexpr Index depth = 192;
  static constexpr Index wide = 768;
  static constexpr Index high = 192;

  explicit Blocking(Arena& arena) {
    this->m_kc = depth;
    this->m_mc = wide;
    this->m_nc = high;
    this->m_blockA = arena.take<T>(wide * depth);
    this->m_blockB = arena.take<T>(high * depth);
  }
};

}  // namespace detail

/// c (m,n) += alpha a (m,k) b (k,n); a and b lie transposed in memory where said. Takes scratch from `arena`.
template <bool TransposedA, bool TransposedB, class T>
void multiply(T* c, Index c_stride, Operand<T> a, Operand<T> b, Index m, Index n, Index k, T alpha, Arena& arena) {
  const std::size_t mark = arena.mark();
  detail::Blocking<T> blocking(arena);
  Eigen::internal::general_matrix_matrix_product<
      Index, T, TransposedA ? Eigen::ColMajor : Eigen::RowMajor, false, T,
      TransposedB ? Eigen::ColMajor : Eigen::RowMajor, false, Eigen::RowMajor, 1>::run(m, n, k, a.data, a.stride,
                                                                                       b.data, b.stride, c, 1,
                                                                                       c_stride, alpha, blocking);
  arena.rewind(mark);
}

/// Scratch that `multiply` takes, in bytes.
template <class T>
[[nodiscard]] inline std::size_t multiply_scratch() {
  Arena arena;
  const detail::Blocking<T> blocking(arena);
  return arena.high_water();
}

}  // namespace dssl::cpu
