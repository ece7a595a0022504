// DenseDINO under each relation.
#include <cstddef>

#include <common/relations.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/recipe.hpp>

#include <pretrain/recipes.hpp>
#include <pretrain/run_recipe.hpp>

namespace dssl::programs {

namespace {

/// DenseDINO with a relation given by its name. Throws `OptionError`.
template <std::size_t I = 0>
[[nodiscard]] RunSummary run_relation(const Job& job, RunLog& log) {
  constexpr NamedRelation named = named_relations[I];
  if (names_relation(job.relation, named.name)) {
    return run_recipe<DenseDino::with_tokens<ReferenceTokens<named.relation>>>(job, log);
  }
  if constexpr (I + 1 < named_relations.size()) {
    return run_relation<I + 1>(job, log);
  } else {
    throw OptionError("relation", job.relation, names_of(named_relations));
  }
}

}  // namespace

RunSummary run_densedino(const Job& job, RunLog& log) { return run_relation(job, log); }

}  // namespace dssl::programs
