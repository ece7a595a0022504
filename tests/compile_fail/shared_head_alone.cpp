// expect: WeightedSum: a term that shares another term's head stands in one sum with it (HeadOf)
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>

using Masks = dssl::Dino::with_views<dssl::Masked<dssl::MultiCrop<>>>;
using Shared = dssl::SharedMaskedLevel<dssl::ImageLevel>;

#ifdef DSSL_MUST_COMPILE
using Recipe = Masks::with_loss<dssl::WeightedSum<dssl::ImageLevel, Shared>>;
#else
using Recipe = Masks::with_loss<dssl::WeightedSum<dssl::SinkhornImageLevel<>, Shared>>;
#endif

int main() { return static_cast<int>(sizeof(Recipe::Loss) == 0); }
