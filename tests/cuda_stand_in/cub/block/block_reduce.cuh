// Stand-in for CUB's reduction over a block of whole warps in one dimension: the result is in thread 0 alone.
#pragma once

#include "../collective.h"

namespace cub {

template <class T, int Threads>
class BlockReduce {
  static_assert(Threads % cuda_stand_in::lanes_of_warp == 0);

 public:
  struct TempStorage {
    T values[Threads];
    cuda_stand_in::StorageUse<Threads> use;
  };

  explicit BlockReduce(TempStorage& storage) : x_storage(storage) {}

  T Sum(T input, const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
    return Reduce(input, cuda_stand_in::Plus{}, place);
  }
  /// Each warp by itself, then the warps in their order.
  template <class Op>
  T Reduce(T input, Op op, const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
    using cuda_stand_in::lanes_of_warp;
    x_storage.use.begin(place);
    const std::size_t thread = cuda_stand_in::Grid::running()->thread_number();
    x_storage.values[thread] = input;
    __syncthreads(place);
    x_storage.use.end();
    if (thread != 0) return cuda_stand_in::no_result<T>();
    T* const values = x_storage.values;
    cuda_stand_in::reduce_lanes(values, op);
    T whole = values[0];
    for (int warp = lanes_of_warp; warp < Threads; warp += lanes_of_warp) {
      cuda_stand_in::reduce_lanes(values + warp, op);
      whole = op(whole, values[warp]);
    }
    return whole;
  }

 private:
  TempStorage& x_storage;
};

}  // namespace cub
