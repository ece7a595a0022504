// What projectors, predictors and losses between rows need, on the Cpu backend against the oracle.
#include "catch.hpp"

#include "backend/held_on_cpu.hpp"
#include "backend/mlp_cases.hpp"

TEST_CASE("Cpu primitives of projectors and predictors hold to the oracle", "[backend][cpu]") {
  dssl::test::mlp_cases(dssl::test::HeldToOracle{});
}
