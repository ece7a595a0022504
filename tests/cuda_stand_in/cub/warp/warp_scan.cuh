// Stand-in for CUB's running sums over a whole warp.
#pragma once

#include "../collective.h"

namespace cub {

template <class T>
class WarpScan {
 public:
  struct TempStorage {};

  explicit WarpScan(TempStorage&) {}

  /// below = the sum over the lanes before this one; all = that of the warp, in every lane.
  void ExclusiveSum(T input, T& below, T& all, const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
    cuda_stand_in::Grid& grid = *cuda_stand_in::Grid::running();
    grid.offer(input, place);
    below = all = T{};
    for (unsigned lane = 0; lane < cuda_stand_in::lanes_of_warp; ++lane) {
      if (lane == cuda_stand_in::lane()) below = all;
      all = all + grid.offered_by<T>(lane, place);
    }
  }
};

}  // namespace cub
