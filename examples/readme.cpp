#include <dssl/dssl.hpp>

using Recipe = dssl::DenseDino                            // the published method ...
    ::with_backbone<dssl::ViT<dssl::vit_tiny16>>          // ... with these parts exchanged, in any order
    ::with_points<dssl::GridPoints<3>>;

int main() {
  dssl::Trainer<Recipe, dssl::Cpu> trainer{{.epochs = 100, .batch = 64, .seed = 7, .prototypes = 4096}};
  trainer.on_step([](const dssl::StepReport& report) { return report.loss < 1.0 ? dssl::stop : dssl::proceed; });
  trainer.fit(dssl::ImageFolder{"photos"});
  dssl::save_backbone("teacher.safetensors", trainer.teacher());
}
