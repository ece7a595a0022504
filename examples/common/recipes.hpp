// The recipes that programs know by name, and the sizes of their views.
#pragma once

#include <array>
#include <string_view>

#include <dssl/views/multi_crop_options.hpp>

#include "common/architectures.hpp"

namespace dssl::programs {

/// A recipe: its name, and what it makes of the options.
struct RecipeFacts {
  std::string_view name;
  bool points;      ///< compares points: has a point level
  bool references;  ///< has reference tokens, which a relation rules
  bool dino_views;  ///< DINO's views, all compared at the image level, where nothing else was said
};

inline constexpr RecipeFacts densedino_facts{"densedino", true, true, false};
inline constexpr RecipeFacts dino_facts{"dino", false, false, true};
inline constexpr RecipeFacts feature_map_facts{"feature-map", true, false, false};
inline constexpr std::array known_recipes{densedino_facts, dino_facts, feature_map_facts};

/// Number and sizes of views as a command line gives them.
struct ViewSizes {
  Index global = 0;   ///< 0: the architecture's
  Index local = 0;    ///< 0: the recipe's
  Index locals = -1;  ///< -1: the recipe's
};

/// What `--views-global`, `--views-local` and `--locals` do, for the help texts.
inline constexpr const char* views_global_help = "Height and width of the two global views; 0: the architecture's";
inline constexpr const char* views_local_help = "Height and width of local views; 0: the recipe's";
inline constexpr const char* locals_help = "Number of local views; -1: the recipe's";

/// The published views, or DINO's, for an architecture, of these sizes where they are given. Throws `OptionError`.
[[nodiscard]] inline MultiCropOptions views_of(const RecipeFacts& recipe, std::string_view arch, const ViewSizes& sizes) {
  MultiCropOptions views = recipe.dino_views ? dino_multi_crop_options() : MultiCropOptions{};
  const Index native = architecture(arch).image;
  const Index patch = architecture(arch).patch;
  const Index global = sizes.global != 0 ? sizes.global : native;
  // DINO's small views keep their share of the large ones, in whole patches.
  const Index small = views.local_size.height * native / views.global_size.height / patch * patch;
  const Index local = sizes.local != 0 ? sizes.local : recipe.dino_views ? small : global;
  views.global_size = {global, global};
  views.local_size = {local, local};
  if (sizes.locals != -1) views.locals = sizes.locals;
  return views;
}

}  // namespace dssl::programs
