// The Cuda backend as an object: memory, options, and that copies go where they should.
#include "catch.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <dssl/backend/cuda.hpp>

#include "cuda/rig.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("Cuda memory is zeroed, aligned, and holds what is copied there", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda cuda;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{5} << 20}) {
    const Buffer buffer = cuda.allocate(bytes);
    CHECK(buffer.bytes() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    std::vector<std::byte> host(bytes, std::byte{7});
    cuda.download(std::span<std::byte>(host), static_cast<const std::byte*>(buffer.data()));
    CHECK(host == std::vector<std::byte>(bytes, std::byte{0}));
    for (std::size_t i = 0; i < bytes; ++i) host[i] = static_cast<std::byte>(i % 251);
    cuda.upload(buffer.data(), std::span<const std::byte>(host));
    std::vector<std::byte> back(bytes);
    cuda.download(std::span<std::byte>(back), static_cast<const std::byte*>(buffer.data()));
    CHECK(back == host);
  }
}

TEST_CASE("Cuda uploads may be changed at once, however many there are", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda cuda;
  constexpr std::size_t count = 300'000;
  const Buffer buffer = cuda.allocate(40 * count * sizeof(float));
  auto* const numbers = reinterpret_cast<float*>(buffer.data());
  std::vector<float> host(count);
  for (std::size_t i = 0; i < 40; ++i) {
    host.assign(count, static_cast<float>(i));
    cuda.upload(numbers + i * count, std::span<const float>(host));
  }
  std::vector<float> all(40 * count);
  cuda.download(std::span<float>(all), static_cast<const float*>(numbers));
  bool same = true;
  for (std::size_t i = 0; i < all.size(); ++i) same = same && all[i] == static_cast<float>(i / count);
  CHECK(same);
}

TEST_CASE("Cuda describes itself and checks its options", "[cuda]") {
  if (!device_is_there()) return;
  const std::string text = Cuda(CudaOptions{.precision = Precision::bf16}).describe();
  CHECK(contains(text, "device 0: "));
  CHECK(contains(text, "compute capability "));
  CHECK(contains(text, "float32, products and attention in bf16"));
  CHECK(Cuda().precision() == Precision::full);
  CHECK(contains(thrown_by<OptionError>([] { Cuda(CudaOptions{.device = 99}); }), "option 'device' is 99"));
  CHECK(contains(thrown_by<OptionError>([] { Cuda(CudaOptions{.device = -1}); }), "option 'device' is -1"));
}

TEST_CASE("Cuda says how much memory was asked for where there is not enough", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda cuda;
  const std::string text =
      thrown_by<CudaError>([&] { static_cast<void>(cuda.allocate(std::size_t{1} << 50)); });
  CHECK(contains(text, "1048576.0 GiB asked for"));
  CHECK(contains(text, "free"));
  CHECK(cuda.allocate(1000).bytes() == 1000);  // and goes on working
}

TEST_CASE("Cuda primitives let NaN through", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda cuda;
  std::vector<float> host(40, 0.5F);
  host[7] = std::numeric_limits<float>::quiet_NaN();
  const Buffer buffer = cuda.allocate(3 * 40 * sizeof(float));
  auto* const x = reinterpret_cast<float*>(buffer.data());
  cuda.upload(x, std::span<const float>(host));
  const MatrixView<const float> in(x, 1, 40);
  const MatrixView<float> out(x + 40, 1, 40);
  const auto number = [&](Index at) {
    float value = 0;
    cuda.download(std::span<float>(&value, 1), static_cast<const float*>(out.data() + at));
    return value;
  };
  cuda.gelu_forward(out, in);
  CHECK(std::isnan(number(7)));
  cuda.gelu_again_backward(MatrixView<float>(x + 80, 1, 40), out, {}, in, in);
  CHECK(std::isnan(number(7)));
  cuda.centred_softmax(out, in, VectorView<const float>(x + 80, 40), 0.1);
  CHECK(std::isnan(number(0)));
}
