// One primitive's call on every CPU backend, held to the same call on the oracle, and to itself with other threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "../catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

#include "backend/outcome.hpp"

namespace dssl::test {

/// Holds one call on every CPU backend to the same call on the double oracle.
struct HeldToOracle {
  Reference<double> oracle;
  Reference<float> rounded;
  Cpu one{CpuOptions{.threads = 1}};
  Cpu two{CpuOptions{.threads = 2}};
  BasicCpu<double> precise{CpuOptions{.threads = 2}};
  Cpu plain{CpuOptions{.threads = 1, .split_products = false}};
  Cpu plain_pair{CpuOptions{.threads = 2, .split_products = false}};
  std::uint64_t seed = 1;

  template <class Call>
  void operator()(const std::string& name, const Call& call) {
    INFO(name);
    ++seed;
    const auto expected = outcome(oracle, call, seed);
    const auto check = [&](const auto& got, double tolerance, const char* backend) {
      INFO(backend);
      REQUIRE(got.size() == expected.size());
      for (std::size_t n = 0; n < expected.size(); ++n) {
        INFO("output " << n);
        CHECK(distance(got[n].values, expected[n].values) <= tolerance);
      }
    };
    const auto single = outcome(one, call, seed);
    const auto pair = outcome(two, call, seed);
    check(outcome(rounded, call, seed), 1e-5, "Reference<float>");
    check(single, 1e-5, "Cpu");
    check(outcome(precise, call, seed), 1e-12, "BasicCpu<double>");
    const auto same_bytes = [](const auto& a, const auto& b) {
      for (std::size_t n = 0; n < a.size(); ++n) {
        INFO("output " << n << " of one and of two threads");
        CHECK(a[n].bytes == b[n].bytes);
      }
    };
    same_bytes(single, pair);
    // Where a processor has no bf16 tile unit these are the same backends.
    const auto single_plain = outcome(plain, call, seed);
    check(single_plain, 1e-5, "Cpu without bf16 parts");
    same_bytes(single_plain, outcome(plain_pair, call, seed));
  }
};

}  // namespace dssl::test
