// The recipes that the program knows by name: help text, checks and what runs follow from this list.
#pragma once

#include <array>
#include <string_view>
#include <tuple>

#include <common/names.hpp>
#include <common/recipes.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>

namespace dssl::programs {

class RunLog;

// Each in the file that compiles it.
[[nodiscard]] RunSummary run_densedino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_local_densedino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_contrast_densedino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_dino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_feature_map(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_byol(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_simsiam(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_simclr(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_densesimclr(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_moco_v2(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_moco_v3(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_barlow_twins(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_vicreg(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_swav(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_densecl(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_pixpro(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_ibot(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_dinov2(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_distilled(const Job& job, RunLog& log);

/// A recipe and who runs it.
struct NamedRecipe : RecipeFacts {
  RunSummary (*run)(const Job&, RunLog&);
};

template <class Recipe>
[[nodiscard]] NamedRecipe named_recipe(std::string_view name, RunSummary (*run)(const Job&, RunLog&)) {
  return {facts_of<Recipe>(name), run};
}

/// One that every program knows.
template <class Recipe>
[[nodiscard]] NamedRecipe named_recipe(RunSummary (*run)(const Job&, RunLog&)) {
  return {std::get<KnownRecipe<Recipe>>(recipes_of_all).facts, run};
}

inline const std::array recipes{named_recipe<DenseDino>(run_densedino),
                                named_recipe<LocalDenseDino>("densedino-local", run_local_densedino),
                                named_recipe<ContrastDenseDino>("densedino-contrast", run_contrast_densedino),
                                named_recipe<Dino>(run_dino),
                                named_recipe<FeatureMapDino>(run_feature_map),
                                named_recipe<Byol>("byol", run_byol),
                                named_recipe<SimSiam>("simsiam", run_simsiam),
                                named_recipe<SimClr>("simclr", run_simclr),
                                named_recipe<DenseSimClr>("densesimclr", run_densesimclr),
                                named_recipe<MocoV2>("moco-v2", run_moco_v2),
                                named_recipe<MocoV3>("moco-v3", run_moco_v3),
                                named_recipe<BarlowTwins>("barlow-twins", run_barlow_twins),
                                named_recipe<VicReg>("vicreg", run_vicreg),
                                named_recipe<Swav>("swav", run_swav),
                                named_recipe<DenseCl>("densecl", run_densecl),
                                named_recipe<PixPro>("pixpro", run_pixpro),
                                named_recipe<Ibot>("ibot", run_ibot),
                                named_recipe<DinoV2>("dinov2", run_dinov2),
                                named_recipe<DistilledFrom<ViTFamily>>("distilled", run_distilled)};

/// The job's. Throws `OptionError`.
[[nodiscard]] inline const NamedRecipe& recipe_of(const Job& job) { return named(recipes, "recipe", job.recipe); }

}  // namespace dssl::programs
