// expect: with_backbone: the backbone has no backward() for this backend, see GoesBackward in dssl/concepts.hpp
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

struct Backbone : dssl::ViTFamily {
  static constexpr dssl::ViTConfig config = dssl::vit_tiny16;
#ifndef DSSL_MUST_COMPILE
  void backward() = delete;
#endif
};

using Recipe = dssl::DenseDino::with_backbone<Backbone>;

int main() {
  return static_cast<int>(sizeof(dssl::TrainingStep<Recipe, dssl::Reference<float>>) == 0);
}
