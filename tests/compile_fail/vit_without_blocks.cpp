// expect: every size of a ViT must be at least 1
#include <dssl/backbone/vit.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::ViTConfig config{.depth = 1};
#else
constexpr dssl::ViTConfig config{.depth = 0};
#endif

int main() { return static_cast<int>(dssl::ViT<config>::config.width == 0); }
