// The catalogue of terms on the Cuda backend: those that compare two views, and maps.
#include "cuda/listed_steps.hpp"

using namespace dssl::test;

TEST_CASE("terms of two views on Cuda hold to the oracle", "[cuda]") {
  if (device_is_there()) check_on_cuda(listed_two_views());
}

TEST_CASE("terms of maps and assignments on Cuda hold to the oracle", "[cuda]") {
  if (!device_is_there()) return;
  check_on_cuda(listed_dense());
  check_on_cuda(listed_swapped());
  check_on_cuda(listed_pixels());
}
