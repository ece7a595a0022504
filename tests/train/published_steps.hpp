// What fixtures of DINOv2's and DINOv3's whole training steps have in common.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/loss/prototype_level.hpp>
#include <dssl/nn/head.hpp>

#include "fixtures.hpp"

namespace dssl::test {

/// The head that a section of the fixture names. `plain`: its prototypes are a linear layer's, else their norms are learned.
inline HeadConfig head_of_fixture(const FixtureConfig& sizes, bool plain) {
  return {.layers = sizes.get<Index>("head_nlayers"),
          .hidden = sizes.get<Index>("head_hidden_dim"),
          .bottleneck = sizes.get<Index>("head_bottleneck_dim"),
          .prototypes = sizes.get<Index>("head_n_prototypes"),
          .learned_norm = !plain,
          .plain_prototypes = plain};
}

/// The masked level of the fixture, whose head has other sizes than that of class tokens.
struct OwnMasked : MaskedPatchLevel<OwnMasked> {
  static constexpr std::string_view name = "masked-own";
  static constexpr Index sinkhorn_rounds = 3;
  static inline HeadConfig sizes;

  static HeadConfig head_of(const HeadConfig&) { return sizes; }
};

/// The fixture's name of a head's tensor, without what stands before it; other names are as they are.
inline std::string published_head(std::string_view name) {
  if (name.starts_with("head.")) return "dino_" + std::string(name);
  if (name.starts_with("patch_head.")) return "ibot_head." + std::string(name.substr(11));
  return std::string(name);
}

/// Without the middle third of a bias of queries, keys and values: a shift of the keys changes nothing, so their gradient is
/// rounding alone, which AdamW makes steps of; or it is not there.
template <class T>
std::vector<T> without_keys(std::vector<T> values, std::string_view name) {
  if (!name.ends_with("attn.qkv.bias")) return values;
  const auto third = static_cast<std::ptrdiff_t>(values.size() / 3);
  values.erase(values.begin() + third, values.begin() + 2 * third);
  return values;
}

}  // namespace dssl::test
