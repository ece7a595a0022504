// Recipes that compare patches.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipes.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_densecl(const Job& job, RunLog& log) { return run_recipe<DenseCl>(job, log); }
RunSummary run_pixpro(const Job& job, RunLog& log) { return run_recipe<PixPro>(job, log); }

}  // namespace dssl::programs
