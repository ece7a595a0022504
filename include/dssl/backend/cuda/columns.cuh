// Cuda backend: sums down the columns of a matrix, in two stages of fixed order.
//
// No reduction of CUB's: those go across the threads of a warp, and here each lane has a column of its own, so that a
// warp reads neighbours.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>

namespace dssl::cuda {

/// How rows are cut into parts, whose sums are taken by a block each; a matter of shapes alone.
struct ColumnParts {
  static constexpr int columns = 32;  // of a block: one a lane
  static constexpr int lines = 8;     // warps of a block, which share the rows of a part

  explicit ColumnParts(Index rows)
      : of_part(std::max(Index{64}, (rows + most_parts - 1) / most_parts)),
        count((rows + of_part - 1) / of_part) {}

  static constexpr Index most_parts = 256;
  Index of_part;
  Index count;
};

/// parts (parts, N, cols): the sums of `terms(row, col, out)`, N of them, over the rows of each part.
template <class T, int N, class Terms>
__global__ void column_parts(T* parts, Index rows, Index cols, Index of_part, Terms terms) {
  __shared__ T sums[ColumnParts::lines][N][ColumnParts::columns];
  const Index col = static_cast<Index>(blockIdx.x) * ColumnParts::columns + lane_number();
  const Index begin = static_cast<Index>(blockIdx.y) * of_part;
  const Index end = begin + of_part < rows ? begin + of_part : rows;
  T own[N];
  for (int n = 0; n < N; ++n) own[n] = 0;
  if (col < cols) {
    for (Index row = begin + warp_number(); row < end; row += ColumnParts::lines) {
      T value[N];
      terms(row, col, value);
      for (int n = 0; n < N; ++n) own[n] += value[n];
    }
  }
  for (int n = 0; n < N; ++n) sums[warp_number()][n][lane_number()] = own[n];
  __syncthreads();
  if (warp_number() >= N || col >= cols) return;
  T total = 0;
  for (int line = 0; line < ColumnParts::lines; ++line) total += sums[line][warp_number()][lane_number()];
  parts[(static_cast<Index>(blockIdx.y) * N + warp_number()) * cols + col] = total;
}

/// The n-th sum of a column: its parts in their order.
template <class T, int N>
__device__ __forceinline__ double parts_total(const T* parts, Index count, Index cols, Index n, Index col) {
  double total = 0;
  for (Index part = 0; part < count; ++part) total += static_cast<double>(parts[(part * N + n) * cols + col]);
  return total;
}

/// Pointers to up to three vectors; null ones are left out.
template <class T>
struct Vectors {
  T* data[3];
};

/// out[n] += scale * the sum of the parts, in their order.
template <class T, int N>
__global__ void add_column_parts(Vectors<T> out, const T* parts, Index count, Index cols, double scale) {
  const Index at = grid_thread();
  if (at >= N * cols) return;
  const Index n = at / cols;
  const Index col = at % cols;
  if (out.data[n] == nullptr) return;
  out.data[n][col] += static_cast<T>(scale * parts_total<T, N>(parts, count, cols, n, col));
}

/// parts (cut.count, N, cols) = the sums over the rows of each part of the N values that `terms` gives.
template <int N, class T, class Terms>
void take_column_parts(const Stream& stream, T* parts, const ColumnParts& cut, Index rows, Index cols,
                       const Terms& terms) {
  launch(stream, column_parts<T, N, Terms>,
         dim3(blocks_of(cols, ColumnParts::columns), static_cast<unsigned>(cut.count)),
         dim3(ColumnParts::columns * ColumnParts::lines), 0, parts, rows, cols, cut.of_part, terms);
}

/// out[n] (cols) += scale * the sum over rows of the n-th of the N values that `terms(row, col, T (&)[N])`
/// gives.
///
/// `terms` is called once for each row and column. Takes the stream's scratch memory.
template <int N, class T, class Terms>
void add_column_sums(const Stream& stream, const Vectors<T>& out, Index rows, Index cols, const Terms& terms,
                     double scale = 1.0) {
  static_assert(N <= 3);
  if (rows == 0 || cols == 0) return;
  const ColumnParts cut(rows);
  T* const parts = stream.scratch<T>(cut.count * N * cols);
  take_column_parts<N>(stream, parts, cut, rows, cols, terms);
  launch(stream, add_column_parts<T, N>, dim3(blocks_of(N * cols, 256)), dim3(256), 0, out,
         static_cast<const T*>(parts), cut.count, cols, scale);
}

/// The numbers of a matrix, of all rows or of those that are named.
template <class T>
struct MatrixTerms {
  const T* x;
  const std::int32_t* rows;
  Index cols;
  __device__ void operator()(Index row, Index col, T (&value)[1]) const {
    value[0] = x[(rows == nullptr ? row : static_cast<Index>(rows[row])) * cols + col];
  }
};

/// sum (P) += scale * the sum of the rows of x (M,P) that `rows` names, or of all.
template <class T>
void add_column_sum(const Stream& stream, VectorView<T> sum, MatrixView<const T> x, RowIndex rows,
                    double scale) {
  add_column_sums<1>(stream, Vectors<T>{{sum.data()}}, rows.empty() ? x.rows() : rows.size(), x.cols(),
                     MatrixTerms<T>{x.data(), rows.data(), x.cols()}, scale);
}

}  // namespace dssl::cuda
