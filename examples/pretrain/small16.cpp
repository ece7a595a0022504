// Pretraining of the architecture small16.
#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary pretrain_small16(const Job& job, RunLog& log) {
  return run_architecture<ViT<vit_small16>, ProjectionHead<HeadConfig{}>>(job, log);
}

}  // namespace dssl::programs
