// Trains a tiny model on a GPU from outside the library's tree. Where there is no device, that it says so is what shows
// that both halves of the program, this compiler's and nvcc's, were linked.
#include <cstdio>

#include <dssl/backend/cuda.hpp>
#include <dssl/dssl.hpp>

using Recipe = dssl::DenseDino
    ::with_backbone<dssl::ViT<dssl::ViTConfig{.image = 16, .patch = 8, .width = 16, .depth = 2, .heads = 2}>>
    ::with_head<dssl::ProjectionHead<dssl::HeadConfig{.hidden = 16, .bottleneck = 8, .prototypes = 16}>>;

int main() {
  const dssl::SyntheticScenes scenes({.count = 4, .height = 32, .width = 32});
  dssl::TrainerOptions options{.epochs = 2, .batch = 2};
  options.views.global_size = options.views.local_size = {16, 16};
  try {
    const dssl::Cuda gpu;
    dssl::Trainer<Recipe, dssl::Cuda> trainer(options, gpu);
    const dssl::RunSummary run = trainer.fit(dssl::ImagesOf{scenes});
    std::printf("%s trained %d steps\n", gpu.describe().c_str(), static_cast<int>(run.steps));
    return run.finished && run.steps == 4 ? 0 : 1;
  } catch (const dssl::CudaError& error) {
    std::printf("%s\n", error.what());
    return error.call() == "cudaGetDeviceCount" ? 0 : 1;
  }
}
