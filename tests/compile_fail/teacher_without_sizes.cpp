// expect: Frozen<Family>: the teacher's sizes are the run's; say all sizes
#include <dssl/train/network.hpp>
#include <dssl/train/recipes.hpp>

#ifdef DSSL_MUST_COMPILE
using Teacher = dssl::ViT<dssl::vit_base16>;
#else
using Teacher = dssl::ViTFamily;
#endif

int main() { return static_cast<int>(dssl::network_config<dssl::DistilledFrom<Teacher>>().backbone.width); }
