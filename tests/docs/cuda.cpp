// The code of docs/cuda.md.
#include <cstdio>

#include <dssl/backend/cuda.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>

namespace snippets {

// [train]
using SmallRecipe = dssl::DenseDino::with_backbone<dssl::ViT<dssl::vit_nano8>>;
using Scenes = dssl::ImagesOf<dssl::SyntheticScenes>;

dssl::RunSummary train_on_gpu(const dssl::TrainerOptions& options, const Scenes& scenes) {
  const dssl::Cuda gpu({.device = 0, .precision = dssl::Precision::bf16});
  std::printf("%s\n", gpu.describe().c_str());
  dssl::Trainer<SmallRecipe, dssl::Cuda> trainer(options, gpu);
  return trainer.fit(scenes);
}
// [train end]

// [views]
dssl::RunSummary train_with_views_of_the_device(dssl::TrainerOptions options, const Scenes& scenes) {
  options.views_on = dssl::ViewsOn::device;
  dssl::Trainer<SmallRecipe, dssl::Cuda> trainer(options);
  return trainer.fit(scenes);
}
// [views end]

}  // namespace snippets
