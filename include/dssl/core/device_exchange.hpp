// What adds the numbers of ranks where they lie, in the memory of a device each.
// Tests: tests/cuda/nccl.cpp.
#pragma once

#include <cstddef>

#include <dssl/core/rank_part.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Numbers in a device's memory, and the stream of work that makes them and reads them.
struct DeviceNumbers {
  void* data = nullptr;
  Index count = 0;
  std::size_t number_bytes = 0;  ///< 4: float, 8: double
  void* stream = nullptr;        ///< as the backend's library has it, such as cudaStream_t
};

/// What carries numbers between devices: `NcclRanks`. All ranks call the same functions in the same order with as many
/// numbers; each returns once its own are there, behind all that the stream was given before.
///
/// In every result a number has the same bits on all ranks; the order of a sum is the library's. Throws `RankError` in
/// bounded time where another rank has left, or is not heard of; nothing can be exchanged after that.
class DeviceExchange {
 public:
  DeviceExchange() = default;
  DeviceExchange(const DeviceExchange&) = delete;
  DeviceExchange& operator=(const DeviceExchange&) = delete;
  virtual ~DeviceExchange() = default;

  /// values (n) = their sum over ranks.
  virtual void all_sum(const DeviceNumbers& values) = 0;
  /// This rank's part of values (n) = its sum over ranks. The others stay as they are.
  virtual void sum_parts(const DeviceNumbers& values, const RankPart& part) = 0;
  /// values (n) = of each rank its part.
  virtual void gather_parts(const DeviceNumbers& values, const RankPart& part) = 0;
};

}  // namespace dssl
