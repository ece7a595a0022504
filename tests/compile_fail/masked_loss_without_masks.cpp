// expect: the loss reads masked patches, but the recipe's views mask none: with_views<Masked<MultiCrop<>>>
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>

using Unmasked = dssl::Dino::with_loss<dssl::WeightedSum<dssl::ImageLevel, dssl::MaskedLevel>>;

#ifdef DSSL_MUST_COMPILE
using Recipe = Unmasked::with_views<dssl::Masked<dssl::MultiCrop<>>>;
#else
using Recipe = Unmasked;
#endif

int main() { return static_cast<int>(sizeof(dssl::Trainer<Recipe, dssl::Reference<float>>) == 0); }
