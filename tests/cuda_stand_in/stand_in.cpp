// The stand-in itself: sound kernels give what they must, and each kind of mistake is found.
#include "../catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/cuda/runtime.cuh>

#include "../thrown.hpp"

namespace {

using cuda_stand_in::Order;
using dssl::CudaError;
using dssl::Index;
using dssl::test::contains;
using dssl::test::thrown_by;
namespace cuda = dssl::cuda;

/// Numbers on the device.
class Numbers {
 public:
  Numbers(const cuda::Stream& stream, std::vector<float> values) : x_stream(stream), x_count(values.size()) {
    void* data = nullptr;
    cuda::Block::allocate(&data, x_count * sizeof(float), 0);
    x_data = static_cast<float*>(data);
    stream.upload(x_data, values.data(), x_count * sizeof(float));
  }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  ~Numbers() { static_cast<void>(cudaFree(x_data)); }
  [[nodiscard]] float* data() const { return x_data; }
  [[nodiscard]] std::vector<float> values() const {
    std::vector<float> out(x_count);
    x_stream.download(out.data(), x_data, x_count * sizeof(float));
    return out;
  }

 private:
  const cuda::Stream& x_stream;
  std::size_t x_count;
  float* x_data = nullptr;
};

std::vector<float> counted(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 37) - 11.25F;
  return values;
}

constexpr int reducing_threads = 192;

__global__ void reductions(float* out, const float* in, Index width) {
  float sum = 0;
  float squares = 0;
  float most = -1e30F;
  const float* row = in + static_cast<Index>(blockIdx.x) * width;
  for (Index i = cuda::thread_number(); i < width; i += cuda::threads_of_block()) {
    sum += row[i];
    squares += row[i] * row[i];
    most = most < row[i] ? row[i] : most;
  }
  sum = cuda::block_sum<reducing_threads>(sum);
  squares = cuda::block_sum<reducing_threads>(squares);
  most = cuda::block_max<reducing_threads>(most);
  const float again = cuda::block_sum<reducing_threads>(1.0F);
  if (cuda::thread_number() == reducing_threads - 1) {
    out[4 * blockIdx.x] = sum;
    out[4 * blockIdx.x + 1] = squares;
    out[4 * blockIdx.x + 2] = most;
    out[4 * blockIdx.x + 3] = again;
  }
}

/// Reverses blocks of numbers through shared memory.
__global__ void reversed(float* out, const float* in, bool with_barrier) {
  float* const room = cuda::dynamic_shared<float>();
  const int t = cuda::thread_number();
  room[t] = in[cuda::grid_thread()];
  if (with_barrier) __syncthreads();
  out[cuda::grid_thread()] = room[cuda::threads_of_block() - 1 - t];
}

__global__ void barrier_of_some(float* out) {
  if (cuda::thread_number() < 40)
    __syncthreads();
  else
    __syncthreads();
  out[cuda::thread_number()] = 1;
}
__global__ void leaves_early(float* out) {
  if (cuda::thread_number() >= 50) return;
  __syncthreads();
  out[cuda::thread_number()] = 1;
}
__global__ void shuffle_of_some(float* out) {
  if (cuda::lane_number() >= 16) return;
  out[cuda::thread_number()] = cuda::warp_sum(1.0F);
}
__global__ void writes_at(float* out, Index at) { out[at] = 1; }
__global__ void warp_moves(float* out) {
  const auto lane = static_cast<float>(cuda::lane_number());
  out[cuda::thread_number()] = __shfl_down_sync(cuda::whole_warp, lane, 3) +
                               100 * __shfl_sync(cuda::whole_warp, lane, 5) +
                               10000 * static_cast<float>(__popc(__ballot_sync(cuda::whole_warp, lane < 7)));
}

const std::string nothing = "(nothing was thrown)";

/// Runs what must fail, and forgets that it did.
template <class Work>
std::string failure_of(const Work& work) {
  const std::string text = thrown_by<CudaError>(work);
  cuda_stand_in::Device::get().recover();
  return text;
}

/// Whether a process of its own is ended by a bad address.
template <class Work>
bool faults(const Work& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) == SIGSEGV : WEXITSTATUS(status) != 0;
}

}  // namespace

TEST_CASE("block reductions give the same bits in every order of threads and blocks", "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  constexpr std::size_t width = 700;
  const Numbers in(stream, counted(5 * width));
  std::vector<float> first;
  for (const Order order : {Order::forward, Order::backward, Order::shuffled}) {
    cuda_stand_in::schedule() = order;
    const Numbers out(stream, std::vector<float>(20, std::numeric_limits<float>::quiet_NaN()));
    cuda::launch(stream, reductions, dim3(5), dim3(reducing_threads), 0, out.data(), in.data(),
                 Index{width});
    const std::vector<float> got = out.values();
    if (first.empty()) first = got;
    CHECK(std::memcmp(got.data(), first.data(), got.size() * sizeof(float)) == 0);
  }
  cuda_stand_in::schedule() = Order::forward;
  const std::vector<float> values = counted(5 * width);
  for (std::size_t row = 0; row < 5; ++row) {
    double sum = 0;
    double squares = 0;
    float most = -1e30F;
    for (std::size_t i = 0; i < width; ++i) {
      const float v = values[row * width + i];
      sum += v;
      squares += static_cast<double>(v) * v;
      most = std::max(most, v);
    }
    CHECK(first[4 * row] == Approx(sum));
    CHECK(first[4 * row + 1] == Approx(squares));
    CHECK(first[4 * row + 2] == most);
    CHECK(first[4 * row + 3] == 192);
  }
}

