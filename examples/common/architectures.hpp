// The architectures that programs know by name.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/nn/head.hpp>

#include "common/names.hpp"

namespace dssl::programs {

/// An architecture: its name, its sizes and the head that suits it. Programs compile `ViTFamily`, which has any sizes,
/// once.
struct Architecture {
  std::string_view name;
  ViTConfig config;
  HeadConfig head;
};

/// All of them, the smallest first.
inline constexpr std::array<Architecture, 4> architectures{
    {{"nano8", vit_nano8, {.hidden = 512, .bottleneck = 128, .prototypes = 1024}},
     {"tiny8", vit_tiny8, {.hidden = 512, .bottleneck = 128, .prototypes = 4096}},
     {"tiny16", vit_tiny16, {.prototypes = 4096}},
     {"small16", vit_small16, {}}}};

/// The names, for checks of the command line.
[[nodiscard]] inline std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Architecture& known : architectures) names.emplace_back(known.name);
  return names;
}

/// The heads of the architecture that weights of dssl's own name in their metadata, if it has this width and depth; 0
/// where they name none that has.
[[nodiscard]] inline Index heads_of_named(const std::map<std::string, std::string>& metadata, Index width, Index depth) {
  const auto name = metadata.find("arch");
  for (const Architecture& known : architectures) {
    if (name != metadata.end() && name->second == known.name && known.config.width == width && known.config.depth == depth)
      return known.config.heads;
  }
  return 0;
}

/// The sizes of the architecture of that name. Throws `OptionError`.
[[nodiscard]] inline const ViTConfig& architecture(std::string_view name) {
  return named(architectures, "arch", name).config;
}

}  // namespace dssl::programs
