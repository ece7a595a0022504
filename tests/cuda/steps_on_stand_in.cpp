// What only the stand-in can show of whole steps: what they allocate, launch and record, and on which device.
#include "catch.hpp"

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/train/trainer.hpp>

#include "cuda/planned_steps.hpp"
#include "cuda/rig.hpp"
#include "cuda/small_runs.hpp"
#include "cuda/two_devices.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

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

TEST_CASE("what a step uploads is staged in memory that was taken before its first step", "[cuda]") {
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  StepOptions options = planned_options();
  options.shape.views = {{512, 512}, {512, 512}};  // more than what is staged in at least
  const Cuda cuda;
  const TrainingStep<PlannedDense<private_relation>, Cuda> step(cuda, options);
  const TensorView<float, 4> view = step.view_input(0);
  const std::vector<float> images(static_cast<std::size_t>(view.size()), 1.0F);
  device.fails = {{"cudaMallocHost", cudaErrorMemoryAllocation}};
  const std::string thrown = thrown_by<CudaError>([&] { cuda.upload(view.data(), std::span<const float>(images)); });
  device.fails.clear();
  CHECK(thrown == "(nothing was thrown)");
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
  const std::size_t all = std::exchange(device.total_memory, before + asked + cuda::left_to_driver - 3 * 4096);
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
                           " bytes teacher's activations, ", "32.0 MiB scratch of the device, and 256.0 MiB left to the driver for kernels"}) {
    INFO(text);
    CHECK(contains(text, part));
  }
  // With what was asked for, it goes.
  device.total_memory = before + asked + cuda::left_to_driver;
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
  const std::vector<std::pair<std::size_t, std::size_t>> recorded_launched{{0, 0}, {2, 2}, {0, 2},
                                                                           {0, 1}, {1, 2}, {0, 2}};
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
  CHECK(contains(failure_of([&] { cuda.upload(x, std::span<const float>(host)); }),
                 "upload of 40 bytes within work that is recorded as a graph"));
  std::vector<float> back(10);
  CHECK(contains(failure_of([&] { cuda.download(std::span<float>(back), static_cast<const float*>(x)); }),
                 "download of 40 bytes within work that is recorded as a graph"));
  CHECK(contains(failure_of([&] { cuda.synchronise(); }), "cudaStreamSynchronize"));
  CHECK(contains(failure_of([&] { static_cast<void>(cuda.allocate(10)); }), "cudaMalloc"));
  CHECK(failure_of([&] { cuda.fill(VectorView<float>(x, 10), 3); }) == "(nothing was thrown)");
  cuda.download(std::span<float>(back), static_cast<const float*>(x));
  CHECK(back == std::vector<float>(10, 3.0F));
  // What fails while it is recorded says what it was.
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  for (const char* call :
       {"cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"}) {
    Cuda::Replay slot;
    const auto work = [&] { cuda.fill(VectorView<float>(x, 10), 4); };
    cuda.replay(slot, 1, work);
    device.fails = {{call, cudaErrorInvalidValue}};
    const std::string text = thrown_by<CudaError>([&] { cuda.replay(slot, 1, work); });
    device.fails.clear();
    device.recover();
    CHECK(contains(text, std::string(call) + " failed in "));
    CHECK(contains(text, "fill (10)"));
    CHECK(thrown_by<CudaError>([&] { cuda.replay(slot, 1, work); }) == "(nothing was thrown)");
    cuda.synchronise();
  }
}

TEST_CASE("a backend works on its own device and leaves the thread's as it was", "[cuda]") {
  const TwoDevices devices;
  cuda_stand_in::Device& device = cuda_stand_in::Device::get();
  const std::size_t first_before = device.used(0);
  const std::size_t second_before = device.used(1);
  TrainerOptions options = tiny_options();
  options.epochs = 1;
  options.stochastic_depth = 0;
  options.views_on = ViewsOn::device;
  const auto of_first = run<Tiny>(Cuda({.graphs = true}), options);
  CHECK(device.used(0) == first_before);
  {
    const Cuda second({.device = 1, .graphs = true});
    CHECK(devices.current() == 0);
    CHECK(device.used(1) >= second_before + (std::size_t{32} << 20));
    CHECK(contains(second.describe(), "device 1: "));
    Trainer<Tiny, Cuda> trainer(options, second);
    trainer.on_step([&](const StepReport&) {
      CHECK(devices.current() == 0);
      CHECK(device.used(0) == first_before);
      return proceed;
    });
    static_cast<void>(trainer.fit(NoiseImages(9)));
    CHECK(same_bits(state_of(trainer), of_first.state));
    // What fails leaves the device as it was, too.
    const std::size_t all = std::exchange(device.total_memory, device.used(1));
    CHECK(contains(thrown_by<CudaError>([&] { static_cast<void>(second.allocate(1)); }),
                   "device 1 is out of memory: 1 bytes asked for, 0 bytes of "));
    device.total_memory = all;
    CHECK(devices.current() == 0);
  }
  CHECK(devices.current() == 0);
  CHECK(device.used(0) == first_before);
  CHECK(device.used(1) == second_before);
  // The other way round.
  REQUIRE(cudaSetDevice(1) == cudaSuccess);
  CHECK(same_bits(run<Tiny>(Cuda({.graphs = true}), options).state, of_first.state));
  CHECK(devices.current() == 1);
  CHECK(device.used(1) == second_before);
}
