// Distillation from features.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipes.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_distilled(const Job& job, RunLog& log) { return run_recipe<DistilledFrom<ViTFamily>>(job, log); }

}  // namespace dssl::programs
