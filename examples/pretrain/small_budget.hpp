// Numbers for a run on a processor that sees some ten thousand images: --preset small.
#pragma once

#include <map>
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
  /// What checkpoints call them, where they hang on more than the recipe: on images, epochs, ranks or the size of a view.
  std::vector<std::string_view> in_checkpoint{};
};

/// The shorter side of most images, in pixels: the median of at most nine, evenly spread, that can be read; 0 where none can.
[[nodiscard]] Index usual_side(const SourceView& source);

/// What the options of a small budget are chosen by, beside the recipe.
struct SmallBudgetFacts {
  Index images = 0;
  Index side = 0;      ///< `usual_side`; 0: not known
  Index patch = 8;     ///< of the backbone
  Index view = 96;     ///< height and width of a global view
  Index epochs = 0;    ///< where they are said; 0: they are chosen
  Index batch = 0;     ///< likewise
  Index ranks = 1;     ///< that share a batch
  bool points = false; ///< whether their number is said
  bool begun = false;  ///< with weights, so that rates are left as they are for these
  bool adamw = true;   ///< of which the learning rate is; it is left as it is for others
};

/// The options of a small budget, by one rule; which they are hangs on the recipe, `points`, `begun` and `adamw` alone. Source:
/// docs/recipe.md, "--preset small". Test: tests/programs/small_budget.cpp.
[[nodiscard]] std::vector<OptionWords> small_budget(const RecipeFacts& recipe, const SmallBudgetFacts& facts);

/// Puts the words of a run that is gone on from, which chose where it began, in the place of those that would be chosen now.
/// `checkpoint`: its metadata; what that does not tell stays.
void keep_words_of_run(std::vector<OptionWords>& chosen, const std::map<std::string, std::string>& checkpoint);

}  // namespace dssl::programs
