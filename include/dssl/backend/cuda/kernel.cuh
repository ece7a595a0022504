// What kernels of the Cuda backend are written in: sums over warps and blocks, teams, wide loads.
//
// All sums run in an order that depends on shapes alone, and nothing is added atomically, so results are
// equal from run to run. Kernels use whole warps, __syncthreads, __syncwarp, shuffles of whole warps, and no
// class of the standard library but through pointers (their member functions would ask for a flag of nvcc).
#pragma once

#include <cstddef>
#include <cstdint>

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

/// The sum over a warp, in every lane the same bits.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int with = warp_size / 2; with > 0; with /= 2) value += __shfl_xor_sync(whole_warp, value, with);
  return value;
}

/// The largest value of a warp, in every lane; NaN where one of them is.
template <class T>
__device__ __forceinline__ T warp_max(T value) {
  for (int with = warp_size / 2; with > 0; with /= 2) {
    const T other = __shfl_xor_sync(whole_warp, value, with);
    value = value < other || other != other ? other : value;
  }
  return value;
}

/// Sums over a block of one dimension and whole warps, in every thread the same bits. All threads must call
/// it.
template <class T, int N>
__device__ __forceinline__ void block_sums(T (&values)[N]) {
  __shared__ T of_warp[N][warp_size];
  for (int n = 0; n < N; ++n) values[n] = warp_sum(values[n]);
  __syncthreads();  // an earlier call's sums have been read
  if (lane_number() == 0) {
    for (int n = 0; n < N; ++n) of_warp[n][warp_number()] = values[n];
  }
  __syncthreads();
  for (int n = 0; n < N; ++n) {
    T sum = of_warp[n][0];
    for (int w = 1; w < threads_of_block() / warp_size; ++w) sum += of_warp[n][w];
    values[n] = sum;
  }
}

template <class T>
__device__ __forceinline__ T block_sum(T value) {
  T values[1] = {value};
  block_sums(values);
  return values[0];
}

/// The largest value of a block, in every thread; NaN where one of them is. All threads must call it.
template <class T>
__device__ __forceinline__ T block_max(T value) {
  __shared__ T of_warp[warp_size];
  value = warp_max(value);
  __syncthreads();
  if (lane_number() == 0) of_warp[warp_number()] = value;
  __syncthreads();
  T most = of_warp[0];
  for (int w = 1; w < threads_of_block() / warp_size; ++w) {
    const T other = of_warp[w];
    most = most < other || other != other ? other : most;
  }
  return most;
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
  static __device__ __forceinline__ int size() { return threads_of_block(); }
  template <class T>
  static __device__ __forceinline__ T sum(T value) {
    return block_sum(value);
  }
  template <class T>
  static __device__ __forceinline__ T max(T value) {
    return block_max(value);
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
