// SwAV.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipes.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_swav(const Job& job, RunLog& log) { return run_recipe<Swav>(job, log); }

}  // namespace dssl::programs
