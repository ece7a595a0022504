// What only the stand-in can show: every order of threads, failures that are asked for, plans that are kept.
#include "catch.hpp"

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/cuda/product.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/views/multi_crop.hpp>

#include "cuda/planned_steps.hpp"
#include "cuda/rig.hpp"
#include "cuda/view_scenes.hpp"
#include "thrown.hpp"
#include "views/pictures.hpp"

namespace dssl::test {

namespace {
constexpr std::array<cuda_stand_in::Order, 3> orders{
    cuda_stand_in::Order::forward, cuda_stand_in::Order::backward, cuda_stand_in::Order::shuffled};
}  // namespace

int ways_of_running() { return static_cast<int>(orders.size()); }
void run_in_way(int way) { cuda_stand_in::schedule() = orders[static_cast<std::size_t>(way)]; }

}  // namespace dssl::test

using namespace dssl;
using namespace dssl::test;

namespace {

/// What making a backend throws while one call of CUDA fails.
std::string failure_of_making(const char* call, cudaError_t error) {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  device.fails = {{call, error}};
  std::string text = thrown_by<CudaError>([] { Cuda(); });
  device.fails.clear();
  device.recover();
  return text;
}

}  // namespace

TEST_CASE("Cuda says why it cannot be used", "[cuda]") {
  CHECK(contains(failure_of_making("cudaGetDeviceCount", cudaErrorNoDevice),
                 "no CUDA device: the driver finds none"));
  CHECK(contains(failure_of_making("cudaGetDeviceCount", cudaErrorInsufficientDriver),
                 "the CUDA driver is too old: it supports CUDA 13.0"));
  const std::string no_code = failure_of_making("cudaFuncGetAttributes", cudaErrorNoKernelImageForDevice);
  CHECK(contains(no_code, "holds no code for device 0 (stand-in for a GPU, compute capability 8.6)"));
  CHECK(contains(no_code, "build it for architecture 86"));
  CHECK(
      contains(failure_of_making("cudaStreamCreateWithFlags", cudaErrorMemoryAllocation), "making a stream"));
  CHECK(contains(failure_of_making("cublasLtCreate", cudaErrorInvalidValue),
                 "cublasLtCreate failed in making"));
  CHECK(failure_of_making("nothing", cudaSuccess) == "(nothing was thrown)");
  cuda_stand_in::Device::get().count = 0;
  CHECK(contains(thrown_by<CudaError>([] { Cuda(); }), "no CUDA device"));
  cuda_stand_in::Device::get().count = 1;
}

TEST_CASE("a failing call names its operation and shapes", "[cuda]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  const Cuda cuda;
  const Buffer room = cuda.allocate(10'000);
  auto* const x = reinterpret_cast<float*>(room.data());
  const auto failure = [&](const char* call, const auto& work) {
    device.fails = {{call, cudaErrorInvalidValue}};
    std::string text = thrown_by<CudaError>(work);
    device.fails.clear();
    device.recover();
    return text;
  };
  const std::string launch = failure("cudaLaunchKernelEx", [&] {
    cuda.gelu_forward(MatrixView<float>(x, 3, 5), MatrixView<const float>(x, 3, 5));
  });
  CHECK(contains(launch, "cudaLaunchKernelEx failed in gelu_forward (3 x 5)"));
  CHECK(contains(launch, "cudaErrorInvalidValue"));
  const std::string product = failure("cublasLtMatmul", [&] {
    cuda.linear_backward_input(MatrixView<float>(x, 3, 5), MatrixView<const float>(x + 100, 3, 7),
                               MatrixView<const float>(x + 200, 7, 5));
  });
  CHECK(contains(product, "cublasLtMatmul failed in linear_backward_input (3 x 5 x 7), 3 x 7 times 7 x 5"));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   cuda.linear_forward(MatrixView<float>(x, 3, 5), MatrixView<const float>(x + 100, 3, 7),
                                       MatrixView<const float>(x + 200, 5, 6), {});
                 }),
                 "3 x 7 times 6 x 5 is not 3 x 5"));

  // A kernel that fails is reported when the host waits.
  device.fail(cudaErrorLaunchFailure, "a kernel went wrong");
  CHECK(contains(thrown_by<CudaError>([&] { cuda.synchronise(); }), "a kernel went wrong"));
  device.recover();
  cuda.synchronise();
}

