// The architectures that programs know by name.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/error.hpp>

namespace dssl::programs {

/// An architecture: its name and its sizes. Programs compile `ViTFamily`, which has any sizes, once.
struct Architecture {
  std::string_view name;
  ViTConfig config;
};

/// All of them, the smallest first.
inline constexpr std::array<Architecture, 4> architectures{
    {{"nano8", vit_nano8}, {"tiny8", vit_tiny8}, {"tiny16", vit_tiny16}, {"small16", vit_small16}}};

/// The names, for the help text and for checks of the command line.
[[nodiscard]] inline std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Architecture& known : architectures) names.emplace_back(known.name);
  return names;
}

/// The sizes of the architecture of that name. Throws `OptionError`.
[[nodiscard]] inline const ViTConfig& architecture(std::string_view name) {
  for (const Architecture& known : architectures) {
    if (known.name == name) return known.config;
  }
  std::string expected;
  for (const std::string& known : architecture_names()) expected += (expected.empty() ? "one of " : ", ") + known;
  throw OptionError("arch", name, expected);
}

}  // namespace dssl::programs
