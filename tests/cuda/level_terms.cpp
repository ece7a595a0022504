// The catalogue of terms on the Cuda backend: levels of prototypes, points, copies of the teacher and frozen ones.
#include "cuda/listed_steps.hpp"

using namespace dssl::test;

TEST_CASE("levels, points, copies and frozen teachers on Cuda hold to the oracle", "[cuda]") {
  if (!device_is_there()) return;
  check_on_cuda(listed_masked());
  check_on_cuda(listed_frozen());
  check_on_cuda(listed_rest());
}