TEST_CASE("algorithms of products are asked for once a shape", "[cuda]") {
  const cuda::Stream stream(0);
  const cuda::Products products(stream);
  const Cuda backend;
  const Buffer room = backend.allocate(100'000);
  auto* const x = reinterpret_cast<float*>(room.data());
  backend.synchronise();
  const auto multiply = [&](Index rows, Index shift, double beta) {
    products.multiply(stream, MatrixView<float>(x + shift, rows, 8),
                      cuda::as_it_is(MatrixView<const float>(x + 4096, rows, 16)),
                      cuda::as_it_is(MatrixView<const float>(x + 8192, 16, 8)), 1.0, beta);
  };
  for (int repeat = 0; repeat < 3; ++repeat) multiply(4, 0, 0);
  CHECK(products.plans() == 1);
  multiply(5, 0, 0);
  multiply(4, 1, 0);  // less aligned
  multiply(4, 0, 1);  // adds
  CHECK(products.plans() == 4);
  stream.synchronise();
}

TEST_CASE("a second call allocates nothing", "[cuda]") {
  const Cuda cuda(CudaOptions{.precision = Precision::bf16});
  const Buffer room = cuda.allocate(1'000'000);
  auto* const x = reinterpret_cast<float*>(room.data());
  const auto work = [&] {
    cuda.linear_forward(MatrixView<float>(x, 30, 50), MatrixView<const float>(x + 4096, 30, 70),
                        MatrixView<const float>(x + 8192, 50, 70), VectorView<const float>(x + 16384, 50));
    cuda.layer_norm_backward(MatrixView<float>(x, 300, 50), VectorView<float>(x + 20000, 50),
                             VectorView<float>(x + 20050, 50), MatrixView<const float>(x + 40000, 300, 50),
                             MatrixView<const float>(x + 60000, 300, 50),
                             VectorView<const float>(x + 80000, 300), VectorView<const float>(x + 80300, 300),
                             VectorView<const float>(x + 81000, 50));
    cuda.synchronise();
  };
  work();
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  device.fails = {{"cudaMalloc", cudaErrorMemoryAllocation}, {"cudaMallocHost", cudaErrorMemoryAllocation}};
  const std::size_t before = cuda.scratch_bytes();
  CHECK(thrown_by<CudaError>(work) == "(nothing was thrown)");
  CHECK(cuda.scratch_bytes() == before);
  device.fails.clear();
}

TEST_CASE("a backend gives back all memory of the device", "[cuda]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  const std::size_t before = device.used();
  {
    Buffer kept;
    {
      const Cuda cuda(CudaOptions{.precision = Precision::bf16});
      kept = cuda.allocate(12'345);
      auto* const x = reinterpret_cast<float*>(kept.data());
      cuda.linear_forward(MatrixView<float>(x, 3, 5), MatrixView<const float>(x + 256, 3, 7),
                          MatrixView<const float>(x + 512, 5, 7), {});
      CHECK(device.used() > before);
    }
    CHECK(device.used() > before);  // a buffer outlives its backend
  }
  CHECK(device.used() == before);
}

TEST_CASE("a batch of views is at most nine launches, and the second allocates nothing on the device", "[cuda]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  MultiCropOptions options;
  options.global_size = {20, 24};
  options.local_size = {16, 9};
  const MultiCrop<> views(options);
  std::vector<Scene> scenes;
  for (std::uint64_t i = 0; i < 3; ++i)
    scenes.push_back({drawn_picture<std::uint8_t>(40, 40, 3, i), views.plan(40, 40, {.seed = i})});
  const Cuda cuda;
  const Cuda::ViewRenderer renderer(cuda);
  const Buffer room = cuda.allocate(std::size_t{1} << 20);
  std::vector<ViewPack> packs(scenes.size());
  ViewSheet sheet;
  std::vector<float> mean;
  std::vector<float> deviation;
  views.normalisation(mean, deviation, 3);
  for (std::size_t s = 0; s < scenes.size(); ++s) {
    pack_views(packs[s], scenes[s].image, scenes[s].plans, views.interpolation, mean, deviation);
    sheet.add(packs[s], std::vector<void*>(scenes[s].plans.size(), room.data()));
  }
  const auto batch = [&] {
    sheet.write(renderer.stage(sheet.bytes()));
    renderer.send(sheet.views());
    renderer.render(sheet.runs());
    cuda.synchronise();
  };
  // A device without room for two sheets says so at the first one.
  const std::size_t all = std::exchange(device.total_memory, device.used() + 4096);
  const std::string text = thrown_by<CudaError>(batch);
  device.total_memory = all;
  CHECK(contains(text, "device 0 is out of memory: "));
  CHECK(contains(text, " for one of two sheets of views"));
  batch();
  device.fails = {{"cudaMalloc", cudaErrorMemoryAllocation}};
  CHECK(thrown_by<CudaError>(batch) == "(nothing was thrown)");
  const std::size_t launches = device.launches;
  device.fails = {{"cudaMalloc", cudaErrorMemoryAllocation}, {"cudaMallocHost", cudaErrorMemoryAllocation}};
  CHECK(thrown_by<CudaError>(batch) == "(nothing was thrown)");
  device.fails.clear();
  CHECK(device.launches - launches <= 9);
  // What fails says what it was.
  const auto failure = [&](const char* call) {
    device.fails = {{call, cudaErrorInvalidValue}};
    std::string said = thrown_by<CudaError>(batch);
    device.fails.clear();
    device.recover();
    return said;
  };
  CHECK(contains(failure("cudaMemcpyAsync"), "bytes of views"));
  CHECK(contains(failure("cudaLaunchKernelEx"), "render_views (18)"));
}

TEST_CASE("a step's memory is taken before its first step", "[cuda]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  for (const Precision precision : {Precision::full, Precision::bf16}) {
    const Cuda cuda(CudaOptions{.precision = precision});
    const std::size_t before = device.used();
    StepOptions options = planned_options();
    options.stochastic_depth = 0.5;
    TrainingStep<PlannedDense<private_relation>, Cuda> step(cuda, options);
    const std::size_t taken = device.used();
    CHECK(taken > before);
    device.fails = {{"cudaMalloc", cudaErrorMemoryAllocation}, {"cudaMallocHost", cudaErrorMemoryAllocation}};
    CHECK(thrown_by<CudaError>([&] {
            draw_into(cuda, step);
            for (Index number = 0; number < 3; ++number) static_cast<void>(one_step(step, number));
          }) == "(nothing was thrown)");
    device.fails.clear();
    CHECK(device.used() == taken);
  }
}

TEST_CASE("a device that is too small for the plan is an error before any step, with the plan", "[cuda]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  using Step = TrainingStep<PlannedDense<private_relation>, Cuda>;
  const Cuda cuda;
  const std::size_t before = device.used();
  // What the step takes: device memory comes in whole pages.
  std::size_t asked = 0;
  {
    const Cuda other;
    const std::size_t empty = device.used();
    const Step step(other, planned_options());
    asked = device.used() - empty;
  }
  REQUIRE(device.used() == before);
  const std::size_t all = std::exchange(device.total_memory, before + asked - 3 * 4096);
  const std::size_t launches = device.launches;
  device.fails = {{"cudaMalloc", cudaErrorMemoryAllocation}};  // it is not even tried
  const std::string text = thrown_by<CudaError>([&] { Step(cuda, planned_options()); });
  device.fails.clear();
  CHECK(device.used() == before);
  CHECK(device.launches == launches);
  CHECK(contains(text, "device 0 is out of memory: "));
  CHECK(contains(text, " free; lower the batch, the image size or the model's size; planned: "));
  for (const char* part : {" bytes weights of student and teacher, gradients, ", " bytes optimiser, ",
                           " bytes views, points and token layouts, ", " bytes centres and targets, ",
                           " bytes teacher's activations, ", "32.0 MiB scratch of the device"}) {
    INFO(text);
    CHECK(contains(text, part));
  }
  // With what was asked for, it goes.
  device.total_memory = before + asked;
  CHECK(thrown_by<CudaError>([&] { Step(cuda, planned_options()); }) == "(nothing was thrown)");
  // Where what is free turns out to be in pieces, the plan is said, too.
  device.fails = {{"cudaMalloc", cudaErrorMemoryAllocation}};
  const std::string pieces = thrown_by<CudaError>([&] { Step(Cuda(cuda), planned_options()); });
  device.fails.clear();
  device.total_memory = all;
  CHECK(contains(pieces, "; planned: "));
}

TEST_CASE("graphs are recorded once a temperature and spare launches", "[cuda]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  struct Counts {
    std::size_t launches, recordings, graphs;
  };
  const auto counts_of_steps = [&](bool graphs, double stochastic_depth) {
    const Cuda cuda(CudaOptions{.graphs = graphs});
    StepOptions options = planned_options();
    options.stochastic_depth = stochastic_depth;
    TrainingStep<PlannedDense<private_relation>, Cuda> step(cuda, options);
    draw_into(cuda, step);
    std::vector<Counts> out;
    Index number = 0;
    for (const double temperature : {0.1, 0.1, 0.1, 0.07, 0.07, 0.07}) {
      const Counts before{device.launches, device.recordings, device.graph_launches};
      static_cast<void>(one_step(step, number++, temperature));
      out.push_back({device.launches - before.launches, device.recordings - before.recordings,
                     device.graph_launches - before.graphs});
    }
    return out;
  };
  const auto plain = counts_of_steps(false, 0);
  for (const Counts& c : plain) {
    CHECK(c.launches == plain[0].launches);
    CHECK(c.recordings == 0);
    CHECK(c.graphs == 0);
  }
  const auto with_graphs = counts_of_steps(true, 0);
  CHECK(with_graphs[0].launches == plain[0].launches);
  // The second step records both passes; a new temperature is done directly by the student once, then recorded.
  const std::vector<std::pair<std::size_t, std::size_t>> recorded_launched{{0, 0}, {2, 2}, {0, 2}, {0, 1}, {1, 2}, {0, 2}};
  for (std::size_t i = 0; i < with_graphs.size(); ++i) {
    INFO("step " << i);
    CHECK(std::pair(with_graphs[i].recordings, with_graphs[i].graphs) == recorded_launched[i]);
  }
  CHECK(with_graphs[2].launches < plain[0].launches / 5);
  CHECK(with_graphs[5].launches == with_graphs[2].launches);
  CHECK(with_graphs[1].launches == with_graphs[2].launches);
  // Where branches are dropped, the student's pass has other shapes in every step.
  const auto with_drops = counts_of_steps(true, 0.5);
  for (std::size_t i = 1; i < with_drops.size(); ++i) CHECK(with_drops[i].graphs == 1);
}

