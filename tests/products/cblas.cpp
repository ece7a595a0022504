// The Cpu backend with products by a CBLAS: linear layers against the oracle in float and double, whole steps
// against the published numbers, the same bits for any number of threads.
#include "catch.hpp"

#include <string>

#include <dssl/backend/cblas.hpp>

#include "backend/product_cases.hpp"
#include "thrown.hpp"
#include "train/training_parity.hpp"

using namespace dssl;

static_assert(Backend<CblasCpu> && FusedPrototypeLoss<CblasCpu> && FusedUpdate<CblasCpu>);
static_assert(Backend<BasicCpu<double, CblasProducts>>);

TEST_CASE("products by a CBLAS hold to the oracle, with the same bits for any number of threads") {
  test::check_products<float, CblasProducts>({}, 2e-6);
  test::check_products<double, CblasProducts>({}, 1e-14);
}

TEST_CASE("whole training steps with products by a CBLAS give the published numbers") {
  for (const int threads : {1, 2}) {
    test::check_training<private_relation>(CblasCpu({.threads = threads}), "training_adamw");
  }
}

TEST_CASE("a backend with products by a CBLAS says so, and refuses what the library does not have") {
  CHECK(CblasCpu().describe().find("linear layers by ") != std::string::npos);
  CHECK(test::contains(test::thrown_by<OptionError>([] { CblasCpu({.precision = Precision::bf16}); }),
                       "'precision' is bf16; expected full with products by a CBLAS"));
}
