// Cuda backend: its memory, what goes in and out of it, and work that is rehearsed or replayed.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/cuda/device.cuh>
#include <dssl/backend/cuda/graph.cuh>
#include <dssl/backend/cuda/product.cuh>
#include <dssl/backend/cuda/runtime.cuh>

namespace dssl {

template <std::floating_point T>
BasicCuda<T>::BasicCuda(const CudaOptions& options) : x_device(cuda::make_device<T>(options)) {}

template <std::floating_point T>
std::string BasicCuda<T>::describe() const {
  const char* products = precision() == Precision::bf16   ? ", products and attention in bf16"
                         : precision() == Precision::tf32 ? ", products and attention in TF32"
                                                          : "";
  return join("Cuda (", x_device->description, "; ", std::is_same_v<T, double> ? "float64" : "float32",
              products, x_device->graphs ? ", graphs)" : ")");
}

template <std::floating_point T>
Precision BasicCuda<T>::precision() const {
  return x_device->products.precision();
}

template <std::floating_point T>
std::size_t BasicCuda<T>::scratch_bytes() const {
  return x_device->stream.scratch_bytes() + cuda::Products::workspace_bytes;
}

template <std::floating_point T>
void BasicCuda<T>::synchronise() const {
  const cuda::OnDevice here(x_device->stream.device());
  x_device->stream.synchronise();
}

template <std::floating_point T>
void* BasicCuda<T>::stream() const {
  return x_device->stream.handle();
}

template <std::floating_point T>
int BasicCuda<T>::devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  static_cast<void>(cudaGetLastError());
  return 0;
}

template <std::floating_point T>
Buffer BasicCuda<T>::x_allocate(std::size_t bytes, const MemoryPlan& plan) const {
  const cuda::Call call(*x_device, "allocate", {static_cast<Index>(bytes)});
  void* data = nullptr;
  cuda::Block::allocate(&data, bytes, x_device->stream.device(), plan);
  Buffer buffer(static_cast<std::byte*>(data), bytes, [device = x_device](std::byte* p) {
    try {
      const cuda::OnDevice here(device->stream.device());
      static_cast<void>(cudaFree(p));
    } catch (const CudaError&) {  // a device that failed has given everything back
    }
  });
  x_device->stream.zero(data, bytes);
  return buffer;
}

template <std::floating_point T>
Buffer BasicCuda<T>::allocate(std::size_t bytes) const {
  return x_allocate(bytes, {});
}

template <std::floating_point T>
Buffer BasicCuda<T>::allocate(std::size_t bytes, const MemoryPlan& plan, const WorkingMemory& beside) const {
  const cuda::Call call(*x_device, "allocate", {static_cast<Index>(bytes)});
  const int device = x_device->stream.device();
  // The workspace is held already, and so may be scratch.
  const std::size_t held = std::min(beside.scratch, x_device->stream.scratch_bytes());
  const std::size_t asked = bytes + beside.scratch - held;
  std::size_t free = 0;
  std::size_t total = 0;
  cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo", "asking device ", device, " for its free memory");
  if (asked + cuda::left_to_driver > free) cuda::throw_out_of_memory(asked, device, plan);
  x_device->stream.reserve(beside, plan);
  return x_allocate(bytes, plan);
}

template <std::floating_point T>
WorkingMemory BasicCuda<T>::rehearse(const std::function<void()>& work) const {
  const cuda::Stream& stream = x_device->stream;
  stream.rehearse(true);
  try {
    work();
  } catch (...) {
    stream.rehearse(false);
    throw;
  }
  stream.rehearse(false);
  WorkingMemory needed = stream.rehearsed();
  needed.workspace = cuda::Products::workspace_bytes;
  return needed;
}

template <std::floating_point T>
bool BasicCuda<T>::rehearsing() const {
  return x_device->stream.rehearsing();
}

template <std::floating_point T>
void BasicCuda<T>::replay(Replay& kept, double key, const std::function<void()>& work) const {
  if (!x_device->graphs || x_device->stream.rehearsing()) return work();
  const cuda::OnDevice here(x_device->stream.device());
  if (kept.x_graph == nullptr) kept.x_graph = std::make_shared<cuda::Graph>();
  kept.x_graph->run(x_device->stream, key, work);
}

template <std::floating_point T>
void BasicCuda<T>::x_upload(void* destination, const void* source, std::size_t bytes) const {
  const cuda::OnDevice here(x_device->stream.device());
  x_device->stream.upload(destination, source, bytes);
}

template <std::floating_point T>
void BasicCuda<T>::x_download(void* destination, const void* source, std::size_t bytes) const {
  const cuda::OnDevice here(x_device->stream.device());
  x_device->stream.download(destination, source, bytes);
}

}  // namespace dssl
