// Numbers for a run on a processor that sees some ten thousand images: --preset small.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <common/recipes.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>

namespace dssl::programs {

/// What a small budget takes where the command line says nothing.
inline constexpr std::string_view small_budget_recipe = "densesimclr";
inline constexpr std::string_view small_budget_arch = "nano8";

/// An option, and its words.
struct OptionWords {
  std::string_view option;
  std::vector<std::string> words;
};

/// The shorter side of most images, in pixels: the median of at most nine, evenly spread, that can be read; 0 where none can.
[[nodiscard]] Index usual_side(const SourceView& source);

/// The options of a small budget, by one rule of the recipe, the number of `images`, their `side` (0: not known), the backbone's
/// `patch`, and the size of its views. Source: docs/recipe.md, "A small budget". `begun`: with weights, so that rates are left as they are for these.
[[nodiscard]] std::vector<OptionWords> small_budget(const RecipeFacts& recipe, Index images, Index side, Index patch, Index view, bool begun);

}  // namespace dssl::programs
