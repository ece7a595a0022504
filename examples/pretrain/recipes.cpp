// The recipes of the program but DenseDINO, which is in a file of its own, so that no compilation takes long.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipe.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_local_densedino(const Job& job, RunLog& log) { return run_recipe<LocalDenseDino>(job, log); }
RunSummary run_dino(const Job& job, RunLog& log) { return run_recipe<Dino>(job, log); }
RunSummary run_feature_map(const Job& job, RunLog& log) { return run_recipe<FeatureMapDino>(job, log); }

}  // namespace dssl::programs
