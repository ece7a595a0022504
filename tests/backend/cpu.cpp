// The Cpu backend against the oracle, and against itself with another number of threads.
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <vector>

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

TEST_CASE("Cpu exponential is exact to rounding", "[backend][cpu]") {
  std::vector<float> x;
  for (int i = -873'000; i <= 883'000; ++i) x.push_back(static_cast<float>(i) * 1e-4F);
  const std::size_t within = x.size();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  x.insert(x.end(), {-infinity, -1e30F, -100.0F, infinity, 89.0F, std::numeric_limits<float>::quiet_NaN()});
  std::vector<float> y(x.size());
  dssl::cpu::map(
      y.data(), static_cast<Index>(x.size()), [](const auto& v) { return dssl::cpu::exponential<float>(v); }, x.data());
  double worst = 0;
  for (std::size_t i = 0; i < within; ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) / exact - 1));
  }
  CHECK(worst <= 2e-7);
  CHECK(y[static_cast<std::size_t>(873'000)] == 1.0F);
  for (std::size_t i = within; i < within + 3; ++i) CHECK((y[i] >= 0 && y[i] <= 1.3e-38F));
  for (std::size_t i = within + 3; i < within + 5; ++i) CHECK(y[i] >= 2e38F);
  CHECK(std::isnan(y.back()));
}

TEST_CASE("Cpu normal distribution function is exact to rounding", "[backend][cpu]") {
  double worst = 0;
  double worst_share = 0;
  std::vector<float> x;
  for (int i = 0; i <= 100'000; ++i) x.push_back(static_cast<float>(i) * 1e-4F);
  std::vector<float> y(x.size());
  dssl::cpu::map(
      y.data(), static_cast<Index>(x.size()),
      [](const auto& v) { return dssl::cpu::upper_tail<float>(dssl::cpu::normal_size<float>(v)); }, x.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = 0.5 * std::erfc(static_cast<double>(x[i]) / std::numbers::sqrt2);
    const double off = std::abs(static_cast<double>(y[i]) - exact);
    worst = std::max(worst, off);
    if (x[i] < dssl::cpu::normal_cut) worst_share = std::max(worst_share, off / exact);
  }
  CHECK(worst <= 1e-7);  // half of what erf itself is allowed
  CHECK(worst_share <= 4e-4);
}

TEST_CASE("Cpu GELU and its slope are exact to rounding", "[backend][cpu]") {
  std::vector<float> x;
  for (int i = -100'000; i <= 100'000; ++i) x.push_back(static_cast<float>(i) * 1e-4F);
  for (const float far : {30.0F, 1e6F, 1e30F}) x.insert(x.end(), {far, -far});
  std::vector<float> alone(x.size()), y(x.size()), slope(x.size());
  const auto count = static_cast<Index>(x.size());
  dssl::cpu::map(
      alone.data(), count, [](const auto& v) { return dssl::cpu::gelu<float>(v); }, x.data());
  dssl::cpu::map_two(
      y.data(), slope.data(), count, [](const auto& v) { return dssl::cpu::gelu_and_slope<float>(v); },
      x.data());
  double worst = 0;
  double worst_slope = 0;
  bool same = true;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto v = static_cast<double>(x[i]);
    const double below = 0.5 * std::erfc(-v / std::numbers::sqrt2);
    const double bell = std::exp(-0.5 * v * v) / std::sqrt(2 * std::numbers::pi);
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - v * below) / std::max(1.0, std::abs(v) / 4));
    worst_slope = std::max(worst_slope, std::abs(static_cast<double>(slope[i]) - (below + v * bell)));
    same = same && y[i] == alone[i];
  }
  CHECK(worst <= 3e-7);
  CHECK(worst_slope <= 5e-7);
  CHECK(same);
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
    const dssl::Buffer buffer = cpu.allocate(bytes);
    CHECK(buffer.bytes() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    bool zero = true;
    for (std::size_t i = 0; i < bytes; ++i) zero = zero && buffer.data()[i] == std::byte{0};
    CHECK(zero);
  }
}
