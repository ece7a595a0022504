// A stand-in for the parts of the CUDA runtime that dssl uses, which runs kernels on the host, compiled by
// any C++ compiler: threads of a block are fibers (fibers.h), memory of the device faults when the host
// touches it, and work given to a stream is done when somebody waits for it (device.h).
//
// It shows that kernels compute what they should, stay inside their buffers, meet at their barriers and do
// not depend on the order of threads and blocks. It shows nothing about speed, and rounds as the host does.
#pragma once

#include <math.h>  // sqrt, exp, ... of float by their plain names
#include <cmath>

#include "device.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define __grid_constant__

#define CUDART_VERSION 13000

struct cudaStreamStandIn : cuda_stand_in::Stream {};
using cudaStream_t = cudaStreamStandIn*;
struct cudaEventStandIn {
  std::shared_ptr<cuda_stand_in::Mark> mark;
  int device = 0;
};
using cudaEvent_t = cudaEventStandIn*;
struct cudaGraphStandIn {
  cuda_stand_in::Recorded work;
};
using cudaGraph_t = cudaGraphStandIn*;
struct cudaGraphExecStandIn {
  std::shared_ptr<const cuda_stand_in::Recorded> work;
};
using cudaGraphExec_t = cudaGraphExecStandIn*;
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0 };
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16BF = 14 };
using cudaDataType = cudaDataType_t;

struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};
struct cudaFuncAttributes {
  std::size_t sharedSizeBytes;
  int maxThreadsPerBlock;
};
struct cudaLaunchAttribute {};
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

namespace cuda_stand_in {

/// What a call returns that is asked to fail, or after work has failed.
inline cudaError_t begin_call(const char* name) {
  Device& device = Device::get();
  for (const char* const forbidden :
       {"cudaMalloc", "cudaMallocHost", "cudaStreamCreateWithFlags", "cudaStreamSynchronize", "cudaEventRecord",
        "cudaEventSynchronize", "cudaStreamWaitEvent", "cudaGraphLaunch"}) {
    if (std::strcmp(name, forbidden) == 0 && device.unless_recording() != cudaSuccess) return device.last;
  }
  const cudaError_t asked = device.asked_to_fail(name);
  return device.note(asked != cudaSuccess ? asked : device.sticky);
}

/// Whether a kernel may be given to the stream now.
inline bool on_current_device(const Stream* stream) {
  return stream == nullptr || stream->device == current_device();
}

inline constexpr std::size_t most_shared_memory =
    99 * 1024;  // of compute capability 8.6 and 8.9, the least of those built for

}  // namespace cuda_stand_in

inline const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
  }
  return "an unknown error";
}
/// After work that failed: what it did wrong.
inline const char* cudaGetErrorString(cudaError_t error) {
  const cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  if (error != cudaSuccess && error == device.sticky) return device.report.c_str();
  return error == cudaErrorMemoryAllocation ? "out of memory" : cudaGetErrorName(error);
}
inline cudaError_t cudaGetLastError() {
  return std::exchange(cuda_stand_in::Device::get().last, cuda_stand_in::Device::get().sticky);
}
inline cudaError_t cudaPeekAtLastError() { return cuda_stand_in::Device::get().last; }

inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = cuda_stand_in::Device::get().count;
  return cuda_stand_in::begin_call("cudaGetDeviceCount");
}
inline cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= cuda_stand_in::Device::get().count) return cudaErrorInvalidDevice;
  cuda_stand_in::current_device() = device;
  return cuda_stand_in::begin_call("cudaSetDevice");
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = cuda_stand_in::current_device();
  return cuda_stand_in::begin_call("cudaGetDevice");
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strncpy(properties->name, "stand-in for a GPU", sizeof properties->name - 1);
  properties->totalGlobalMem = cuda_stand_in::Device::get().total_memory;
  properties->major = 8;
  properties->minor = 6;
  properties->multiProcessorCount = 4;
  return cuda_stand_in::begin_call("cudaGetDeviceProperties");
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 8;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 6;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(cuda_stand_in::most_shared_memory);
      break;
  }
  return cuda_stand_in::begin_call("cudaDeviceGetAttribute");
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cuda_stand_in::begin_call("cudaRuntimeGetVersion");
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cuda_stand_in::begin_call("cudaDriverGetVersion");
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = cuda_stand_in::Device::get().total_memory;
  *free = *total - cuda_stand_in::Device::get().used(cuda_stand_in::current_device());
  return cuda_stand_in::begin_call("cudaMemGetInfo");
}

template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  return cuda_stand_in::begin_call("cudaFuncGetAttributes");
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<std::size_t>(value) > cuda_stand_in::most_shared_memory)
    return cudaErrorInvalidValue;
  const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
  cuda_stand_in::Device::get().dynamic_shared_limits[reinterpret_cast<const void*>(kernel)] = value;
  return cuda_stand_in::begin_call("cudaFuncSetAttribute");
}

inline cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaMalloc"); error != cudaSuccess) return error;
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  *data = device.allocate(bytes);
  return device.note(*data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}
