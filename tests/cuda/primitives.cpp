// The Cuda backend against the oracle: the tables that every backend is held to.
#include "catch.hpp"

#include <dssl/backend/cuda.hpp>

#include "backend/block_cases.hpp"
#include "backend/fused_cases.hpp"
#include "backend/mlp_cases.hpp"
#include "backend/op_cases.hpp"
#include "backend/term_cases.hpp"
#include "cuda/held_to_oracle.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <class Table>
void hold(const Table& table) {
  if (!device_is_there()) return;
  const Cuda cuda;
  table(HeldToOracle(cuda, 1e-5));
}

}  // namespace

TEST_CASE("Cuda linear layers hold to the oracle", "[cuda]") {
  hold([](auto&& held) { linear_cases(held); });
}
TEST_CASE("Cuda dense primitives hold to the oracle", "[cuda]") {
  hold([](auto&& held) { dense_cases(held); });
}
TEST_CASE("Cuda primitives of projectors and predictors hold to the oracle", "[cuda]") {
  hold([](auto&& held) { mlp_cases(held); });
}
TEST_CASE("Cuda primitives of blocks' options hold to the oracle", "[cuda]") {
  hold([](auto&& held) { block_cases(held); });
}
TEST_CASE("Cuda optional operations hold to the primitives they stand for", "[cuda]") {
  hold([](auto&& held) { fused_cases(held); });
}
TEST_CASE("Cuda attention holds to the oracle", "[cuda]") {
  hold([](auto&& held) { attention_cases(held); });
}
TEST_CASE("Cuda row primitives hold to the oracle", "[cuda]") {
  hold([](auto&& held) { row_cases(held); });
}
TEST_CASE("Cuda norms and losses hold to the oracle", "[cuda]") {
  hold([](auto&& held) { loss_cases(held); });
}
TEST_CASE("Cuda loss over prototypes holds to the oracle", "[cuda]") {
  hold([](auto&& held) { prototype_loss_cases(held); });
}
TEST_CASE("Cuda terms of losses hold to the oracle", "[cuda]") {
  hold([](auto&& held) { term_cases(held); });
}
TEST_CASE("Cuda optimisers hold to the oracle", "[cuda]") {
  hold([](auto&& held) { optimiser_cases(held); });
}

TEST_CASE("Cuda refuses running statistics of one row", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda cuda;
  CHECK_THROWS_WITH(cuda.batch_norm_update({}, {}, {}, {}, 1, 0.1, 1e-5), Catch::Contains("1 rows; expected at least 2"));
}

TEST_CASE("Cuda products and attention with rounded operands stay near the oracle", "[cuda]") {
  if (!device_is_there()) return;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    INFO((precision == Precision::tf32 ? "tf32" : "bf16"));
    const Cuda cuda(CudaOptions{.precision = precision});
    const bool wide = precision == Precision::bf16;
    linear_cases(HeldToOracle(cuda, wide ? 5e-3 : 1e-3, Measure::norm, 2));
    attention_cases(HeldToOracle(cuda, wide ? 3e-2 : 4e-3, Measure::norm, 2));
    prototype_loss_cases(HeldToOracle(cuda, wide ? 4e-2 : 1e-2, Measure::norm, 2));  // of three numbers
  }
}
