// expect: the patch of a ViT must divide its native image size
#include <dssl/backbone/vit.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::ViTConfig config{.image = 224, .patch = 14};
#else
constexpr dssl::ViTConfig config{.image = 224, .patch = 15};
#endif

int main() { return static_cast<int>(dssl::ViT<config>::config.patch == 0); }
