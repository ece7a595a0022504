// What kernels of the Cuda backend are written in: sums over warps and blocks, teams, wide loads.
//
// All sums run in an order that depends on shapes alone, and nothing is added atomically, so results are
// equal from run to run. Reductions over warps and blocks are CUB's, whose order is that of lanes and warps.
// Kernels use whole warps, __syncthreads, __syncwarp, shuffles of whole warps, and no class of the standard
// library but through pointers (their member functions would ask for a flag of nvcc).
#pragma once

#include <cstddef>
#include <cstdint>

#include <cub/block/block_reduce.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cuda_runtime.h>

#include <dssl/core/tensor_view.hpp>

namespace dssl::cuda {

inline constexpr int warp_size = 32;
inline constexpr unsigned whole_warp = 0xffffffffU;

#if defined(__CUDACC__)
__device__ __forceinline__ unsigned char* dynamic_shared_bytes() {
  extern __shared__ __align__(16) unsigned char dssl_dynamic_shared[];
  return dssl_dynamic_shared;
}
#else
unsigned char* dynamic_shared_bytes();  // where kernels run without nvcc, that place defines it
#endif

/// Shared memory whose size the launch gave, aligned to 16 bytes.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  return reinterpret_cast<T*>(dynamic_shared_bytes());
}

/// The calling thread's number in its block, lane in its warp, and number of its warp, in blocks of one
/// dimension.
__device__ __forceinline__ int thread_number() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int lane_number() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ __forceinline__ int warp_number() { return static_cast<int>(threadIdx.x) / warp_size; }
__device__ __forceinline__ int threads_of_block() { return static_cast<int>(blockDim.x); }

/// Number of the thread in the whole grid, and how many there are.
__device__ __forceinline__ Index grid_thread() {
  return static_cast<Index>(blockIdx.x) * static_cast<Index>(blockDim.x) + static_cast<Index>(threadIdx.x);
}
__device__ __forceinline__ Index grid_threads() {
  return static_cast<Index>(gridDim.x) * static_cast<Index>(blockDim.x);
}

/// The larger of two numbers; NaN where one of them is.
struct Larger {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b || b != b ? b : a;
  }
};

/// Where the calling thread's warp keeps what a collective of CUB works in.
template <class Collective>
__device__ __forceinline__ typename Collective::TempStorage& storage_of_warp() {
  __shared__ typename Collective::TempStorage of_warp[warp_size];
  return of_warp[warp_number()];
}
/// The same of a block.
template <class Collective>
__device__ __forceinline__ typename Collective::TempStorage& storage_of_block() {
  __shared__ typename Collective::TempStorage of_block;
  return of_block;
}

/// The value of a warp's first lane in every lane. All meet here, so storage may be used again.
template <class T>
__device__ __forceinline__ T from_first_lane(T value) {
  return __shfl_sync(whole_warp, value, 0);
}
/// The value of a block's first thread, which it has from a reduction over the block, in every thread.
///
/// It has it when all threads have come to that reduction, so nobody reads what an earlier call left here.
template <class T>
__device__ __forceinline__ T from_first_thread(T value) {
  __shared__ T first;
  if (thread_number() == 0) first = value;
  __syncthreads();
  return first;
}

/// The sum over a warp, in every lane the same bits.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  using Reduce = cub::WarpReduce<T>;
  return from_first_lane(Reduce(storage_of_warp<Reduce>()).Sum(value));
}
/// The largest value of a warp, in every lane; NaN where one of them is.
template <class T>
__device__ __forceinline__ T warp_max(T value) {
  using Reduce = cub::WarpReduce<T>;
  return from_first_lane(Reduce(storage_of_warp<Reduce>()).Reduce(value, Larger{}));
}

/// The sum over a block of one dimension, in every thread the same bits. All threads must call it.
template <int Threads, class T>
__device__ __forceinline__ T block_sum(T value) {
  using Reduce = cub::BlockReduce<T, Threads>;
  return from_first_thread(Reduce(storage_of_block<Reduce>()).Sum(value));
}
/// The largest value of a block, in every thread; NaN where one of them is. All threads must call it.
template <int Threads, class T>
__device__ __forceinline__ T block_max(T value) {
  using Reduce = cub::BlockReduce<T, Threads>;
  return from_first_thread(Reduce(storage_of_block<Reduce>()).Reduce(value, Larger{}));
}

/// A warp that works on a row of its own; a block holds several. Whole warps may leave a kernel early.
struct WarpTeam {
  static constexpr int threads = 128;  // of a block
  static constexpr int rows = threads / warp_size;
  static __device__ __forceinline__ Index row() {
    return static_cast<Index>(blockIdx.x) * rows + warp_number();
  }
  static __device__ __forceinline__ int rank() { return lane_number(); }
  static __device__ __forceinline__ int size() { return warp_size; }
  /// op over the team, of any struct of a few numbers; in the thread of rank 0 alone.
  template <class T, class Op>
  static __device__ __forceinline__ T reduce(T value, Op op) {
    using Reduce = cub::WarpReduce<T>;
    return Reduce(storage_of_warp<Reduce>()).Reduce(value, op);
  }
  template <class T>
  static __device__ __forceinline__ T sum(T value) {
    return warp_sum(value);
  }
  template <class T>
  static __device__ __forceinline__ T max(T value) {
    return warp_max(value);
  }
};

/// A block that works on one row.
struct BlockTeam {
  static constexpr int threads = 512;
  static constexpr int rows = 1;
  static __device__ __forceinline__ Index row() { return static_cast<Index>(blockIdx.x); }
  static __device__ __forceinline__ int rank() { return thread_number(); }
  static __device__ __forceinline__ int size() { return threads; }
  template <class T, class Op>
  static __device__ __forceinline__ T reduce(T value, Op op) {
    using Reduce = cub::BlockReduce<T, threads>;
    return Reduce(storage_of_block<Reduce>()).Reduce(value, op);
  }
  template <class T>
  static __device__ __forceinline__ T sum(T value) {
    return block_sum<threads>(value);
  }
  template <class T>
  static __device__ __forceinline__ T max(T value) {
    return block_max<threads>(value);
  }
};

/// N neighbouring numbers, read and written at once: N sizeof(T) is at most 16, and the address a multiple of
/// it.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
};

template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <int N, class T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

/// How many T are 16 bytes.
template <class T>
inline constexpr int wide = static_cast<int>(16 / sizeof(T));

}  // namespace dssl::cuda
