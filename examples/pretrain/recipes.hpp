// The recipes that the program knows by name: help text, checks and what runs follow from this list.
#pragma once

#include <array>
#include <string_view>

#include <common/names.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>

namespace dssl::programs {

class RunLog;

// Each in the file that compiles it.
[[nodiscard]] RunSummary run_densedino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_dino(const Job& job, RunLog& log);
[[nodiscard]] RunSummary run_feature_map(const Job& job, RunLog& log);

/// A recipe: its name, what it makes of the options, and who runs it.
struct NamedRecipe {
  std::string_view name;
  bool points;      ///< compares points: has a point level
  bool references;  ///< has reference tokens, which a relation rules
  bool dino_views;  ///< DINO's views, all compared at the image level, where nothing else was said
  RunSummary (*run)(const Job&, RunLog&);
};

inline constexpr std::array<NamedRecipe, 3> recipes{{
    {"densedino", true, true, false, run_densedino},
    {"dino", false, false, true, run_dino},
    {"feature-map", true, false, false, run_feature_map},
}};

/// The job's. Throws `OptionError`.
[[nodiscard]] inline const NamedRecipe& recipe_of(const Job& job) { return named(recipes, "recipe", job.recipe); }

}  // namespace dssl::programs
