// expect: WeightedSum: two frozen teachers in one sum, of which a run has one
#include <dssl/train/recipes.hpp>

using Base = dssl::Frozen<dssl::ViT<dssl::vit_base16>>;
#ifdef DSSL_MUST_COMPILE
using Other = Base;
#else
using Other = dssl::Frozen<dssl::ViT<dssl::vit_small16>>;
#endif
using Loss = dssl::WeightedSum<dssl::Imitate<dssl::Imitated::class_level, Base>, dssl::Imitate<dssl::Imitated::map, Other>>;

int main() { return static_cast<int>(sizeof(Loss) == 0); }
