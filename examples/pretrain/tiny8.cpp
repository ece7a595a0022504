// Pretraining of the architecture tiny8.
#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary pretrain_tiny8(const Job& job, RunLog& log) {
  return run_architecture<ViT<vit_tiny8>,
                          ProjectionHead<HeadConfig{.hidden = 512, .bottleneck = 128, .prototypes = 4096}>>(
      job, log);
}

}  // namespace dssl::programs
