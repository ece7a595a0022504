// Where these tests run: on the stand-in, or on a device.
#pragma once

#include "catch.hpp"

#include <string>

#include <dssl/backend/cuda.hpp>

namespace dssl::test {

/// How many ways of running the same work there are, whose results must have the same bits: orders of threads
/// and blocks on the stand-in, repeats on a device.
int ways_of_running();
void run_in_way(int way);

/// Why no test can run here; empty where they can. Only that there is no device, or no driver for it, is a reason:
/// a device that cannot be used is a failure.
inline std::string reason_to_skip() {
  try {
    const Cuda device;
    return {};
  } catch (const CudaError& error) {
    if (error.call() != "cudaGetDeviceCount") throw;
    return error.what();
  }
}

/// Whether there is a device; says so where there is none, in the words that ctest takes for a skipped test.
inline bool device_is_there() {
  const std::string reason = reason_to_skip();
  if (!reason.empty()) WARN("skipped: " << reason);
  return reason.empty();
}

}  // namespace dssl::test
