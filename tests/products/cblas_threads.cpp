// OpenBLAS's own threads stay out of the backend's way.
#include "catch.hpp"

#include <cstddef>
#include <vector>

#include <dssl/backend/cblas.hpp>

#include "products/process_threads.hpp"

extern "C" {
__attribute__((weak)) int openblas_get_num_threads(void);
}

using namespace dssl;

TEST_CASE("products by OpenBLAS use no threads of its own") {
  constexpr Index m = 700, k = 500, n = 600;
  std::vector<float> x(m * k, 0.5F), w(n * k, 0.25F), y(m * n);
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(2);
  const CblasCpu backend({.threads = 1});
  if (openblas_get_num_threads != nullptr) CHECK(openblas_get_num_threads() == 1);
  const auto before = test::process_threads();
  backend.linear_forward(MatrixView<float>(y.data(), m, n), MatrixView<const float>(x.data(), m, k),
                         MatrixView<const float>(w.data(), n, k), {});
  CHECK(y[5] == 0.125F * k);
  CHECK(test::process_threads() == before);
}
