// [program]
#include <cstdio>

#include <dssl/dssl.hpp>

using Recipe = dssl::DenseDino                   // the published method ...
    ::with_backbone<dssl::ViT<dssl::vit_nano8>>  // ... with a backbone and a head that suit a CPU
    ::with_head<dssl::ProjectionHead<dssl::HeadConfig{.hidden = 512, .prototypes = 4096}>>;

int main() try {
  dssl::TrainerOptions options{.epochs = 10, .batch = 16, .seed = 7};
  options.views.locals = 2;
  options.views.global_size = options.views.local_size = {96, 96};
  options.optimiser.warmup_epochs = 1;
  options.checkpoint = "checkpoint.safetensors";

  dssl::Trainer<Recipe, dssl::Cpu> trainer(options);
  trainer.on_step([](const dssl::StepReport& report) {
    std::printf("step %td of %td: loss %.4f, %.1f images/s\n", report.step + 1, report.steps, report.loss,
                report.images_per_second);
    return dssl::proceed;
  });
  trainer.fit(dssl::ImagesOf{dssl::SyntheticScenes{{.count = 500}}});  // or dssl::ImageFolder{"photos"}

  dssl::save_backbone("teacher.safetensors", trainer.teacher());
} catch (const dssl::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
// [program end]
