// The Cuda backend's ground: one stream with its scratch memory, and launches.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <map>
#include <string>

#include <cuda_runtime.h>

#include <dssl/backend/cuda/calls.cuh>
#include <dssl/backend/cuda/error.hpp>
#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/rehearsal.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cuda {

/// Bytes as people write them.
[[nodiscard]] inline std::string bytes_text(std::size_t bytes) {
  if (bytes < std::size_t{1} << 20) return join(bytes, " bytes");
  const auto tenths = static_cast<double>(bytes) / static_cast<double>(std::size_t{1} << 20) * 10;
  const auto whole = static_cast<std::size_t>(tenths + 0.5);
  if (whole < 10240) return join(whole / 10, ".", whole % 10, " MiB");
  const std::size_t of_gib = (whole + 512) / 1024;
  return join(of_gib / 10, ".", of_gib % 10, " GiB");
}

/// What a plan leaves of a device's free memory: kernels, those of cuBLASLt too, and recorded graphs take theirs when
/// they are first used, so after what was planned.
inline constexpr std::size_t left_to_driver = std::size_t{256} << 20;

/// Throws `CudaError` that says how much was asked for, how much there is, and what for.
[[noreturn]] inline void throw_out_of_memory(std::size_t bytes, int device, const MemoryPlan& plan) {
  std::size_t free = 0;
  std::size_t total = 0;
  static_cast<void>(cudaMemGetInfo(&free, &total));
  std::string parts;
  for (const MemoryPlanEntry& entry : plan.entries) {
    parts += join(parts.empty() ? "; planned: " : ", ", bytes_text(entry.bytes), " ", entry.name);
  }
  if (!parts.empty()) parts += join(", and ", bytes_text(left_to_driver), " left to the driver for kernels");
  throw CudaError("cudaMalloc", join("device ", device, " is out of memory: ", bytes_text(bytes), " asked for, ",
                                     bytes_text(free), " of ", bytes_text(total),
                                     " free; lower the batch, the image size or the model's size", parts));
}

/// Owned memory of the device or pinned memory of the host, of at least the size last asked for.
///
/// Growing waits for all work that might still use the old memory, and keeps nothing of its contents.
class Block {
 public:
  enum class Where { device, pinned };

  explicit Block(Where where) : x_where(where) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { x_free(); }

  std::byte* at_least(std::size_t bytes, int device, const MemoryPlan& plan = {}) {
    if (bytes <= x_bytes) return x_data;
    x_free();
    void* data = nullptr;
    if (x_where == Where::device) {
      allocate(&data, bytes, device, plan);
    } else {
      check(cudaMallocHost(&data, bytes), "cudaMallocHost", "staging of ", bytes, " bytes");
    }
    x_data = static_cast<std::byte*>(data);
    x_bytes = bytes;
    return x_data;
  }
  [[nodiscard]] std::size_t bytes() const { return x_bytes; }
  [[nodiscard]] const std::byte* data() const { return x_data; }

  /// cudaMalloc, with a message that says how much there is, and what `plan` it was for.
  static void allocate(void** data, std::size_t bytes, int device, const MemoryPlan& plan = {}) {
    const cudaError_t status = cudaMalloc(data, std::max<std::size_t>(bytes, 1));
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      throw_out_of_memory(bytes, device, plan);
    }
    check(status, "cudaMalloc", "allocation of ", bytes, " bytes on device ", device);
  }

 private:
  void x_free() {
    if (x_data == nullptr) return;
    static_cast<void>(x_where == Where::device ? cudaFree(x_data) : cudaFreeHost(x_data));
    x_data = nullptr;
    x_bytes = 0;
  }

  Where x_where;
  std::byte* x_data = nullptr;
  std::size_t x_bytes = 0;
};

