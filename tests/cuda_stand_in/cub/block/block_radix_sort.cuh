// Stand-in for CUB's sort of the numbers of a block, thread by thread: equal keys stay in their order.
#pragma once

#include <algorithm>
#include <utility>

#include "../collective.h"

namespace cub {

template <class Key, int Threads, int Items, class Value>
class BlockRadixSort {
 public:
  struct TempStorage {
    std::pair<Key, Value> items[Threads * Items];
    cuda_stand_in::StorageUse<Threads> use;
  };

  explicit BlockRadixSort(TempStorage& storage) : x_storage(storage) {}

  void SortDescending(Key (&keys)[Items], Value (&values)[Items],
                      const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
    x_storage.use.begin(place);
    const std::size_t thread = cuda_stand_in::Grid::running()->thread_number();
    auto* const own = x_storage.items + thread * Items;
    for (int i = 0; i < Items; ++i) own[i] = {keys[i], values[i]};
    __syncthreads(place);
    if (thread == 0) {
      std::stable_sort(x_storage.items, x_storage.items + Threads * Items,
                       [](const auto& a, const auto& b) { return a.first > b.first; });
    }
    __syncthreads(place);
    for (int i = 0; i < Items; ++i) {
      keys[i] = own[i].first;
      values[i] = own[i].second;
    }
    x_storage.use.end();
  }

 private:
  TempStorage& x_storage;
};

}  // namespace cub
