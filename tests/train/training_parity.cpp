// Six whole training steps against the reference numbers, on the host.
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

#include "train/instances.hpp"
#include "training_parity.hpp"

using namespace dssl;

TEST_CASE("whole training steps give the published numbers") {
  SECTION("in double") { test::check_training(Reference<double>()); }
  SECTION("on the CPU") {
    test::check_training(Cpu({.threads = 1}));
    test::check_training(Cpu({.threads = 2}));
  }
  SECTION("with views one after the other") {
    test::check_training(Reference<double>(), true);
    test::check_training(Cpu({.threads = 2}), true);
  }
}
