// expect: with_loss: not an objective, see Objective in dssl/concepts.hpp; a term alone is WeightedSum<Term>
#include <dssl/train/recipe.hpp>

#ifdef DSSL_MUST_COMPILE
using Recipe = dssl::Dino::with_loss<dssl::WeightedSum<dssl::ImageLevel>>;
#else
using Recipe = dssl::Dino::with_loss<dssl::ImageLevel>;
#endif

int main() { return static_cast<int>(sizeof(Recipe) == 0); }
