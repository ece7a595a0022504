// The relations of reference tokens that programs know by name: those of the library.
#pragma once

#include <string_view>

#include <dssl/core/sequence.hpp>

#include "common/names.hpp"

namespace dssl::programs {

/// Whether a text is one of the two names of a relation, which is named by ours.
[[nodiscard]] inline bool names_relation(std::string_view text, std::string_view name) {
  return text == name || text == named(named_relations, "relation", name).published_name;
}

}  // namespace dssl::programs
