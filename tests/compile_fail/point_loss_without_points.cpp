// expect: the loss reads points but the token scheme has no point features
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

#ifdef DSSL_MUST_COMPILE
using Recipe = dssl::DenseDino::with_tokens<dssl::ClassToken>::with_loss<dssl::ImageLoss>;
#else
using Recipe = dssl::DenseDino::with_tokens<dssl::ClassToken>;
#endif

int main() {
  return static_cast<int>(sizeof(dssl::TrainingStep<Recipe, dssl::Reference<float>>) == 0);
}
