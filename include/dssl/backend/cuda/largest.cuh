// Cuda backend: the largest numbers of rows, and where they stand.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <cub/block/block_radix_sort.cuh>

#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cuda {

/// A number of a row, and its column.
template <class T>
struct PlacedNumber {
  T value;
  std::int32_t column;
};

/// The larger number; among equals that of the lower column.
struct LargerPlaced {
  template <class T>
  __device__ __forceinline__ PlacedNumber<T> operator()(const PlacedNumber<T>& a, const PlacedNumber<T>& b) const {
    return a.value < b.value || (a.value == b.value && b.column < a.column) ? b : a;
  }
};

template <class T>
__device__ __forceinline__ T least_number() {
  return -static_cast<T>(INFINITY);
}
template <class T>
__device__ __forceinline__ T least_where_none(T x) {
  return x == x ? x : least_number<T>();
}

/// values (rows), columns (rows) = the largest number of each row.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    largest_number(T* values, std::int32_t* columns, const T* x, Index rows, Index width) {
  const Index row = Team::row();
  if (row >= rows) return;
  const T* const in = x + row * width;
  PlacedNumber<T> own{least_number<T>(), static_cast<std::int32_t>(width)};
  for (Index c = Team::rank(); c < width; c += Team::size()) {
    own = LargerPlaced{}(own, PlacedNumber<T>{least_where_none(in[c]), static_cast<std::int32_t>(c)});
  }
  own = Team::reduce(own, LargerPlaced{});
  if (Team::rank() != 0) return;
  values[row] = own.value;
  columns[row] = own.column;
}

/// How the largest of a row are sorted out: a tile at a time, the best so far in front of what is new.
struct LargestTile {
  static constexpr int threads = 256;
  static constexpr int items = 8;  // of a thread
  static constexpr int size = threads * items;
  static constexpr int most = size / 2;  // that are kept, so that each tile brings as many
};

/// values (rows, count), columns (rows, count) = the largest of each row, largest first; a block a row.
///
/// A row is read once. (cub::DeviceSegmentedRadixSort would write every number of it four times or more, with its
/// column beside it, and wants memory for two more matrices of both.)
template <class T>
__global__ void __launch_bounds__(LargestTile::threads)
    largest_numbers(T* values, std::int32_t* columns, const T* x, Index width, int count) {
  using Sort = cub::BlockRadixSort<T, LargestTile::threads, LargestTile::items, std::int32_t>;
  __shared__ T best[LargestTile::most];
  __shared__ std::int32_t place[LargestTile::most];
  const T* const in = x + static_cast<Index>(blockIdx.x) * width;
  int held = 0;
  for (Index next = 0; next < width;) {
    T number[LargestTile::items];
    std::int32_t column[LargestTile::items];
    for (int i = 0; i < LargestTile::items; ++i) {
      const int slot = thread_number() * LargestTile::items + i;
      const Index c = next + slot - held;
      const bool is_held = slot < held;
      column[i] = is_held ? place[slot] : static_cast<std::int32_t>(c);
      number[i] = is_held ? best[slot] : c < width ? least_where_none(in[c]) : least_number<T>();
    }
    // Equal numbers stay in the order of their slots, so of their columns; beyond the row they come last.
    Sort(storage_of_block<Sort>()).SortDescending(number, column);
    for (int i = 0; i < LargestTile::items; ++i) {
      const int slot = thread_number() * LargestTile::items + i;
      if (slot >= count) continue;
      best[slot] = number[i];
      place[slot] = column[i];
    }
    __syncthreads();
    next += LargestTile::size - held;
    held = count;
  }
  const Index first = static_cast<Index>(blockIdx.x) * count;
  for (int i = thread_number(); i < count; i += LargestTile::threads) {
    values[first + i] = best[i];
    columns[first + i] = place[i];
  }
}

/// See `SelectsLargest` in backend/concept.hpp. Equal bits in every order of threads.
template <class T>
void largest_of_rows(const Stream& stream, MatrixView<T> values, MatrixView<std::int32_t> columns,
                     MatrixView<const T> x) {
  const Index count = values.cols();
  require_shape(values.rows() == x.rows() && columns.rows() == x.rows() && columns.cols() == count && count >= 1 &&
                    count <= std::min(x.cols(), Index{LargestTile::most}),
                "largest_of_rows: values ", values.rows(), " x ", count, ", columns ", columns.rows(), " x ",
                columns.cols(), " of ", x.rows(), " x ", x.cols(), "; expected 1 to ",
                std::min(x.cols(), Index{LargestTile::most}), " of each row");
  if (count == 1) {
    launch_rows(stream, largest_number<WarpTeam, T>, largest_number<BlockTeam, T>, x.rows(), x.cols(), values.data(),
                columns.data(), x.data(), x.rows(), x.cols());
  } else {
    launch(stream, largest_numbers<T>, dim3(static_cast<unsigned>(x.rows())), dim3(LargestTile::threads), 0,
           values.data(), columns.data(), x.data(), x.cols(), static_cast<int>(count));
  }
}

}  // namespace dssl::cuda
