// The recipes of the program: DINO and the feature map. DenseDINO is in a file of its own, so that no compilation takes
// long.
#include <dssl/core/error.hpp>
#include <dssl/train/recipe.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary pretrain(const Job& job, RunLog& log) {
  if (job.recipe == "densedino") return pretrain_densedino(job, log);
  if (job.recipe == "dino") return run_recipe<Dino>(job, log);
  if (job.recipe == "feature-map") return run_recipe<FeatureMapDino>(job, log);
  throw OptionError("recipe", job.recipe, "densedino, dino or feature-map");
}

}  // namespace dssl::programs
