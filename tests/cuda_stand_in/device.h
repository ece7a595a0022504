// Stand-in for a GPU: memory that only kernels and copies may touch, and streams whose work is done later.
#pragma once

#include <array>
#include <chrono>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "fibers.h"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};

namespace cuda_stand_in {

/// A piece of work, and whether it can be done now; it always can where nothing is said.
struct Work {
  std::function<void()> run;
  std::function<bool()> ready{};
};

/// Work in the order in which it was given, done when somebody waits for it.
struct Stream {
  std::deque<Work> work;
  int device = 0;
};

/// The device that the calling thread's calls are for.
inline int& current_device() {
  thread_local int device = 0;
  return device;
}

/// What a stream was given while it recorded.
using Recorded = std::vector<std::function<void()>>;

/// A point in a stream's work that others wait for.
struct Mark {
  Stream* stream = nullptr;
  bool reached = false;
};

/// The devices of the process: one, unless a test has more, which share everything but their memory.
class Device {
 public:
  static Device& get() {
    static Device device;
    return device;
  }

  std::recursive_mutex mutex;
  std::size_t total_memory = std::size_t{8} << 30;  ///< of each
  int count = 1;
  std::map<std::string, cudaError_t> fails;          ///< calls that are to fail, by name, and how
  std::map<const void*, int> dynamic_shared_limits;  ///< of kernels that were given more than 48 KiB
  std::size_t launches = 0;        ///< of kernels, one by one
  std::size_t recordings = 0;      ///< ended well
  std::size_t graph_launches = 0;

  /// The stream that records what it is given instead of doing it, and whether it was asked for what a recording
  /// cannot hold.
  Stream* recorder = nullptr;
  bool recording_spoilt = false;
  Recorded recorded;

  /// Of what must not happen while a stream records, not even on another one of the same thread.
  [[nodiscard]] cudaError_t unless_recording() {
    if (recorder == nullptr) return cudaSuccess;
    recording_spoilt = true;
    return note(cudaErrorStreamCaptureUnsupported);
  }

  /// What a call of that name must return, if it must fail.
  [[nodiscard]] cudaError_t asked_to_fail(const char* call) {
    const std::scoped_lock lock(mutex);
    const auto found = fails.find(call);
    return found == fails.end() ? cudaSuccess : found->second;
  }

  /// A failure of work that was given earlier; every later call returns it, as on a device.
  cudaError_t sticky = cudaSuccess;
  cudaError_t last = cudaSuccess;
  std::string report;

  cudaError_t note(cudaError_t error) {
    if (error != cudaSuccess) last = error;
    return error;
  }

  /// Memory that is taken, of all devices or of one.
  [[nodiscard]] std::size_t used() const { return x_used[0] + x_used[1]; }
  [[nodiscard]] std::size_t used(int device) const { return x_used.at(static_cast<std::size_t>(device)); }
  [[nodiscard]] std::size_t allocations() const { return x_blocks.size(); }

  /// Pages of their own, which end at one that always faults. Null: not enough.
  std::byte* allocate(std::size_t bytes) {
    const std::scoped_lock lock(mutex);
    constexpr std::size_t alignment = 64;
    const std::size_t room = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    const std::size_t pages = (room + page - 1) / page * page;
    const int device = current_device();
    if (used(device) + pages > total_memory) return nullptr;
    void* const mapped =
        ::mmap(nullptr, pages + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* const base = static_cast<std::byte*>(mapped);
    std::byte* const data = base + pages - room;
    x_used.at(static_cast<std::size_t>(device)) += pages;
    x_blocks[data] = {base, pages, device};
    if (x_open > 0) x_protect(x_blocks[data], true);
    return data;
  }
  /// False: nobody allocated that.
  bool free(void* data) {
    const std::scoped_lock lock(mutex);
    const auto found = x_blocks.find(static_cast<std::byte*>(data));
    if (found == x_blocks.end()) return false;
    ::munmap(found->second.base, found->second.bytes + page);
    x_used.at(static_cast<std::size_t>(found->second.device)) -= found->second.bytes;
    x_blocks.erase(found);
    return true;
  }
  /// Whether all the bytes are memory of the device.
  [[nodiscard]] bool holds(const void* data, std::size_t bytes) {
    const std::scoped_lock lock(mutex);
    const auto* at = static_cast<const std::byte*>(data);
    auto after = x_blocks.upper_bound(const_cast<std::byte*>(at));
    if (after == x_blocks.begin()) return false;
    const Block& block = std::prev(after)->second;
    return at + bytes <= block.base + block.bytes;
  }

  std::byte* allocate_pinned(std::size_t bytes) {
    const std::scoped_lock lock(mutex);
    auto* const data = static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64));
    x_pinned[data] = bytes;
    return data;
  }
  bool free_pinned(void* data) {
    const std::scoped_lock lock(mutex);
    if (x_pinned.erase(static_cast<std::byte*>(data)) == 0) return false;
    std::free(data);
    return true;
  }
  [[nodiscard]] bool pinned(const void* data) {
    const std::scoped_lock lock(mutex);
    const auto* at = static_cast<const std::byte*>(data);
    auto after = x_pinned.upper_bound(const_cast<std::byte*>(at));
    if (after == x_pinned.begin()) return false;
    const auto& [begin, bytes] = *std::prev(after);
    return at < begin + bytes;
  }

