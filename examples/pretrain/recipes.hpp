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

/// A recipe and who runs it.
struct NamedRecipe : RecipeFacts {
  RunSummary (*run)(const Job&, RunLog&);
};

inline constexpr std::array<NamedRecipe, 3> recipes{
    {{densedino_facts, run_densedino}, {dino_facts, run_dino}, {feature_map_facts, run_feature_map}}};

/// The job's. Throws `OptionError`.
[[nodiscard]] inline const NamedRecipe& recipe_of(const Job& job) { return named(recipes, "recipe", job.recipe); }

}  // namespace dssl::programs
