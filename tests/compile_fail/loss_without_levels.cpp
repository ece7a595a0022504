// expect: the loss must have an image level, a point level, or both
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

/// A loss of either level.
struct OneLevel {
#ifdef DSSL_MUST_COMPILE
  static constexpr bool image = true;
#else
  static constexpr bool image = false;
#endif
  static constexpr bool point = false;
};

using Recipe = dssl::DenseDino::with_loss<OneLevel>;

int main() {
  return static_cast<int>(sizeof(dssl::TrainingStep<Recipe, dssl::Reference<float>>) == 0);
}