  /// Device memory can be touched while one of these lives.
  class Open {
   public:
    explicit Open(Device& device) : x_device(device), x_lock(device.mutex) {
      if (x_device.x_open++ == 0) x_device.x_protect_all(true);
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    ~Open() {
      if (--x_device.x_open == 0) x_device.x_protect_all(false);
    }

   private:
    Device& x_device;
    std::scoped_lock<std::recursive_mutex> x_lock;
  };

  void add_stream(Stream* stream) {
    const std::scoped_lock lock(mutex);
    x_streams.push_back(stream);
  }
  void remove_stream(Stream* stream) {
    const std::scoped_lock lock(mutex);
    std::erase(x_streams, stream);
  }

  /// Gives work to a stream; to the default stream (null), does it at once after everything else. `ready`: of work that waits
  /// for other streams, which the default stream and recordings do not hold.
  cudaError_t enqueue(Stream* stream, std::function<void()> work, std::function<bool()> ready = {}) {
    const std::scoped_lock lock(mutex);
    if (sticky != cudaSuccess) return note(sticky);
    if (stream != nullptr && stream == recorder) {
      recorded.push_back(std::move(work));
      return cudaSuccess;
    }
    if (stream != nullptr) {
      stream->work.push_back({std::move(work), std::move(ready)});
      return cudaSuccess;
    }
    static_cast<void>(finish_all());
    if (sticky == cudaSuccess) {
      const Open open(*this);
      work();
    }
    return note(sticky);
  }
  /// Does a stream's work; in backward order, first that of all younger streams, which nobody waits for yet.
  cudaError_t finish(Stream* stream) {
    if (stream == nullptr) return finish_all();
    return x_finish([&] {
      x_go_on(stream);
      return stream->work.empty();
    });
  }
  /// Does a stream's work up to a point of it.
  cudaError_t finish_until(const Mark& mark) {
    return x_finish([&] { return reach(mark); });
  }
  /// The same as far as it goes now; whether the point is reached.
  bool reach(const Mark& mark) {
    const std::scoped_lock lock(mutex);
    if (!mark.reached) x_work(mark.stream, &mark);
    return mark.reached;
  }
  /// Does the work of all streams, but what waits for others that are not there yet.
  cudaError_t finish_all() {
    const std::scoped_lock lock(mutex);
    for (Stream* const stream : x_streams) x_go_on(stream);
    return note(sticky);
  }

  void fail(cudaError_t error, const std::string& what) {
    sticky = error;
    report = what;
  }
  /// Forgets a failure, which no call does on a device: for tests of failures.
  void recover() {
    const std::scoped_lock lock(mutex);
    for (Stream* const stream : x_streams) stream->work.clear();
    sticky = cudaSuccess;
    last = cudaSuccess;
    report.clear();
    recorder = nullptr;
  }

 private:
  void x_go_on(Stream* stream) {
    if (schedule() == Order::backward) {
      const auto others = x_streams;
      for (auto other = others.rbegin(); other != others.rend() && *other != stream; ++other) x_work(*other, nullptr);
    }
    x_work(stream, nullptr);
  }
  void x_work(Stream* stream, const Mark* until) {
    if (stream->work.empty()) return;
    const Open open(*this);
    while (!stream->work.empty() && (until == nullptr || !until->reached)) {
      const Work& next = stream->work.front();
      if (sticky == cudaSuccess && next.ready && !next.ready()) return;
      const std::function<void()> work = std::move(stream->work.front().run);
      stream->work.pop_front();
      if (sticky == cudaSuccess) work();
    }
  }
  /// Until `done`, or work has failed. A device waits for ever for streams that do not come; here that is a failure.
  template <class Done>
  cudaError_t x_finish(const Done& done) {
    const auto began = std::chrono::steady_clock::now();
    for (;;) {
      {
        const std::scoped_lock lock(mutex);
        if (done() || sticky != cudaSuccess) return note(sticky);
        if (std::chrono::steady_clock::now() - began > std::chrono::seconds(30)) {
          fail(cudaErrorLaunchFailure, "a stream waits for ever for another one");
          return note(sticky);
        }
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  static constexpr std::size_t page = 4096;
  struct Block {
    std::byte* base = nullptr;
    std::size_t bytes = 0;
    int device = 0;
  };

  static void x_protect(const Block& block, bool open) {
    ::mprotect(block.base, block.bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
  void x_protect_all(bool open) {
    for (const auto& [data, block] : x_blocks) x_protect(block, open);
  }

  std::map<std::byte*, Block> x_blocks;
  std::map<std::byte*, std::size_t> x_pinned;
  std::vector<Stream*> x_streams;
  std::array<std::size_t, 2> x_used{};
  int x_open = 0;
};

}  // namespace cuda_stand_in
