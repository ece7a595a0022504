// A run of DenseDINO that takes a moment, for tests of whole runs.
#pragma once

#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>

namespace dssl::test {

using Tiny =
    DenseDino::with_backbone<ViT<ViTConfig{.image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2}>>::
        with_head<ProjectionHead<HeadConfig{.hidden = 24, .bottleneck = 8, .prototypes = 32}>>;

inline TrainerOptions tiny_options() {
  TrainerOptions options{.epochs = 3, .batch = 2, .accumulate = 2, .seed = 11};
  options.views.global_size = {16, 16};
  options.views.local_size = {8, 12};
  options.views.locals = 1;
  options.optimiser.warmup_epochs = 1;
  options.optimiser.learning_rate = 0.05;
  return options;
}

}  // namespace dssl::test
