// The Cuda backend in double against the oracle: the formulas to rounding.
#include "catch.hpp"

#include <dssl/backend/cuda.hpp>

#include "backend/fused_cases.hpp"
#include "backend/op_cases.hpp"
#include "cuda/held_to_oracle.hpp"
#include "cuda/relation_cases.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("Cuda in double holds to the oracle to rounding", "[cuda]") {
  if (!device_is_there()) return;
  const BasicCuda<double> cuda;
  HeldToOracle held(cuda, 1e-12);
  linear_cases(held);
  dense_cases(held);
  fused_cases(held);
  attention_cases(held);
  for (const Index width : {Index{3}, Index{40}}) {
    relation_cases(
        held,
        {{{.patches = 31, .references = 3}, {.patches = 30}, {.patches = 33, .references = 40}}, 2, width},
        join("heads of ", width));
  }
  row_cases(held);
  loss_cases(held);
  prototype_loss_cases(held);
  optimiser_cases(held);
}

TEST_CASE("Cuda in double refuses rounded operands", "[cuda]") {
  if (!device_is_there()) return;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    CHECK(contains(thrown_by<OptionError>([&] { BasicCuda<double>(CudaOptions{.precision = precision}); }),
                   "expected full on a backend in double"));
  }
}