/// What primitives run on: a stream of one device, and memory that they share.
///
/// One primitive at a time may use `scratch`; the next one may overwrite it, since the stream keeps their
/// order. During a rehearsal nothing is given to the device: what scratch and staging would be is noted.
class Stream {
 public:
  explicit Stream(int device) : x_device(device) {
    const OnDevice here(device);
    check(cudaStreamCreateWithFlags(&x_stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags",
          "making a stream on device ", device);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    static_cast<void>(cudaStreamSynchronize(x_stream));
    static_cast<void>(cudaStreamDestroy(x_stream));
  }

  [[nodiscard]] cudaStream_t handle() const { return x_stream; }
  [[nodiscard]] int device() const { return x_device; }

  /// Notes what is done from here on, with the sizes that say most about it, for messages.
  void begin(const char* operation, std::initializer_list<Index> sizes) const {
    x_operation = operation;
    x_sizes = {};
    x_size_count = std::min(sizes.size(), x_sizes.size());
    std::copy_n(sizes.begin(), x_size_count, x_sizes.begin());
  }
  /// "layer_norm_forward (67 x 192)".
  [[nodiscard]] std::string operation() const {
    std::string text = x_operation;
    for (std::size_t i = 0; i < x_size_count; ++i) text += join(i == 0 ? " (" : " x ", x_sizes[i]);
    return x_size_count == 0 ? text : text + ")";
  }

  /// Memory of the device for the primitive that is being called; aligned to 256 bytes, contents undefined.
  [[nodiscard]] std::byte* scratch(std::size_t bytes) const {
    if (!x_rehearsing) return x_scratch.at_least(bytes, x_device);
    x_rehearsed.scratch = std::max(x_rehearsed.scratch, bytes);
    return pretended_memory();
  }
  template <class T>
  [[nodiscard]] T* scratch(Index count) const {
    return reinterpret_cast<T*>(scratch(static_cast<std::size_t>(count) * sizeof(T)));
  }
  /// Bytes of scratch and staging memory that calls so far have needed.
  [[nodiscard]] std::size_t scratch_bytes() const { return x_scratch.bytes(); }
  /// Where scratch lies now: it moves when it grows.
  [[nodiscard]] const std::byte* scratch_address() const { return x_scratch.data(); }
  [[nodiscard]] std::size_t staging_bytes() const { return x_staging.bytes(); }

  [[nodiscard]] bool rehearsing() const { return x_rehearsing; }
  /// Begins a rehearsal, or ends it.
  void rehearse(bool begins) const {
    if (begins && x_rehearsing) throw Error("a rehearsal within a rehearsal");
    x_rehearsing = begins;
    if (begins) x_rehearsed = {};
  }
  /// What the last rehearsal needed.
  [[nodiscard]] const WorkingMemory& rehearsed() const { return x_rehearsed; }
  /// Says that what is given is recorded from here on, or is not any more.
  void record(bool begins) const { x_recording = begins; }
  /// Makes scratch and staging at least that large. Waits where they grow.
  void reserve(const WorkingMemory& memory, const MemoryPlan& plan) const {
    static_cast<void>(x_scratch.at_least(memory.scratch, x_device, plan));
    if (memory.staging <= x_staging.bytes()) return;
    synchronise();
    x_staged = 0;
    static_cast<void>(x_staging.at_least(memory.staging, x_device));
  }

  /// Waits for all work; a failure of earlier work is thrown here.
  void synchronise() const {
    if (x_rehearsing) return;
    check(cudaStreamSynchronize(x_stream), "cudaStreamSynchronize", "waiting for ", operation(),
          " and what was given before it");
  }

  /// Copies to the device by way of pinned memory; the host's array may change when this returns.
  void upload(void* to, const void* from, std::size_t bytes) const {
    if (bytes == 0) return;
    x_require_not_recording("upload", bytes);
    const std::size_t room = std::max(2 * bytes, least_staging);
    if (x_rehearsing) {
      x_rehearsed.staging = std::max(x_rehearsed.staging, room);
      return;
    }
    // The staging memory is a ring with room for two of the largest, so that one is copied into it while the device
    // reads the other: when it is full, or will grow, all work given so far is waited for.
    if (std::max(x_staged + bytes, room) > x_staging.bytes()) {
      synchronise();
      x_staged = 0;
    }
    std::byte* const staged = x_staging.at_least(room, x_device) + x_staged;
    std::memcpy(staged, from, bytes);
    check(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, x_stream), "cudaMemcpyAsync",
          "upload of ", bytes, " bytes");
    x_staged += (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
  }
  /// Copies to the host, and waits for it.
  void download(void* to, const void* from, std::size_t bytes) const {
    x_require_not_recording("download", bytes);
    if (bytes != 0 && !x_rehearsing) {
      check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, x_stream), "cudaMemcpyAsync",
            "download of ", bytes, " bytes after ", operation());
    }
    synchronise();
  }
  void copy(void* to, const void* from, std::size_t bytes) const {
    if (bytes == 0 || x_rehearsing) return;
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, x_stream), "cudaMemcpyAsync",
          operation());
  }
  void zero(void* data, std::size_t bytes) const {
    if (bytes == 0 || x_rehearsing) return;
    check(cudaMemsetAsync(data, 0, bytes, x_stream), "cudaMemsetAsync", "clearing ", bytes, " bytes");
  }

  /// Lets a kernel have that much dynamic shared memory, which beyond 48 KiB has to be asked for once.
  template <class Kernel>
  void allow_shared(Kernel* kernel, std::size_t bytes) const {
    if (bytes <= std::size_t{48} << 10) return;
    std::size_t& allowed = x_shared[reinterpret_cast<const void*>(kernel)];
    if (bytes <= allowed) return;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "cudaFuncSetAttribute", operation(), ", for ", bytes, " bytes of shared memory");
    allowed = bytes;
  }

 private:
  /// CUDA would record a copy from staging memory, and find other bytes there when it is launched.
  void x_require_not_recording(const char* copy, std::size_t bytes) const {
    if (!x_recording) return;
    throw CudaError("cudaMemcpyAsync", join(copy, " of ", bytes, " bytes within work that is recorded as a graph, ",
                                            "after ", operation()));
  }

  static constexpr std::size_t least_staging = std::size_t{4} << 20;

  int x_device;
  cudaStream_t x_stream = nullptr;
  mutable Block x_scratch{Block::Where::device};
  mutable Block x_staging{Block::Where::pinned};
  mutable std::size_t x_staged = 0;  // bytes of the staging memory that may still be read
  mutable std::map<const void*, std::size_t> x_shared;
  mutable const char* x_operation = "nothing yet";
  mutable std::array<Index, 4> x_sizes{};
  mutable std::size_t x_size_count = 0;
  mutable bool x_rehearsing = false;
  mutable bool x_recording = false;
  mutable WorkingMemory x_rehearsed;
};

