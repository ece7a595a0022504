// The architectures that programs know by name.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backbone/named_vits.hpp>
#include <dssl/backbone/vit.hpp>
#include <dssl/nn/head.hpp>

#include "common/names.hpp"

namespace dssl::programs {

/// An architecture: its name, its sizes and the head that suits it. Programs compile `ViTFamily`, which has any sizes,
/// once.
struct Architecture : NamedViT {
  HeadConfig head;
};

/// All of them, the smallest first.
inline constexpr std::array<Architecture, named_vits.size()> architectures{
    {{named_vits[0], {.hidden = 512, .bottleneck = 128, .prototypes = 1024}},
     {named_vits[1], {.hidden = 512, .bottleneck = 128, .prototypes = 4096}},
     {named_vits[2], {.prototypes = 4096}},
     {named_vits[3], {}}}};

/// The names, for checks of the command line.
[[nodiscard]] inline std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Architecture& known : architectures) names.emplace_back(known.name);
  return names;
}

/// The sizes of the architecture of that name. Throws `OptionError`.
[[nodiscard]] inline const ViTConfig& architecture(std::string_view name) {
  return named(architectures, "arch", name).config;
}

}  // namespace dssl::programs
