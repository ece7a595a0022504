// oneDNN's own threads stay out of the backend's way.
#include "catch.hpp"

#include <cstddef>
#include <vector>

#include <dssl/backend/onednn.hpp>

#include "products/process_threads.hpp"

using namespace dssl;

TEST_CASE("products by oneDNN start no threads of OpenMP") {
  constexpr Index m = 700, k = 500, n = 600;
  std::vector<float> x(m * k, 0.5F), w(n * k, 0.25F), y(m * n);
  const OneDnnCpu backend({.threads = 1});
  omp_set_num_threads(3);
  const auto before = test::process_threads();
  backend.linear_forward(MatrixView<float>(y.data(), m, n), MatrixView<const float>(x.data(), m, k),
                         MatrixView<const float>(w.data(), n, k), {});
  CHECK(y[5] == 0.125F * k);
  CHECK(omp_get_max_threads() == 3);
  CHECK(test::process_threads() == before);
  if (before == 0 || DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_OMP) return;
  // On its own, the library does start them.
  dnnl::sgemm('N', 'T', m, n, k, 1.0F, x.data(), k, w.data(), k, 0.0F, y.data(), n);
  CHECK(test::process_threads() > before);
}
