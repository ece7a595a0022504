// The recipes that programs know by name, and the sizes of their views.
#pragma once

#include <array>
#include <string_view>

#include <dssl/views/multi_crop_options.hpp>
#include <dssl/views/two_views.hpp>

#include "common/architectures.hpp"

namespace dssl::programs {

/// Views that a recipe takes where nothing else is said.
enum class RecipeViews {
  published,  ///< DenseDINO's
  dino,       ///< DINO's, all compared at the image level
  byol,       ///< pairs
  simclr,
  moco
};

/// A recipe: its name, and what it makes of the options.
struct RecipeFacts {
  std::string_view name;
  bool points = false;      ///< compares points
  bool references = false;  ///< has reference tokens, which a relation rules
  RecipeViews views = RecipeViews::published;
  bool prototypes = true;   ///< its heads end in prototypes
  bool teacher = true;      ///< has a moving average of the student
  bool temperature = false; ///< its loss has one temperature
  bool queue = false;       ///< keeps keys of earlier batches

  [[nodiscard]] constexpr bool dino_views() const { return views == RecipeViews::dino; }
  /// Whether it sees two views alone.
  [[nodiscard]] constexpr bool pairs() const { return views != RecipeViews::published && !dino_views(); }
};

inline constexpr RecipeFacts densedino_facts{.name = "densedino", .points = true, .references = true};
inline constexpr RecipeFacts dino_facts{.name = "dino", .views = RecipeViews::dino};
inline constexpr RecipeFacts feature_map_facts{.name = "feature-map", .points = true};
inline constexpr RecipeFacts byol_facts{.name = "byol", .views = RecipeViews::byol, .prototypes = false};
inline constexpr RecipeFacts simsiam_facts{
    .name = "simsiam", .views = RecipeViews::moco, .prototypes = false, .teacher = false};
inline constexpr RecipeFacts simclr_facts{
    .name = "simclr", .views = RecipeViews::simclr, .prototypes = false, .teacher = false, .temperature = true};
inline constexpr RecipeFacts moco_v2_facts{
    .name = "moco-v2", .views = RecipeViews::moco, .prototypes = false, .temperature = true, .queue = true};
inline constexpr RecipeFacts moco_v3_facts{
    .name = "moco-v3", .views = RecipeViews::byol, .prototypes = false, .temperature = true};
inline constexpr RecipeFacts barlow_facts{
    .name = "barlow-twins", .views = RecipeViews::byol, .prototypes = false, .teacher = false};
inline constexpr RecipeFacts vicreg_facts{
    .name = "vicreg", .views = RecipeViews::byol, .prototypes = false, .teacher = false};
/// Those that every program knows what to do with.
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

/// The options of a recipe's views at their own sizes.
[[nodiscard]] inline MultiCropOptions options_of(RecipeViews views) {
  switch (views) {
    case RecipeViews::dino: return dino_multi_crop_options();
    case RecipeViews::byol: return byol_view_options();
    case RecipeViews::simclr: return simclr_view_options();
    case RecipeViews::moco: return moco_view_options();
    default: return {};
  }
}

/// A recipe's views for an architecture, of these sizes where they are given. Throws `OptionError`.
[[nodiscard]] inline MultiCropOptions views_of(const RecipeFacts& recipe, std::string_view arch, const ViewSizes& sizes) {
  MultiCropOptions views = options_of(recipe.views);
  const Index native = architecture(arch).image;
  const Index patch = architecture(arch).patch;
  const Index global = sizes.global != 0 ? sizes.global : native;
  // DINO's small views keep their share of the large ones, in whole patches.
  const Index small = views.local_size.height * native / views.global_size.height / patch * patch;
  const Index local = sizes.local != 0 ? sizes.local : recipe.dino_views() ? small : global;
  views.global_size = {global, global};
  views.local_size = {local, local};
  if (sizes.locals != -1) views.locals = sizes.locals;
  return views;
}

}  // namespace dssl::programs
