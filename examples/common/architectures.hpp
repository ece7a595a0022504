// The architectures that programs know by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/error.hpp>

namespace dssl::programs {

/// Calls `visit.template operator()<Backbone>(name)` for every architecture, the smallest first.
template <class Visit>
void each_architecture(const Visit& visit) {
  visit.template operator()<ViT<vit_nano8>>("nano8");
  visit.template operator()<ViT<vit_tiny8>>("tiny8");
  visit.template operator()<ViT<vit_tiny16>>("tiny16");
  visit.template operator()<ViT<vit_small16>>("small16");
}

/// The names, for the help text and for checks of the command line.
[[nodiscard]] inline std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  each_architecture([&]<class Backbone>(std::string_view name) { names.emplace_back(name); });
  return names;
}

/// Calls `visit.template operator()<Backbone>()` for the architecture of that name. Throws `OptionError`.
template <class Visit>
void with_architecture(std::string_view name, const Visit& visit) {
  bool found = false;
  each_architecture([&]<class Backbone>(std::string_view known) {
    if (known != name) return;
    found = true;
    visit.template operator()<Backbone>();
  });
  if (found) return;
  std::string expected;
  for (const std::string& known : architecture_names()) expected += (expected.empty() ? "one of " : ", ") + known;
  throw OptionError("arch", name, expected);
}

}  // namespace dssl::programs
