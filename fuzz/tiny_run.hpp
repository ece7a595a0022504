// The smallest network that has every tensor, for targets that read weights.
#pragma once

#include <dssl/backbone/vit.hpp>

namespace dssl::fuzz {

inline constexpr ViTConfig tiny_backbone{
    .image = 4, .patch = 2, .width = 2, .depth = 1, .heads = 1, .mlp_ratio = 1, .channels = 1};

}  // namespace dssl::fuzz
