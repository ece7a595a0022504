// Pretraining of the architecture tiny16.
#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary pretrain_tiny16(const Job& job, RunLog& log) {
  return run_architecture<ViT<vit_tiny16>, ProjectionHead<HeadConfig{.prototypes = 4096}>>(job, log);
}

}  // namespace dssl::programs
