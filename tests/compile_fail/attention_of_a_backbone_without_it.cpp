// expect: with_points: the teacher's attention chooses the points, but the backbone has none that can be looked at
#include <dssl/backend/reference.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>

struct Backbone : dssl::ViTFamily {
  static constexpr dssl::ViTConfig config = dssl::vit_tiny16;
#ifndef DSSL_MUST_COMPILE
  template <class T>
  struct Activations : dssl::ViTActivations<T> {
    void blocks() = delete;
  };
#endif
};

using Recipe = dssl::DenseDino::with_backbone<Backbone>::with_points<
    dssl::MixedPoints<dssl::AttentionPoints<>, dssl::RandomPoints<>>>;

int main() { return static_cast<int>(sizeof(dssl::Trainer<Recipe, dssl::Reference<float>>) == 0); }