TEST_CASE("work that a graph cannot hold is an error, and the backend goes on", "[cuda]") {
  const Cuda cuda(CudaOptions{.graphs = true});
  const Buffer room = cuda.allocate(std::size_t{1} << 20);
  auto* const x = reinterpret_cast<float*>(room.data());
  const std::vector<float> host(10, 2.0F);
  const auto failure_of = [&](const std::function<void()>& work) {
    Cuda::Replay slot;
    cuda.replay(slot, 1, work);  // directly
    std::string text = thrown_by<CudaError>([&] { cuda.replay(slot, 1, work); });
    CHECK(thrown_by<CudaError>([&] { cuda.replay(slot, 1, work); }) == "(nothing was thrown)");  // directly again
    cuda.synchronise();
    return text;
  };
  CHECK(contains(failure_of([&] { cuda.upload(x, std::span<const float>(host)); }), "upload of 40 bytes"));
  std::vector<float> back(10);
  CHECK(contains(failure_of([&] { cuda.download(std::span<float>(back), static_cast<const float*>(x)); }),
                 "cudaErrorStreamCaptureUnsupported"));
  CHECK(contains(failure_of([&] { cuda.synchronise(); }), "cudaStreamSynchronize"));
  CHECK(contains(failure_of([&] { static_cast<void>(cuda.allocate(10)); }), "cudaMalloc"));
  CHECK(failure_of([&] { cuda.fill(VectorView<float>(x, 10), 3); }) == "(nothing was thrown)");
  cuda.download(std::span<float>(back), static_cast<const float*>(x));
  CHECK(back == std::vector<float>(10, 3.0F));
  // What fails while it is recorded says what it was.
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  for (const char* call : {"cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"}) {
    Cuda::Replay slot;
    const auto work = [&] { cuda.fill(VectorView<float>(x, 10), 4); };
    cuda.replay(slot, 1, work);
    device.fails = {{call, cudaErrorInvalidValue}};
    const std::string text = thrown_by<CudaError>([&] { cuda.replay(slot, 1, work); });
    device.fails.clear();
    device.recover();
    CHECK(contains(text, std::string(call) + " failed in "));
    CHECK(contains(text, "fill (10)"));
  }
}