TEST_CASE("a missing barrier shows in another order of threads", "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  const Numbers in(stream, counted(256));
  const auto outcome = [&](Order order, bool with_barrier) {
    cuda_stand_in::schedule() = order;
    const Numbers out(stream, std::vector<float>(256));
    cuda::launch(stream, reversed, dim3(2), dim3(128), 128 * sizeof(float), out.data(), in.data(),
                 with_barrier);
    const std::vector<float> values = out.values();
    cuda_stand_in::schedule() = Order::forward;
    return values;
  };
  const std::vector<float> sound = outcome(Order::forward, true);
  CHECK(sound[0] == counted(256)[127]);
  CHECK(sound == outcome(Order::backward, true));
  CHECK(sound == outcome(Order::shuffled, true));
  CHECK_FALSE(sound == outcome(Order::forward, false));
  CHECK_FALSE(sound == outcome(Order::backward, false));
}

TEST_CASE("shuffles and ballots move what they say", "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  const Numbers out(stream, std::vector<float>(64));
  cuda::launch(stream, warp_moves, dim3(1), dim3(64), 0, out.data());
  const std::vector<float> got = out.values();
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32;
    CHECK(got[static_cast<std::size_t>(t)] ==
          static_cast<float>((lane < 29 ? lane + 3 : lane) + 500 + 70000));
  }
}

TEST_CASE("mistakes of kernels are failures that say where", "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  const auto run = [&](auto kernel, auto... arguments) {
    return failure_of([&] {
      const Numbers out(stream, std::vector<float>(64));
      cuda::launch(stream, kernel, dim3(1), dim3(64), 0, out.data(), arguments...);
      stream.synchronise();
    });
  };
  CHECK(contains(run(barrier_of_some), "divergent barrier"));
  CHECK(contains(run(barrier_of_some), "thread (40, 0, 0)"));
  CHECK(run(leaves_early) == nothing);
  CHECK(contains(run(shuffle_of_some), "which has left"));
  CHECK(run(writes_at, Index{63}) == nothing);
  CHECK(contains(run(writes_at, Index{64}), "illegal memory access"));
  CHECK(contains(run(writes_at, Index{-2000}), "illegal memory access"));
}

TEST_CASE("launches that a device refuses are refused", "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  stream.begin("some_operation", {3, 5});
  const std::string threads =
      failure_of([&] { cuda::launch(stream, leaves_early, dim3(1), dim3(1025), 0, nullptr); });
  CHECK(contains(threads, "cudaErrorInvalidConfiguration"));
  CHECK(contains(threads, "some_operation (3 x 5)"));
  CHECK(contains(
      failure_of([&] { cuda::launch(stream, leaves_early, dim3(1), dim3(32), 200 * 1024, nullptr); }),
      "shared memory"));
}

TEST_CASE("the host cannot touch the device's memory, and work waits until it is waited for",
          "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  const Numbers numbers(stream, counted(10));
  stream.synchronise();
  CHECK(faults([&] { *numbers.data() = 1; }));
  CHECK_FALSE(faults([] {}));

  void* pinned = nullptr;
  REQUIRE(cudaMallocHost(&pinned, 40) == cudaSuccess);
  auto* const host = static_cast<float*>(pinned);
  host[0] = 5;
  REQUIRE(cudaMemcpyAsync(numbers.data(), host, 4, cudaMemcpyHostToDevice, stream.handle()) == cudaSuccess);
  host[0] = 6;  // too early: the copy has not been made
  CHECK(numbers.values()[0] == 6);
  float other = 7;
  REQUIRE(cudaMemcpyAsync(numbers.data(), &other, 4, cudaMemcpyHostToDevice, stream.handle()) == cudaSuccess);
  other = 8;  // not pinned: the copy has its own
  CHECK(numbers.values()[0] == 7);
  CHECK(cudaFreeHost(pinned) == cudaSuccess);

  // What the backend stages may change at once, however much of it there is.
  std::vector<float> large(3'000'000, 1.0F);
  const Numbers first(stream, large);
  large.assign(large.size(), 2.0F);
  const Numbers second(stream, large);
  large.assign(large.size(), 3.0F);
  CHECK(first.values()[2'999'999] == 1.0F);
  CHECK(second.values()[2'999'999] == 2.0F);
}

