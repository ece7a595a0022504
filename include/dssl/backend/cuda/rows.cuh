// Cuda backend: patches, row moves and interpolated reads.
//
// What adds rows that may repeat gives each row of the result to one warp, which looks for itself in the list
// of rows and adds in the order of the list: no two warps write the same row, and nothing has to be sorted.
// (A sort by rows and a sum by key, as CUB has them, would write the list and the sums once more each.)
#pragma once

#include <cstddef>

#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>

namespace dssl::cuda {

/// How many rows a move touches.
[[nodiscard]] inline Index moved_rows(RowIndex dst_rows, RowIndex src_rows, Index src_extent) {
  return !dst_rows.empty() ? dst_rows.size() : !src_rows.empty() ? src_rows.size() : src_extent;
}

__device__ __forceinline__ Index row_of(const std::int32_t* rows, Index i) {
  return rows == nullptr ? i : static_cast<Index>(rows[i]);
}

template <class T>
__global__ void unfold(T* patches, const T* images, Index count, Index channels, Index h, Index w, Index p) {
  const Index width = channels * p * p;
  const Index image_width = w * p;
  for (Index i = grid_thread(); i < count; i += grid_threads()) {
    const Index row = i / width;
    const Index at = i % width;
    const Index c = at / (p * p);
    const Index y = at / p % p;
    const Index x = at % p;
    const Index s = row / (h * w);
    const Index top = row / w % h * p + y;
    patches[i] = images[((s * channels + c) * (h * p) + top) * image_width + row % w * p + x];
  }
}

template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    move_rows(T* dst, const std::int32_t* dst_rows, const T* src, const std::int32_t* src_rows, Index count,
              Index width, bool adds) {
  const Index i = Team::row();
  if (i >= count) return;
  T* const to = dst + row_of(dst_rows, i) * width;
  const T* const from = src + row_of(src_rows, i) * width;
  for (Index d = Team::rank(); d < width; d += Team::size()) to[d] = adds ? to[d] + from[d] : from[d];
}

/// Where a warp's row stands in a list of rows, each time in the order of the list: found(i) for each i.
template <class Rows, class Found>
__device__ __forceinline__ void for_places(Index row, Index count, const Rows& rows, const Found& found) {
  for (Index first = 0; first < count; first += warp_size) {
    const Index own = first + lane_number();
    unsigned here = __ballot_sync(whole_warp, own < count && rows(own) == row ? 1 : 0);
    while (here != 0) {
      const int lane = __ffs(static_cast<int>(here)) - 1;
      found(first + lane);
      here &= here - 1;
    }
  }
}

struct ListedRows {
  const std::int32_t* rows;
  __device__ __forceinline__ Index operator()(Index i) const { return static_cast<Index>(rows[i]); }
};

template <class T>
__global__ void __launch_bounds__(WarpTeam::threads)
    add_listed_rows(T* dst, ListedRows dst_rows, const T* src, const std::int32_t* src_rows, Index count,
                    Index rows, Index width) {
  const Index row = WarpTeam::row();
  if (row >= rows) return;
  T* const to = dst + row * width;
  for_places(row, count, dst_rows, [&](Index i) {
    const T* const from = src + row_of(src_rows, i) * width;
    for (Index d = lane_number(); d < width; d += warp_size) to[d] += from[d];
  });
}

/// `Taps` as kernels read it.
template <class T>
struct TapNumbers {
  static constexpr Index count = 16;
  std::int32_t row[count];
  T weight[count];
};

template <class T>
struct TapRows {
  const TapNumbers<T>* taps;
  __device__ __forceinline__ Index operator()(Index i) const {
    return static_cast<Index>(taps[i / TapNumbers<T>::count].row[i % TapNumbers<T>::count]);
  }
};

template <class T>
[[nodiscard]] const TapNumbers<T>* tap_numbers(VectorView<const Taps<T>> taps) {
  static_assert(sizeof(TapNumbers<T>) == sizeof(Taps<T>) && alignof(TapNumbers<T>) == alignof(Taps<T>));
  return reinterpret_cast<const TapNumbers<T>*>(taps.data());
}

template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    sample(T* out, const T* table, const TapNumbers<T>* taps, Index rows, Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  const TapNumbers<T>& tap = taps[m];
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    T sum = 0;
    for (int t = 0; t < TapNumbers<T>::count; ++t)
      sum += tap.weight[t] * table[static_cast<Index>(tap.row[t]) * width + d];
    out[m * width + d] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(WarpTeam::threads)
    sample_backward(T* d_table, const T* d_out, TapRows<T> taps, Index count, Index rows, Index width) {
  const Index row = WarpTeam::row();
  if (row >= rows) return;
  T* const to = d_table + row * width;
  for_places(row, count, taps, [&](Index i) {
    const Index m = i / TapNumbers<T>::count;
    const T weight = taps.taps[m].weight[i % TapNumbers<T>::count];
    for (Index d = lane_number(); d < width; d += warp_size) to[d] += weight * d_out[m * width + d];
  });
}

template <class T>
void unfold_patches(const Stream& stream, MatrixView<T> patches, TensorView<const T, 4> images, Index p) {
  launch_over(stream, unfold<T>, patches.size(), patches.data(), images.data(), patches.size(),
              images.extent(1), images.extent(2) / p, images.extent(3) / p, p);
}

template <class T>
void copy_rows(const Stream& stream, MatrixView<T> dst, RowIndex dst_rows, MatrixView<const T> src,
               RowIndex src_rows) {
  const Index count = moved_rows(dst_rows, src_rows, src.rows());
  launch_rows(stream, move_rows<WarpTeam, T>, move_rows<BlockTeam, T>, count, src.cols(), dst.data(),
              dst_rows.data(), src.data(), src_rows.data(), count, src.cols(), false);
}

/// dst[dst_rows[i]] += src[src_rows[i]]; cost where `dst_rows` is given: dst.rows() times their number of
/// comparisons.
template <class T>
void add_rows(const Stream& stream, MatrixView<T> dst, RowIndex dst_rows, MatrixView<const T> src,
              RowIndex src_rows) {
  const Index count = moved_rows(dst_rows, src_rows, src.rows());
  if (dst_rows.empty()) {
    launch_rows(stream, move_rows<WarpTeam, T>, move_rows<BlockTeam, T>, count, src.cols(), dst.data(),
                dst_rows.data(), src.data(), src_rows.data(), count, src.cols(), true);
    return;
  }
  launch(stream, add_listed_rows<T>, dim3(blocks_of(dst.rows(), WarpTeam::rows)), dim3(WarpTeam::threads), 0,
         dst.data(), ListedRows{dst_rows.data()}, src.data(), src_rows.data(), count, dst.rows(), src.cols());
}

template <class T>
void sample_rows_forward(const Stream& stream, MatrixView<T> out, MatrixView<const T> table,
                         VectorView<const Taps<T>> taps) {
  launch_rows(stream, sample<WarpTeam, T>, sample<BlockTeam, T>, out.rows(), out.cols(), out.data(),
              table.data(), tap_numbers(taps), out.rows(), out.cols());
}

template <class T>
void sample_rows_backward(const Stream& stream, MatrixView<T> d_table, MatrixView<const T> d_out,
                          VectorView<const Taps<T>> taps) {
  launch(stream, sample_backward<T>, dim3(blocks_of(d_table.rows(), WarpTeam::rows)), dim3(WarpTeam::threads),
         0, d_table.data(), d_out.data(), TapRows<T>{tap_numbers(taps)}, d_out.rows() * TapNumbers<T>::count,
         d_table.rows(), d_table.cols());
}

}  // namespace dssl::cuda
