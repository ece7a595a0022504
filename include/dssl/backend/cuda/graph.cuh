// Cuda backend: work that is recorded once and given to the device again as a whole.
#pragma once

#include <cstddef>
#include <functional>

#include <cuda_runtime.h>

#include <dssl/backend/cuda/runtime.cuh>

namespace dssl::cuda {

/// One piece of work, as a CUDA graph once it has come twice with the same key.
///
/// What is recorded holds addresses and numbers as they were: the key stands for the numbers, and the address of the
/// stream's scratch is compared, so whatever changes is done directly once and then recorded anew. The first time is
/// always direct: kernels are loaded, algorithms chosen and scratch allocated then, none of which may happen while a
/// stream records.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() { x_forget(); }

  /// Calls `work`, or launches what was recorded of it.
  void run(const Stream& stream, double key, const std::function<void()>& work) {
    if (!x_known || x_key != key || x_scratch != stream.scratch_address()) {
      x_forget();
      work();
      x_key = key;
      x_scratch = stream.scratch_address();
      x_known = true;
      return;
    }
    if (x_graph == nullptr) {
      x_known = false;  // where recording fails, the next time is direct again
      x_record(stream, work);
      x_known = true;
    }
    check(cudaGraphLaunch(x_graph, stream.handle()), "cudaGraphLaunch", "launching what ended with ",
          stream.operation());
  }

 private:
  void x_forget() {
    if (x_graph != nullptr) static_cast<void>(cudaGraphExecDestroy(x_graph));
    x_graph = nullptr;
    x_known = false;
  }

  void x_record(const Stream& stream, const std::function<void()>& work) {
    // Of this thread: what others do meanwhile, on streams of their own, is none of its business.
    check(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture",
          "recording after ", stream.operation());
    cudaGraph_t recorded = nullptr;
    stream.record(true);
    try {
      work();
    } catch (...) {
      stream.record(false);
      static_cast<void>(cudaStreamEndCapture(stream.handle(), &recorded));
      if (recorded != nullptr) static_cast<void>(cudaGraphDestroy(recorded));
      static_cast<void>(cudaGetLastError());
      throw;
    }
    stream.record(false);
    check(cudaStreamEndCapture(stream.handle(), &recorded), "cudaStreamEndCapture", "recording up to ",
          stream.operation());
    const cudaError_t status = cudaGraphInstantiate(&x_graph, recorded, 0);
    static_cast<void>(cudaGraphDestroy(recorded));
    if (status != cudaSuccess) x_graph = nullptr;
    check(status, "cudaGraphInstantiate", "recording up to ", stream.operation());
  }

  cudaGraphExec_t x_graph = nullptr;
  double x_key = 0;
  const std::byte* x_scratch = nullptr;
  bool x_known = false;  // the last call had this key and this scratch
};

}  // namespace dssl::cuda
