// The recipes that the program knows by name: help text, checks and what runs follow from this list.
#pragma once

#include <array>

#include <common/names.hpp>
#include <common/recipes.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>

namespace dssl::programs {

class RunLog;

// Each in the file that compiles it.
[[nodiscard]] RunSummary run_densedino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_dino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_feature_map(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_byol(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_simsiam(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_simclr(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_moco_v2(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_moco_v3(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_barlow_twins(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_vicreg(const Job& job, RunLog& log);

/// A recipe and who runs it.
struct NamedRecipe : RecipeFacts {
  RunSummary (*run)(const Job&, RunLog&);
};

inline constexpr std::array<NamedRecipe, 10> recipes{{{densedino_facts, run_densedino},
                                                      {dino_facts, run_dino},
                                                      {feature_map_facts, run_feature_map},
                                                      {byol_facts, run_byol},
                                                      {simsiam_facts, run_simsiam},
                                                      {simclr_facts, run_simclr},
                                                      {moco_v2_facts, run_moco_v2},
                                                      {moco_v3_facts, run_moco_v3},
                                                      {barlow_facts, run_barlow_twins},
                                                      {vicreg_facts, run_vicreg}}};

/// The job's. Throws `OptionError`.
[[nodiscard]] inline const NamedRecipe& recipe_of(const Job& job) { return named(recipes, "recipe", job.recipe); }

}  // namespace dssl::programs
