// expect: the width of a head must be a multiple of 4 with rotary positions
#include <dssl/backbone/vit.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::ViTConfig config{.width = 96, .heads = 6, .positions = dssl::Positions::rotary};
#else
constexpr dssl::ViTConfig config{.width = 60, .heads = 6, .positions = dssl::Positions::rotary};
#endif

int main() { return static_cast<int>(dssl::ViT<config>::config.heads == 0); }
