// expect: the token scheme's references begin with content, but the backbone reads none, see ReadsContent in dssl/concepts.hpp
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

struct Backbone : dssl::ViTFamily {
  static constexpr dssl::ViTConfig config = dssl::vit_tiny16;
#ifndef DSSL_MUST_COMPILE
  template <class T>
  struct Inputs : dssl::ViTInputs<T> {
    void content_taps() = delete;
  };
#endif
};

using Recipe = dssl::LocalDenseDino::with_backbone<Backbone>;

int main() { return static_cast<int>(sizeof(dssl::TrainingStep<Recipe, dssl::Reference<float>>) == 0); }
