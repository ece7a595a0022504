// Things that programs know by name: lists of them in help texts, and the one that a command line names.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <dssl/core/error.hpp>

namespace dssl::programs {

/// "a, b or c", of a list of things that have a `name`.
template <class List>
[[nodiscard]] std::string names_of(const List& list) {
  std::string out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out += i + 1 == list.size() ? " or " : ", ";
    out += list[i].name;
  }
  return out;
}

/// The one of that name. Throws `OptionError` that lists them.
template <class List>
[[nodiscard]] const auto& named(const List& list, std::string_view field, std::string_view name) {
  for (const auto& known : list) {
    if (known.name == name) return known;
  }
  throw OptionError(field, name, names_of(list));
}

}  // namespace dssl::programs