/// Gives a kernel to the stream; nothing where the grid is empty, or in a rehearsal. Throws `CudaError` that names the
/// operation.
///
/// By a call instead of <<<>>>, so that any C++ compiler parses the code around it.
template <class... Parameters, class... Arguments>
void launch(const Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments),
                "launch: one argument a parameter of the kernel");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || stream.rehearsing()) return;
  stream.allow_shared(kernel, shared_bytes);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.handle();
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "cudaLaunchKernelEx",
        stream.operation(), ", grid ", grid.x, " x ", grid.y, " x ", grid.z, " of ",
        block.x * block.y * block.z, " threads, ", shared_bytes, " bytes of shared memory");
}

/// Blocks that hold `count` things, `each` a block.
[[nodiscard]] inline unsigned blocks_of(Index count, Index each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

/// Launches the form of a kernel for one warp a row, or, for wide rows, for one block a row.
template <class... Parameters, class... Arguments>
void launch_rows(const Stream& stream, void (*of_warp)(Parameters...), void (*of_block)(Parameters...),
                 Index rows, Index width, const Arguments&... arguments) {
  if (width <= 1024) {
    launch(stream, of_warp, dim3(blocks_of(rows, WarpTeam::rows)), dim3(WarpTeam::threads), 0, arguments...);
  } else {
    launch(stream, of_block, dim3(blocks_of(rows, BlockTeam::rows)), dim3(BlockTeam::threads), 0,
           arguments...);
  }
}

/// Launches a kernel whose threads walk over `count` elements by `grid_threads()`.
template <class... Parameters, class... Arguments>
void launch_over(const Stream& stream, void (*kernel)(Parameters...), Index count,
                 const Arguments&... arguments) {
  constexpr Index threads = 256;
  constexpr Index most_blocks = 132 * 16;  // enough to fill a large device; more would only start and end
  launch(stream, kernel, dim3(static_cast<unsigned>(std::min(most_blocks, Index{blocks_of(count, threads)}))),
         dim3(static_cast<unsigned>(threads)), 0, arguments...);
}

}  // namespace dssl::cuda
