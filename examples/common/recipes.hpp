// The recipes that programs know by name, and the sizes of their views.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <string_view>
#include <tuple>
#include <type_traits>

#include <dssl/loss/objective.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/views/multi_crop_options.hpp>
#include <dssl/views/two_views.hpp>

#include "common/architectures.hpp"

namespace dssl::programs {

/// A recipe: its name, and what it makes of the options. `facts_of` tells most of it from the recipe's type.
struct RecipeFacts {
  std::string_view name;
  MultiCropOptions (*views)() = nullptr;  ///< the published ones, at their own sizes
  bool image_all_views = false;  ///< published: all student views are compared at the image level
  bool points = false;           ///< compares points
  bool references = false;       ///< has reference tokens
  bool relations = false;        ///< which a relation rules that can be chosen
  std::string_view content{};    ///< what they read of the image at their points: "attached", "detached"; empty: nothing
  bool pairs = false;            ///< sees two views alone
  bool levels = false;           ///< its loss compares prototypes at a teacher's temperature
  bool published_levels = false; ///< and is one of the published losses
  bool masks = false;            ///< masks patches of the global views
  bool prototypes = false;       ///< has prototypes
  bool teacher = false;          ///< has a moving average of the student
  bool temperature = false;      ///< its loss has one temperature
  bool queue = false;            ///< may keep rows of earlier batches
  bool assigns = false;          ///< assigns its views to prototypes by an epsilon of its own, beside a queue that fills: SwAV
  bool koleo = false;            ///< keeps the images of a batch apart by KoLeo
  bool frozen = false;           ///< is held to a teacher whose weights are given
};

/// Whether the numbers of any term of a sum have what `Has` asks for; the published losses are no sums of that kind.
template <class Has, class Options>
[[nodiscard]] constexpr bool any_term(std::type_identity<Options> /*published*/, Has /*has*/) {
  return false;
}
template <class Has, class... Terms>
[[nodiscard]] constexpr bool any_term(std::type_identity<TermOptions<Terms...>> /*sum*/, Has has) {
  return (has(std::type_identity<typename Terms::Options>{}) || ...);
}

/// What the type of a recipe says of it.
template <class Recipe>
[[nodiscard]] RecipeFacts facts_of(std::string_view name) {
  using Loss = typename Recipe::Loss;
  constexpr std::type_identity<typename Loss::Options> numbers;
  RecipeFacts facts{.name = name, .views = [] { return TrainerOptionsOf<Recipe>{}.views; }};
  facts.points = Loss::reads.points;
  facts.references = facts.points && Recipe::Tokens::point_features == PointFeatures::reference_tokens;
  constexpr PointContent content = content_of<typename Recipe::Tokens>;
  facts.relations = facts.references && content == PointContent::none;
  facts.content = content == PointContent::attached ? "attached" : content == PointContent::detached ? "detached" : "";
  facts.pairs = std::derived_from<typename Recipe::Views, TwoViews>;
  facts.published_levels = std::is_same_v<typename Loss::Options, LossOptions>;
  facts.levels = facts.published_levels ||
                 any_term(numbers, []<class O>(std::type_identity<O>) { return requires(O o) { o.student_temperature; }; });
  facts.masks = Loss::reads.masked;
  const ParameterLayout layout = network_layout<NetworkKindOf<Recipe>>({Recipe::Backbone::config, Recipe::Head::config});
  facts.prototypes = std::ranges::any_of(layout.specs(), &ParameterSpec::prototype);
  facts.teacher = Loss::teacher_weights;
  facts.temperature = any_term(numbers, []<class O>(std::type_identity<O>) { return requires(O o) { o.temperature; }; });
  facts.queue = any_term(numbers, []<class O>(std::type_identity<O>) { return requires(O o) { o.keys; } || requires(O o) { o.queue; }; });
  facts.assigns = any_term(numbers, []<class O>(std::type_identity<O>) { return requires(O o) { o.queue_first_epoch; }; });
  facts.koleo = any_term(numbers, []<class O>(std::type_identity<O>) { return requires(O o) { o.all_ranks; }; });
  facts.frozen = Loss::has_frozen;
  return facts;
}

/// DINO with its own views, where the library's recipe has DenseDINO's.
[[nodiscard]] inline RecipeFacts dino_facts() {
  RecipeFacts facts = facts_of<Dino>("dino");
  facts.views = dino_multi_crop_options;
  facts.image_all_views = true;
  return facts;
}

/// A recipe that every program knows what to do with.
template <class RecipeT>
struct KnownRecipe {
  using Recipe = RecipeT;
  RecipeFacts facts;
};
inline const std::tuple recipes_of_all{KnownRecipe<DenseDino>{facts_of<DenseDino>("densedino")}, KnownRecipe<Dino>{dino_facts()},
                                       KnownRecipe<FeatureMapDino>{facts_of<FeatureMapDino>("feature-map")}};
inline const std::array known_recipes =
    std::apply([](const auto&... known) { return std::array{known.facts...}; }, recipes_of_all);

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

/// A recipe's views for an architecture, of these sizes where they are given.
[[nodiscard]] inline MultiCropOptions views_of(const RecipeFacts& recipe, const ViTConfig& arch, const ViewSizes& sizes) {
  MultiCropOptions views = recipe.views();
  const Index native = arch.image;
  const Index patch = arch.patch;
  const Index global = sizes.global != 0 ? sizes.global : native;
  // Views that are published small keep their share of the large ones, in whole patches.
  const bool small = views.local_size.height < views.global_size.height;
  const Index share = views.local_size.height * native / views.global_size.height / patch * patch;
  const Index local = sizes.local != 0 ? sizes.local : small ? share : global;
  views.global_size = {global, global};
  views.local_size = {local, local};
  if (sizes.locals != -1) views.locals = sizes.locals;
  return views;
}

}  // namespace dssl::programs
