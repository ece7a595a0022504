// dssl inside a program: trains on images in memory, then writes the backbone.
#include <cstdio>
#include <vector>

#include <dssl/data/synthetic.hpp>
#include <dssl/dssl.hpp>
#include <dssl/io/weights.hpp>

using Recipe = dssl::DenseDino::with_backbone<dssl::ViT<dssl::vit_nano8>>  // a small network and a small head
    ::with_head<dssl::ProjectionHead<dssl::HeadConfig{.hidden = 256, .bottleneck = 64, .prototypes = 256}>>;

int main() {
  std::vector<dssl::AnyImage> images;  // yours; here, generated scenes
  const dssl::SyntheticScenes scenes({.count = 32, .height = 64, .width = 64});
  for (dssl::Index i = 0; i < scenes.size(); ++i) images.push_back(scenes.load(i).image);

  dssl::TrainerOptions options{.epochs = 2, .batch = 8};
  options.views.locals = 2;
  options.views.global_size = options.views.local_size = {32, 32};  // pixels
  dssl::Trainer<Recipe, dssl::Cpu> trainer(options);
  trainer.on_step([](const dssl::StepReport& report) {
    std::printf("step %d of %d: loss %.3f\n", int(report.step) + 1, int(report.steps), report.loss);
    return dssl::proceed;
  });
  trainer.fit(dssl::MemoryImages(std::move(images)));
  dssl::save_backbone("teacher.safetensors", trainer.teacher());
}
