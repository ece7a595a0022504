// Heads and reference tokens of every kind that has parameters of its own, for tiny models in double.
#pragma once

#include <dssl/nn/head.hpp>
#include <dssl/tokens/schemes.hpp>

namespace dssl::test {

inline constexpr HeadConfig tiny_head{.layers = 2, .hidden = 8, .bottleneck = 6, .prototypes = 7};
inline constexpr HeadConfig tiny_head_with_norm{
    .layers = 3, .hidden = 8, .bottleneck = 6, .prototypes = 7, .learned_norm = true};
inline constexpr HeadConfig tiny_head_with_batch_norm{
    .layers = 2, .hidden = 8, .bottleneck = 6, .prototypes = 7, .batch_norm = true};
inline constexpr ReferenceConfig learned_reference{.learned = true};

}  // namespace dssl::test
