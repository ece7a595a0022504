// Functions of one number in the registers of Cpu, against the C library in double.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/core/tensor_view.hpp>

using dssl::Index;

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
  double worst_far = 0;
  for (std::size_t i = 0; i < within; ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    double& of_these = std::abs(x[i]) <= 39 ? worst : worst_far;
    of_these = std::max(of_these, std::abs(static_cast<double>(y[i]) / exact - 1));
  }
  CHECK(worst <= 2e-7);
#if defined(__AVX512F__)
  CHECK(worst_far <= 3.1e-7);
#else
  CHECK(worst_far <= 2e-7);
#endif
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
