// expect: the loss has an image level but the token scheme does not read the class token
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

/// Reference tokens whose class token nobody reads.
struct PointTokens : dssl::ReferenceTokens<> {
  static constexpr dssl::GroupSet reads{.reference = true};
};

#ifdef DSSL_MUST_COMPILE
using Recipe = dssl::DenseDino::with_tokens<PointTokens>::with_loss<dssl::PointLoss>;
#else
using Recipe = dssl::DenseDino::with_tokens<PointTokens>;
#endif

int main() {
  return static_cast<int>(sizeof(dssl::TrainingStep<Recipe, dssl::Reference<float>>) == 0);
}
