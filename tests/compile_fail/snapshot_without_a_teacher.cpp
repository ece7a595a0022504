// expect: WeightedSum: a term with a Snapshot<Ema> needs a term with Ema in the sum, whose weights are copied
#include <dssl/loss/gram_term.hpp>
#include <dssl/train/recipe.hpp>

#ifdef DSSL_MUST_COMPILE
using Loss = dssl::WeightedSum<dssl::ImageLevel, dssl::Gram<>>;
#else
using Loss = dssl::WeightedSum<dssl::Gram<>>;
#endif

int main() { return static_cast<int>(sizeof(Loss) == 0); }
