// Trains a tiny model from outside the library's tree, and says with its exit status whether that worked.
#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

#include <dssl/dssl.hpp>

using Recipe = dssl::DenseDino
    ::with_backbone<dssl::ViT<dssl::ViTConfig{.image = 16, .patch = 8, .width = 16, .depth = 2, .heads = 2}>>
    ::with_head<dssl::ProjectionHead<dssl::HeadConfig{.hidden = 16, .bottleneck = 8, .prototypes = 16}>>;

int main() {
  const dssl::SyntheticScenes scenes({.count = 4, .height = 32, .width = 32});
  dssl::TrainerOptions options{.epochs = 2, .batch = 2};
  options.views.global_size = options.views.local_size = {16, 16};
  dssl::Trainer<Recipe, dssl::Cpu> trainer(options);
  const dssl::RunSummary run = trainer.fit(dssl::ImagesOf{scenes});
  try {
    options.batch = 0;
    const dssl::Trainer<Recipe, dssl::Cpu> impossible(options);
    return 1;
  } catch (const dssl::OptionError& error) {
    std::printf("dssl %s trained %d steps; refused: %s\n", dssl::version_string.data(), static_cast<int>(run.steps),
                error.what());
  }
  return run.finished && run.steps == 4 ? 0 : 1;
}
