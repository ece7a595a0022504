// expect: the loss reads masked patches, but the backbone masks none, see MasksTokens in dssl/concepts.hpp
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

struct Backbone : dssl::ViTFamily {
  static constexpr dssl::ViTConfig config = dssl::vit_tiny16;
#ifndef DSSL_MUST_COMPILE
  template <class T>
  struct Inputs : dssl::ViTInputs<T> {
    void masked_patches() = delete;
  };
#endif
};

using Recipe = dssl::Dino::with_backbone<Backbone>::with_loss<dssl::WeightedSum<dssl::MaskedLevel>>;

int main() { return static_cast<int>(sizeof(dssl::TrainingStep<Recipe, dssl::Reference<float>>) == 0); }
