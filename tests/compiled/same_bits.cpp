// dssl::cpu against the header-only library, with a part that it does not hold, and translation units for different
// instruction sets in one program.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "catch.hpp"
#include "own_scheme.hpp"
#include "ways.hpp"

namespace {

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double off = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    most = std::isfinite(off) ? std::max(most, off) : HUGE_VAL;
  }
  return most;
}

}  // namespace

TEST_CASE("Compiled once or header-only, kernels give the same bits", "[compiled]") {
  const auto header_only = dssl::test::run_header_only();
  const auto compiled = dssl::test::run_compiled();
  CHECK(compiled.kernels == "compiled");
  CHECK(header_only.kernels != compiled.kernels);
  CHECK(std::all_of(compiled.numbers.begin(), compiled.numbers.end(), [](float x) { return std::isfinite(x); }));
  CHECK(header_only.numbers == compiled.numbers);
}

TEST_CASE("A program that links dssl::cpu trains with a token scheme of its own", "[compiled]") {
  const auto run = dssl::test::train_with_own_scheme();
  REQUIRE(run.cpu.size() == 3);
  REQUIRE(run.reference.size() == 3);
  CHECK(run.cpu.front() != run.cpu.back());
  for (std::size_t i = 0; i < 3; ++i) CHECK(std::abs(run.cpu[i] - run.reference[i]) < 1e-3 * run.reference[i]);
}

#if defined(DSSL_TEST_INSTRUCTION_SETS)
// Without names of their own, the linker keeps the kernels of one for both: numbers that are not finite, or a crash.
TEST_CASE("Translation units for different instruction sets each compute as they would alone", "[compiled]") {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    WARN("skipped: this processor has no AVX2");
    return;
  }
  const auto older = dssl::test::run_for_an_older_processor();
  const auto newer = dssl::test::run_for_a_newer_processor();
  CHECK(older.kernels == "sse4");
  CHECK(newer.kernels == "avx2_fma");
  CHECK(largest_difference(older.numbers, newer.numbers) < 1e-2);  // bf16 may round to another neighbour
  CHECK(older.numbers != newer.numbers);
}
#endif
