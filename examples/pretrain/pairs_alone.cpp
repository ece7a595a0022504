// Recipes of two views without a teacher.
#include <pretrain/recipes.hpp>

#include <dssl/train/recipes.hpp>

#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

RunSummary run_simsiam(const Job& job, RunLog& log) { return run_recipe<SimSiam>(job, log); }
RunSummary run_simclr(const Job& job, RunLog& log) { return run_recipe<SimClr>(job, log); }
RunSummary run_densesimclr(const Job& job, RunLog& log) { return run_recipe<DenseSimClr>(job, log); }
RunSummary run_barlow_twins(const Job& job, RunLog& log) { return run_recipe<BarlowTwins>(job, log); }
RunSummary run_vicreg(const Job& job, RunLog& log) { return run_recipe<VicReg>(job, log); }

}  // namespace dssl::programs