TEST_CASE("streams wait for each other's events, and for no more than they were asked to", "[cuda_stand_in]") {
  const cuda::Stream older(0);
  const cuda::Stream younger(0);
  const Numbers numbers(older, {1.0F, 2.0F, 3.0F});
  older.synchronise();
  cudaEvent_t event = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
  CHECK(cudaEventSynchronize(event) == cudaSuccess);  // never recorded: nothing to wait for
  float* const at = numbers.data();
  // What the younger stream does before the event is seen by the older one, which waits; what it does after
  // need not be.
  younger.copy(at + 1, at + 2, sizeof(float));
  REQUIRE(cudaEventRecord(event, younger.handle()) == cudaSuccess);
  younger.copy(at + 2, at, sizeof(float));
  REQUIRE(cudaStreamWaitEvent(older.handle(), event, 0) == cudaSuccess);
  older.copy(at, at + 1, sizeof(float));
  CHECK(numbers.values() == std::vector<float>{3.0F, 3.0F, 3.0F});
  younger.synchronise();
  // Without a wait, one order does the younger stream's work too late, and the other too early.
  for (const auto& [order, seen] : {std::pair(Order::forward, 3.0F), std::pair(Order::backward, 7.0F)}) {
    cuda_stand_in::schedule() = order;
    const Numbers others(older, {3.0F, 7.0F});
    older.synchronise();
    younger.copy(others.data(), others.data() + 1, sizeof(float));
    float first = 0;
    older.download(&first, others.data(), sizeof(float));
    CHECK(first == seen);
  }
  cuda_stand_in::schedule() = Order::forward;
  CHECK(cudaEventDestroy(event) == cudaSuccess);
}

TEST_CASE("a device that is too small says how much was asked for", "[cuda_stand_in]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  const std::size_t before = std::exchange(device.total_memory, std::size_t{64} << 20);
  void* data = nullptr;
  const std::string text = failure_of([&] { cuda::Block::allocate(&data, std::size_t{3} << 30, 0); });
  device.total_memory = before;
  CHECK(contains(text, "3.0 GiB asked for"));
  CHECK(contains(text, "64.0 MiB free"));
}

TEST_CASE("what a stream records is done when it is launched, as often as it is", "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  const Numbers numbers(stream, {1.0F, 2.0F, 4.0F});
  stream.synchronise();
  float* const at = numbers.data();
  REQUIRE(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  cuda::launch(stream, writes_at, dim3(1), dim3(1), 0, at, Index{0});
  stream.copy(at + 1, at + 2, sizeof(float));
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(stream.handle(), &graph) == cudaSuccess);
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(numbers.values() == std::vector<float>{1.0F, 2.0F, 4.0F});
  for (const float value : {5.0F, 6.0F}) {
    stream.upload(at + 2, &value, sizeof(float));
    REQUIRE(cudaGraphLaunch(exec, stream.handle()) == cudaSuccess);
    CHECK(numbers.values() == std::vector<float>{1.0F, value, value});
  }
  CHECK(cudaGraphExecDestroy(exec) == cudaSuccess);
}

TEST_CASE("what a recording cannot hold spoils it", "[cuda_stand_in]") {
  const cuda::Stream stream(0);
  const Numbers numbers(stream, {1.0F});
  void* pinned = nullptr;
  REQUIRE(cudaMallocHost(&pinned, 4) == cudaSuccess);
  stream.synchronise();
  const auto spoilt_by = [&](const auto& call) {
    REQUIRE(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    const cudaError_t refused = call();
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream.handle(), &graph);
    static_cast<void>(cudaGetLastError());
    return refused == cudaErrorStreamCaptureUnsupported && ended == cudaErrorStreamCaptureInvalidated &&
           graph == nullptr;
  };
  void* data = nullptr;
  CHECK(spoilt_by([&] { return cudaMalloc(&data, 4); }));
  CHECK(spoilt_by([&] { return cudaMallocHost(&data, 4); }));
  CHECK(spoilt_by([&] { return cudaFree(numbers.data()); }));
  CHECK(spoilt_by([&] { return cudaFreeHost(pinned); }));
  CHECK(spoilt_by([&] { return cudaStreamSynchronize(stream.handle()); }));
  CHECK(spoilt_by([&] { return cudaDeviceSynchronize(); }));
  CHECK(spoilt_by([&] { return cudaMemcpyAsync(numbers.data(), pinned, 4, cudaMemcpyHostToDevice, stream.handle()); }));
  CHECK(spoilt_by([&] { return cudaMemcpyAsync(pinned, numbers.data(), 4, cudaMemcpyDeviceToHost, stream.handle()); }));
  CHECK_FALSE(spoilt_by([] { return cudaSuccess; }));
  CHECK(numbers.values() == std::vector<float>{1.0F});
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
}

TEST_CASE("a kernel for a stream of another device is refused", "[cuda_stand_in]") {
  cuda_stand_in::Device::get().count = 2;
  const cuda::Stream other(1);
  const std::string text = failure_of([&] { cuda::launch(other, leaves_early, dim3(1), dim3(32), 0, nullptr); });
  cuda_stand_in::Device::get().count = 1;
  CHECK(contains(text, "cudaErrorInvalidResourceHandle"));
}
