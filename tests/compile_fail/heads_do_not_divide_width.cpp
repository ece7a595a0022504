// expect: the heads of a ViT must divide its width
#include <dssl/backbone/vit.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::ViTConfig config{.width = 192, .heads = 6};
#else
constexpr dssl::ViTConfig config{.width = 192, .heads = 5};
#endif

int main() { return static_cast<int>(dssl::ViT<config>::config.heads == 0); }
