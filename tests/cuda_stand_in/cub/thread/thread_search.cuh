// Stand-in for CUB's search by one thread.
#pragma once

#include <algorithm>

namespace cub {

/// How many numbers of an ascending list are not above a value.
template <class T, class Offset>
Offset UpperBound(const T* list, Offset count, T value) {
  return static_cast<Offset>(std::upper_bound(list, list + count, value) - list);
}

}  // namespace cub
