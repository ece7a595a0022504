// What blocks of some families have beside, on the Cpu backend against the oracle.
#include "catch.hpp"

#include "backend/block_cases.hpp"
#include "backend/held_on_cpu.hpp"

TEST_CASE("Cpu primitives of blocks' options hold to the oracle", "[backend][cpu]") {
  dssl::test::block_cases(dssl::test::HeldToOracle{});
}
