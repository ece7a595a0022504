// What the stand-ins for CUB's collectives share. CUB gives a result to one thread, and wants a barrier before storage
// is used again: here the others get what is no number, and a barrier that is missing fails the launch.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

namespace cuda_stand_in {

/// What a thread holds that is promised nothing: all bits set, NaN of floating-point numbers.
template <class T>
T no_result() {
  static_assert(std::is_trivially_copyable_v<T>);
  alignas(T) std::array<std::byte, sizeof(T)> bytes;
  bytes.fill(std::byte{0xff});
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// In the order of CUB's shuffles: neighbours first, then pairs of them, ...; the result is values[0].
template <class T, class Op>
void reduce_lanes(T* values, Op op) {
  for (std::size_t apart = 1; apart < lanes_of_warp; apart *= 2) {
    for (std::size_t lane = 0; lane < lanes_of_warp; lane += 2 * apart) {
      values[lane] = op(values[lane], values[lane + apart]);
    }
  }
}

struct Plus {
  template <class T>
  T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

/// The uses of a block's temporary storage by its threads.
template <int Threads>
class StorageUse {
 public:
  /// Fails the launch where the block has another size, or has met at no barrier since the thread's last use.
  void begin(const Place& place) {
    Grid& grid = *Grid::running();
    if (grid.threads() != Threads) {
      grid.fail(Grid::describe(place) + ": a collective of " + std::to_string(Threads) + " threads in a block of " +
                std::to_string(grid.threads()));
    }
    if (x_last[grid.thread_number()] == grid.block_barriers()) {
      grid.fail(Grid::describe(place) + ": temporary storage is used again before a barrier");
    }
  }
  void end() { x_last[Grid::running()->thread_number()] = Grid::running()->block_barriers(); }

 private:
  std::array<std::uint64_t, Threads> x_last{};
};

}  // namespace cuda_stand_in
