// Recipes of two views with a teacher.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipes.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_byol(const Job& job, RunLog& log) { return run_recipe<Byol>(job, log); }
RunSummary run_moco_v2(const Job& job, RunLog& log) { return run_recipe<MocoV2>(job, log); }
RunSummary run_moco_v3(const Job& job, RunLog& log) { return run_recipe<MocoV3>(job, log); }

}  // namespace dssl::programs
