// Calls of the CUDA runtime: what is said where one fails, and the device that they are for. No kernels: any C++ compiler
// takes it with the toolkit's headers.
#pragma once

#include <cuda_runtime.h>

#include <dssl/backend/cuda/error.hpp>
#include <dssl/core/error.hpp>

namespace dssl::cuda {

/// Throws `CudaError` unless the call succeeded: "cudaMemcpyAsync failed in upload of 12 bytes: ...".
template <class... What>
void check(cudaError_t status, const char* call, const What&... what) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // not to be taken for a failure of the next call
  throw CudaError(call, join(call, " failed in ", what..., ": ", cudaGetErrorString(status), " (",
                             cudaGetErrorName(status), ")"));
}

/// Makes a device current, and the one that was before again at its end.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    check(cudaGetDevice(&x_before), "cudaGetDevice", "choosing a device");
    x_changed = x_before != device;
    if (x_changed) check(cudaSetDevice(device), "cudaSetDevice", "choosing device ", device);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() {
    if (x_changed) static_cast<void>(cudaSetDevice(x_before));
  }

 private:
  int x_before = 0;
  bool x_changed = false;
};

}  // namespace dssl::cuda
