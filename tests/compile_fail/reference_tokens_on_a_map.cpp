// expect: the token scheme has reference tokens, but the backbone places none, see PlacesPoints in dssl/concepts.hpp
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

struct Backbone : dssl::ViTFamily {
  static constexpr dssl::ViTConfig config = dssl::vit_tiny16;
#ifndef DSSL_MUST_COMPILE
  template <class T>
  struct Inputs : dssl::ViTInputs<T> {
    void point_taps() = delete;
  };
#endif
};

using Recipe = dssl::DenseDino::with_backbone<Backbone>;

int main() { return static_cast<int>(sizeof(dssl::TrainingStep<Recipe, dssl::Reference<float>>) == 0); }