inline cudaError_t cudaFree(void* data) {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  if (const cudaError_t error = device.unless_recording(); error != cudaSuccess) return error;
  static_cast<void>(device.finish_all());
  if (data == nullptr) return cudaSuccess;
  return device.note(device.free(data) ? device.sticky : cudaErrorInvalidValue);
}
inline cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaMallocHost"); error != cudaSuccess)
    return error;
  *data = cuda_stand_in::Device::get().allocate_pinned(bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* data) {
  if (data == nullptr) return cudaSuccess;
  if (const cudaError_t error = cuda_stand_in::Device::get().unless_recording(); error != cudaSuccess) return error;
  static_cast<void>(cuda_stand_in::Device::get().finish_all());
  return cuda_stand_in::Device::get().free_pinned(data) ? cudaSuccess : cudaErrorInvalidValue;
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaStreamCreateWithFlags"); error != cudaSuccess)
    return error;
  *stream = new cudaStreamStandIn;
  (*stream)->device = cuda_stand_in::current_device();
  cuda_stand_in::Device::get().add_stream(*stream);
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t error = cuda_stand_in::Device::get().finish(stream);
  cuda_stand_in::Device::get().remove_stream(stream);
  delete stream;
  return error;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaStreamSynchronize"); error != cudaSuccess) return error;
  return cuda_stand_in::Device::get().finish(stream);
}
inline cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t error = cuda_stand_in::Device::get().unless_recording(); error != cudaSuccess) return error;
  return cuda_stand_in::Device::get().finish_all();
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new cudaEventStandIn;
  (*event)->device = cuda_stand_in::current_device();
  return cuda_stand_in::begin_call("cudaEventCreateWithFlags");
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaEventRecord"); error != cudaSuccess) return error;
  if (stream != nullptr && event->device != stream->device) {
    return cuda_stand_in::Device::get().note(cudaErrorInvalidResourceHandle);
  }
  event->mark = std::make_shared<cuda_stand_in::Mark>();
  event->mark->stream = stream;
  return cuda_stand_in::Device::get().enqueue(stream, [mark = event->mark] { mark->reached = true; });
}
/// Does what was given to the event's stream before the event.
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaEventSynchronize"); error != cudaSuccess) return error;
  return event->mark == nullptr ? cudaSuccess : cuda_stand_in::Device::get().finish_until(*event->mark);
}
/// The stream's later work waits for the event as it is now.
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaStreamWaitEvent"); error != cudaSuccess) return error;
  if (event->mark == nullptr) return cudaSuccess;
  return cuda_stand_in::Device::get().enqueue(
      stream, [] {}, [mark = event->mark] { return cuda_stand_in::Device::get().reach(*mark); });
}
/// Whether the stream has come to the event; it goes on as far as it can meanwhile.
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaEventQuery"); error != cudaSuccess) return error;
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  const bool reached = event->mark == nullptr || device.reach(*event->mark);
  return device.note(device.sticky != cudaSuccess ? device.sticky : reached ? cudaSuccess : cudaErrorNotReady);
}

/// From the host: at once where its memory is not pinned, by way of a copy; else when the stream gets there.
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
  using cuda_stand_in::Device;
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaMemcpyAsync"); error != cudaSuccess)
    return error;
  Device& device = Device::get();
  if (bytes == 0) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (device.holds(to, bytes) != to_device || device.holds(from, bytes) != from_device) {
    return device.note(cudaErrorInvalidValue);
  }
  // A device would record a copy of pinned memory, and read there what lies there when it is launched.
  if (kind != cudaMemcpyDeviceToDevice) {
    if (const cudaError_t error = device.unless_recording(); error != cudaSuccess) return error;
  }
  if (kind == cudaMemcpyHostToDevice && !device.pinned(from)) {
    const auto* begin = static_cast<const std::byte*>(from);
    return device.enqueue(stream, [to, copy = std::vector<std::byte>(begin, begin + bytes)] {
      std::memcpy(to, copy.data(), copy.size());
    });
  }
  const cudaError_t error = device.enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  if (error != cudaSuccess || kind != cudaMemcpyDeviceToHost || device.pinned(to)) return error;
  return device.finish(stream);
}
inline cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
  using cuda_stand_in::Device;
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaMemsetAsync"); error != cudaSuccess)
    return error;
  if (bytes != 0 && !Device::get().holds(data, bytes)) return Device::get().note(cudaErrorInvalidValue);
  return Device::get().enqueue(stream, [=] { std::memset(data, value, bytes); });
}

