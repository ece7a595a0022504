// The step on a GPU.
#include "compare/serve_step.hpp"

#ifdef DSSL_WITH_CUDA
#include <dssl/backend/cuda.hpp>

#include "common/precision.hpp"
#endif

namespace dssl::programs {

#ifdef DSSL_WITH_CUDA
void serve_cuda(const CompareSettings& s, const Combination& c) {
  serve_step(s, Cuda(CudaOptions{.precision = precision_of(c.precision)}));
}
#else
void serve_cuda(const CompareSettings&, const Combination&) {
  throw Error("this program was built without CUDA (in CMake: DSSL_CUDA)");
}
#endif

}  // namespace dssl::programs
