// Looking at held-out images while a run goes on; needs dssl::codecs for files.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/monitor/best_weights.hpp>
#include <dssl/monitor/feature_monitor.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>

namespace snippets {

// [monitor]
using Recipe = dssl::DenseDino::with_backbone<dssl::ViT<dssl::vit_nano8>>;

void train_watched(dssl::Trainer<Recipe, dssl::Cpu>& trainer, const dssl::ImageFolder& images,
                   const dssl::ImageFolder& held_out, const std::vector<std::int64_t>& labels) {
  dssl::FeatureMonitor<Recipe::Backbone, dssl::Cpu> monitor(dssl::Cpu(),
                                                            {.height = 96, .width = 96, .every = 5});
  monitor.watch(held_out, labels);  // knn, rank, spread; without labels the last two
  dssl::BestWeights best("best.safetensors", "knn");
  trainer.on_epoch([&](const dssl::StepReport& report) {
    if (!monitor.due(report)) return dssl::proceed;
    const auto weights = trainer.teacher();
    for (const dssl::Figure& figure : monitor.measure(weights)) {
      std::printf("epoch %td: %s %.3f\n", report.epoch + 1, figure.name.c_str(), figure.value);
      if (figure.name == best.figure()) best.offer(figure.value, report.step + 1, weights);
    }
    return dssl::proceed;
  });
  trainer.fit(images);
}
// [monitor end]

}  // namespace snippets
