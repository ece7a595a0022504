// DenseDINO whose points are told apart by a contrast.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipes.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_contrast_densedino(const Job& job, RunLog& log) { return run_recipe<ContrastDenseDino>(job, log); }

}  // namespace dssl::programs
