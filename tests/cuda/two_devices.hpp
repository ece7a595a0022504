// A second device of the stand-in, for tests that work on two.
#pragma once

#include <cuda_runtime.h>

namespace dssl::test {

/// Two devices, of which the first is the thread's current one, until the end of a test.
class TwoDevices {
 public:
  TwoDevices() { cuda_stand_in::Device::get().count = 2; }
  TwoDevices(const TwoDevices&) = delete;
  TwoDevices& operator=(const TwoDevices&) = delete;
  ~TwoDevices() {
    static_cast<void>(cudaSetDevice(0));
    cuda_stand_in::Device::get().count = 1;
  }
  [[nodiscard]] static int current() {
    int device = -1;
    static_cast<void>(cudaGetDevice(&device));
    return device;
  }
};

}  // namespace dssl::test
