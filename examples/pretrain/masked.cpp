// Recipes with masked patches.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipes.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_ibot(const Job& job, RunLog& log) { return run_recipe<Ibot>(job, log); }
RunSummary run_dinov2(const Job& job, RunLog& log) { return run_recipe<DinoV2>(job, log); }

}  // namespace dssl::programs
