// The Cpu backend against the oracle, and against itself with another number of threads.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <tbb/global_control.h>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>
#include <dssl/backend/reference.hpp>

#include "backend/fused_cases.hpp"
#include "backend/held_on_cpu.hpp"
#include "backend/op_cases.hpp"
#include "backend/outcome.hpp"

namespace {

using dssl::BasicCpu;
using dssl::Cpu;
using dssl::Index;
using dssl::Reference;
using dssl::test::HeldToOracle;
using dssl::test::outcome;

}  // namespace

TEST_CASE("Cpu linear layers hold to the oracle", "[backend][cpu]") {
  dssl::test::linear_cases(HeldToOracle{});
}
TEST_CASE("Cpu dense primitives hold to the oracle", "[backend][cpu]") {
  dssl::test::dense_cases(HeldToOracle{});
}
TEST_CASE("Cpu optional operations hold to the primitives they stand for", "[backend][cpu]") {
  static_assert(dssl::GeluAgain<Cpu> && dssl::ResidualNorms<Cpu>);
  static_assert(!dssl::GeluAgain<Reference<double>> && !dssl::ResidualNorms<Reference<double>>);
  dssl::test::fused_cases(HeldToOracle{});
}
TEST_CASE("Cpu attention holds to the oracle", "[backend][cpu]") {
  dssl::test::attention_cases(HeldToOracle{});
}
TEST_CASE("Cpu row primitives hold to the oracle", "[backend][cpu]") {
  dssl::test::row_cases(HeldToOracle{});
}
TEST_CASE("Cpu norms and losses hold to the oracle", "[backend][cpu]") {
  dssl::test::loss_cases(HeldToOracle{});
}
TEST_CASE("Cpu loss over prototypes holds to the oracle", "[backend][cpu]") {
  dssl::test::prototype_loss_cases(HeldToOracle{});
}
TEST_CASE("Cpu optimisers hold to the oracle", "[backend][cpu]") {
  dssl::test::optimiser_cases(HeldToOracle{});
}

TEST_CASE("Cpu primitives let NaN through", "[backend][cpu]") {
  const Cpu cpu(dssl::CpuOptions{.threads = 1});
  std::vector<float> x(40, 0.5F);
  x[7] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> y(40, 0.0F);
  const dssl::MatrixView<float> out(y.data(), 1, 40);
  const dssl::MatrixView<const float> in(x.data(), 1, 40);
  cpu.gelu_forward(out, in);
  CHECK(std::isnan(y[7]));
  std::vector<float> slope(40, 0.0F);
  const dssl::MatrixView<float> d_x(slope.data(), 1, 40);
  cpu.gelu_again_backward(out, d_x, {}, in, in);
  CHECK(std::isnan(y[7]));
  CHECK(std::isnan(slope[7]));
  std::vector<float> centre(40, 0.0F);
  cpu.centred_softmax(out, in, dssl::VectorView<const float>(centre.data(), 40), 0.1);
  CHECK(std::isnan(y[0]));
}

