// expect: Imitate: the teacher is Frozen<Backbone>, whose weights are given
#include <dssl/train/recipes.hpp>

#ifdef DSSL_MUST_COMPILE
using Teacher = dssl::Frozen<dssl::ViT<dssl::vit_base16>>;
#else
using Teacher = dssl::Ema;
#endif
using Loss = dssl::WeightedSum<dssl::Imitate<dssl::Imitated::class_level, Teacher>>;

int main() { return static_cast<int>(sizeof(Loss) == 0); }
