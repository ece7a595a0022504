// Pretraining of the architecture nano8.
#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary pretrain_nano8(const Job& job, RunLog& log) {
  return run_architecture<ViT<vit_nano8>,
                          ProjectionHead<HeadConfig{.hidden = 512, .bottleneck = 128, .prototypes = 1024}>>(
      job, log);
}

}  // namespace dssl::programs