TEST_CASE("batch norm gives a column of one value its bias exactly, and no NaN", "[backend][cpu]") {
  const auto check = [](const auto& backend) {
    INFO(backend.describe());
    for (const Index rows : {Index{1}, Index{3}, Index{333}}) {
      constexpr Index columns = 70;
      const auto filled = [&](Index count, float value) {
        return std::vector<float>(static_cast<std::size_t>(count), value);
      };
      const auto x = filled(rows * columns, 1234.567F), weight = filled(columns, 3.0F), bias = filled(columns, 0.25F),
                 d_y = filled(rows * columns, 1.0F);
      auto y = filled(rows * columns, 9.0F), mean = y, inverse_std = y, d_x = y, d_weight = filled(columns, 0.5F),
           d_bias = d_weight;
      const dssl::MatrixView<const float> x_(x.data(), rows, columns);
      const dssl::VectorView<const float> weight_(weight.data(), columns);
      const dssl::VectorView<float> mean_(mean.data(), columns), inverse_std_(inverse_std.data(), columns);
      backend.batch_norm_forward(dssl::MatrixView<float>(y.data(), rows, columns), mean_, inverse_std_, x_, weight_,
                                 dssl::VectorView<const float>(bias.data(), columns), 1e-5);
      backend.batch_norm_backward(dssl::MatrixView<float>(d_x.data(), rows, columns),
                                  dssl::VectorView<float>(d_weight.data(), columns),
                                  dssl::VectorView<float>(d_bias.data(), columns),
                                  dssl::MatrixView<const float>(d_y.data(), rows, columns), x_, mean_, inverse_std_,
                                  weight_);
      CHECK(y == filled(rows * columns, 0.25F));
      CHECK(mean_(3) == 1234.567F);
      CHECK(inverse_std_(69) == Approx(1.0 / std::sqrt(1e-5)));
      CHECK(d_x == filled(rows * columns, 0.0F));  // what moves all rows alike moves no output
      CHECK(d_weight == filled(columns, 0.5F));
      CHECK(d_bias == filled(columns, 0.5F + static_cast<float>(rows)));
    }
  };
  check(Reference<float>());
  check(Cpu(dssl::CpuOptions{.threads = 2}));
}

TEST_CASE("Cpu options are checked and described", "[backend][cpu]") {
  CHECK_THROWS_AS(Cpu(dssl::CpuOptions{.threads = -1}), dssl::OptionError);
  const Cpu two(dssl::CpuOptions{.threads = 2});
  CHECK(two.threads() == 2);
  CHECK(two.describe().find("2 threads") != std::string::npos);
  CHECK(two.describe().find("float32") != std::string::npos);
  CHECK(BasicCpu<double>().describe().find("float64") != std::string::npos);
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, 1);
  CHECK(Cpu(dssl::CpuOptions{.threads = 2}).threads() == 1);
  CHECK(Cpu().threads() == 1);
#if defined(__AVX2__) && defined(__FMA__)
  CHECK(two.describe().find("FMA, AVX2, AVX, SSE") != std::string::npos);
#endif
}

TEST_CASE("an observer of Cpu is told of every loop and changes no bit", "[backend][cpu]") {
  class Listener : public dssl::cpu::LoopObserver {
   public:
    void loop(bool shared, std::span<const double> seconds) override {
      loops += 1;
      shared_loops += shared ? 1 : 0;
      tasks += seconds.size();
      for (const double s : seconds) negative = negative || !(s >= 0);
    }
    int loops = 0;
    int shared_loops = 0;
    std::size_t tasks = 0;
    bool negative = false;
  } listener;
  const Cpu plain(dssl::CpuOptions{.threads = 2});
  const Cpu observed(dssl::CpuOptions{.threads = 2, .observer = &listener});
  const auto call = [](const auto& b, auto& board) {
    const auto y = board.output(2048, 512);
    b.gelu_forward(y, board.matrix(2048, 512));
  };
  CHECK(outcome(plain, call, 3)[0].bytes == outcome(observed, call, 3)[0].bytes);
  CHECK(listener.loops == 1);
  CHECK(listener.shared_loops == 1);
  CHECK(listener.tasks > 1);
  CHECK_FALSE(listener.negative);
}

TEST_CASE("Cpu memory is zeroed and aligned", "[backend][cpu]") {
  const Cpu cpu(dssl::CpuOptions{.threads = 1});
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{5} << 20}) {
    for (int again = 0; again < 4; ++again) {  // also where it was somebody's before
      const dssl::Buffer buffer = cpu.allocate(bytes);
      CHECK(buffer.bytes() == bytes);
      CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
      bool zero = true;
      for (std::size_t i = 0; i < bytes; ++i) zero = zero && buffer.data()[i] == std::byte{0};
      CHECK(zero);
      std::fill_n(buffer.data(), bytes, std::byte{255});
    }
  }
}
