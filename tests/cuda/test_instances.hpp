// What these tests want of the compiler of the kernels, beside the backend itself.
#pragma once

#include <vector>

#include <dssl/backend/precision.hpp>
#include <dssl/core/sequence.hpp>

namespace dssl::test {

// Relations that are none of the published ones: a gap between what is seen, keys that some see whole and
// others alone, patches that see no patch.
inline constexpr AttentionRelation gap_relation{{Sees::full, Sees::full, Sees::none},
                                                {Sees::full, Sees::self, Sees::none},
                                                {Sees::none, Sees::full, Sees::self}};
inline constexpr AttentionRelation lonely_relation{{Sees::self, Sees::none, Sees::full},
                                                   {Sees::none, Sees::full, Sees::none},
                                                   {Sees::none, Sees::none, Sees::self}};

/// c (16,8) = a (16,K) b (K,8) by one tensor-core product of one warp: K is 16 in bf16, 8 in TF32.
[[nodiscard]] std::vector<float> warp_product(Precision precision, const std::vector<float>& a,
                                              const std::vector<float>& b);

}  // namespace dssl::test
