// The vision transformers that files and programs know by name.
// Tests: tests/programs/weights.sh, tests/c_interface/interface.c.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>

#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/core/error.hpp>

namespace dssl {

/// A vision transformer and its name.
struct NamedViT {
  std::string_view name;
  ViTConfig config;
};

/// All of them, the smallest first.
inline constexpr std::array<NamedViT, 4> named_vits{
    {{"nano8", vit_nano8}, {"tiny8", vit_tiny8}, {"tiny16", vit_tiny16}, {"small16", vit_small16}}};

/// The sizes of that name. Throws `OptionError` for `arch`, which lists them.
[[nodiscard]] inline const ViTConfig& named_vit(std::string_view name) {
  std::string names;
  for (const NamedViT& known : named_vits) {
    if (known.name == name) return known.config;
    names += join(names.empty() ? "" : &known == &named_vits.back() ? " or " : ", ", known.name);
  }
  throw OptionError("arch", name, names);
}

/// The heads of the vision transformer that weights of dssl's own name in their metadata ("arch"), if it has this width and
/// depth; 0 where they name none that has.
[[nodiscard]] inline Index heads_of_named(const std::map<std::string, std::string>& metadata, Index width, Index depth) {
  const auto name = metadata.find("arch");
  for (const NamedViT& known : named_vits) {
    if (name != metadata.end() && name->second == known.name && known.config.width == width && known.config.depth == depth)
      return known.config.heads;
  }
  return 0;
}

}  // namespace dssl
