// A training whose matrix products a library computes.
#include <dssl/dssl.hpp>

// [onednn include]
#include <dssl/backend/onednn.hpp>
// [onednn include end]

namespace snippets {

using Recipe = dssl::DenseDino::with_backbone<dssl::ViT<dssl::vit_nano8>>;

dssl::RunSummary train_with_onednn(const dssl::MemoryImages& images) {
  // [onednn]
  dssl::Trainer<Recipe, dssl::OneDnnCpu> trainer{{.epochs = 100, .batch = 64}};
  // [onednn end]
  return trainer.fit(images);
}

}  // namespace snippets
