// Stand-in for CUB's reduction over a whole warp: the result is in lane 0 alone.
#pragma once

#include "../collective.h"

namespace cub {

template <class T>
class WarpReduce {
 public:
  struct TempStorage {};  // what shuffles do needs none

  explicit WarpReduce(TempStorage&) {}

  T Sum(T input, const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
    return Reduce(input, cuda_stand_in::Plus{}, place);
  }
  template <class Op>
  T Reduce(T input, Op op, const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
    using cuda_stand_in::lanes_of_warp;
    cuda_stand_in::Grid& grid = *cuda_stand_in::Grid::running();
    grid.offer(input, place);
    if (cuda_stand_in::lane() != 0) return cuda_stand_in::no_result<T>();
    T values[lanes_of_warp];
    for (unsigned lane = 0; lane < lanes_of_warp; ++lane) values[lane] = grid.offered_by<T>(lane, place);
    cuda_stand_in::reduce_lanes(values, op);
    return values[0];
  }
};

}  // namespace cub