/// From here on the stream records: nothing of what it is given is done.
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  using cuda_stand_in::Device;
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaStreamBeginCapture"); error != cudaSuccess) return error;
  if (stream == nullptr || Device::get().recorder != nullptr) return Device::get().note(cudaErrorInvalidValue);
  Device::get().recorder = stream;
  Device::get().recording_spoilt = false;
  Device::get().recorded.clear();
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  *graph = nullptr;
  if (stream == nullptr || stream != device.recorder) return device.note(cudaErrorInvalidValue);
  device.recorder = nullptr;
  if (device.recording_spoilt) return device.note(cudaErrorStreamCaptureInvalidated);
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaStreamEndCapture"); error != cudaSuccess) return error;
  ++device.recordings;
  *graph = new cudaGraphStandIn{std::move(device.recorded)};
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaGraphInstantiate"); error != cudaSuccess) return error;
  *exec = new cudaGraphExecStandIn{std::make_shared<const cuda_stand_in::Recorded>(graph->work)};
  return cudaSuccess;
}
/// What was launched and not done yet goes on without it.
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  using cuda_stand_in::Device;
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaGraphLaunch"); error != cudaSuccess) return error;
  ++Device::get().graph_launches;
  return Device::get().enqueue(stream, [work = exec->work] {
    for (const auto& each : *work) {
      if (Device::get().sticky == cudaSuccess) each();
    }
  });
}

/// The kernel runs when the stream gets there, with its arguments as they are now.
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  using cuda_stand_in::Device;
  if (const cudaError_t error = cuda_stand_in::begin_call("cudaLaunchKernelEx"); error != cudaSuccess)
    return error;
  Device& device = Device::get();
  const dim3 grid = config->gridDim;
  const dim3 block = config->blockDim;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || threads > 1024 || block.z > 64 ||
      grid.x > 0x7fffffffU || grid.y > 65535 || grid.z > 65535) {
    return device.note(cudaErrorInvalidConfiguration);
  }
  if (!cuda_stand_in::on_current_device(config->stream)) return device.note(cudaErrorInvalidResourceHandle);
  const std::scoped_lock lock(device.mutex);
  const std::size_t shared = config->dynamicSmemBytes;
  const auto raised = device.dynamic_shared_limits.find(reinterpret_cast<const void*>(kernel));
  if (shared > (raised == device.dynamic_shared_limits.end() ? std::size_t{48} << 10
                                                             : static_cast<std::size_t>(raised->second))) {
    return device.note(cudaErrorInvalidValue);
  }
  if (config->stream == nullptr || config->stream != device.recorder) ++device.launches;
  std::function<void()> call = [kernel, ... values = static_cast<Parameters>(arguments)] {
    kernel(values...);
  };
  return device.enqueue(config->stream, [&device, grid, block, shared, call = std::move(call)] {
    cuda_stand_in::Grid work(grid, block, shared, call);
    work.run();
    if (!work.failure().empty()) device.fail(cudaErrorLaunchFailure, work.failure());
  });
}

// What kernels call.

namespace dssl::cuda {
inline unsigned char* dynamic_shared_bytes() {
  return reinterpret_cast<unsigned char*>(cuda_stand_in::Grid::running()->shared());
}
}  // namespace dssl::cuda

inline void __syncthreads(const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
  cuda_stand_in::Grid::running()->wait(cuda_stand_in::State::at_block_barrier, place);
}
inline void __syncwarp(unsigned mask = 0xffffffffU,
                       const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
  if (mask != 0xffffffffU) cuda_stand_in::Grid::running()->fail("the stand-in knows whole warps only");
  cuda_stand_in::Grid::running()->wait(cuda_stand_in::State::at_warp_barrier, place);
}

namespace cuda_stand_in {

/// The calling thread's place in its warp.
inline unsigned lane() {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % lanes_of_warp;
}

template <class T>
T shuffle(unsigned mask, T value, unsigned from, const Place& place) {
  if (mask != 0xffffffffU) Grid::running()->fail("the stand-in knows shuffles of whole warps only");
  return Grid::running()->exchange(value, from, place);
}

}  // namespace cuda_stand_in

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32,
              const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
  const unsigned w = static_cast<unsigned>(width);
  const unsigned lane = cuda_stand_in::lane();
  return cuda_stand_in::shuffle(mask, value, lane / w * w + static_cast<unsigned>(from) % w, place);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int = 32,
                  const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
  return cuda_stand_in::shuffle(mask, value, cuda_stand_in::lane() ^ static_cast<unsigned>(with), place);
}
/// Lanes whose source lies outside their part of the warp keep their own value.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                   const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
  const unsigned lane = cuda_stand_in::lane();
  const unsigned w = static_cast<unsigned>(width);
  return cuda_stand_in::shuffle(mask, value, lane % w + by < w ? lane + by : lane, place);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                 const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
  const unsigned lane = cuda_stand_in::lane();
  const unsigned w = static_cast<unsigned>(width);
  return cuda_stand_in::shuffle(mask, value, lane % w >= by ? lane - by : lane, place);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              const cuda_stand_in::Place& place = cuda_stand_in::Place::here()) {
  unsigned bits = predicate != 0 ? 1U << cuda_stand_in::lane() : 0U;
  for (unsigned by = 1; by < 32; by *= 2) {
    bits |= cuda_stand_in::shuffle(mask, bits, cuda_stand_in::lane() ^ by, place);
  }
  return bits;
}

template <class T>
T __ldg(const T* from) {
  return *from;
}
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
/// Products and sums that are rounded by themselves, whatever the compiler makes of others.
inline float __fmul_rn(float x, float y) {
  const volatile float product = x * y;
  return product;
}
inline float __fadd_rn(float x, float y) {
  const volatile float sum = x + y;
  return sum;
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
