// What only the stand-in can show: every order of threads, failures that are asked for, plans that are kept.
#include "catch.hpp"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/cuda/product.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/views/multi_crop.hpp>

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
  const auto failure = [&](const char* call, const auto& work, cudaError_t status = cudaErrorInvalidValue) {
    device.fails = {{call, status}};
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
  const auto multiply = [&] {
    cuda.linear_backward_input(MatrixView<float>(x, 3, 5), MatrixView<const float>(x + 100, 3, 7),
                               MatrixView<const float>(x + 200, 7, 5));
  };
  const std::string product = failure("cublasLtMatmul", multiply);
  CHECK(contains(product, "cublasLtMatmul failed in linear_backward_input (3 x 5 x 7), 3 x 7 times 7 x 5"));
  CHECK_FALSE(contains(product, "out of memory"));
  CHECK(contains(failure("cublasLtMatmul", multiply, cudaErrorMemoryAllocation), ": the device is out of memory"));
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
