// Runs a job with a recipe: the only part of the program that is compiled for each of them.
#pragma once

#include <string_view>

#include <common/backend.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>
#include <pretrain/run_log.hpp>

namespace dssl::programs {

template <class Recipe, Backend B>
[[nodiscard]] RunSummary run_recipe_on(const B& backend, const Job& job, RunLog& log) {
  require_update(job.options, job.source.size());  // before a batch that large is laid out
  Trainer<Recipe, B> trainer(job.options, backend, typename Recipe::Points(job.points));
  if (!job.resume.empty()) trainer.resume(job.resume);
  log.begin(trainer.recipe(), backend.describe(), trainer.memory_plan(), trainer.step().layout().total(),
            trainer.steps_done());
  const auto save_teacher = [&](Index steps) {
    save_backbone(job.teacher_path(), trainer.teacher(), job.weights_metadata(steps));
  };
  trainer.on_step(
      [&](const StepReport& report) { return log.step(report, [&] { return trainer.teacher(); }); });
  trainer.on_epoch([&](const StepReport& report) {
    save_teacher(report.step + 1);
    return proceed;
  });
  trainer.on_warning([&](std::string_view message) { log.warn(message); });
  const RunSummary summary = trainer.fit(job.source);
  save_teacher(summary.steps);
  return summary;
}

/// On the backend that the job names.
template <class Recipe>
[[nodiscard]] RunSummary run_recipe(const Job& job, RunLog& log) {
  return with_backend(job.backend, job.threads, job.precision,
                      [&](const auto& backend) { return run_recipe_on<Recipe>(backend, job, log); });
}

/// DenseDINO with a relation given by its name. Throws `OptionError`.
template <class Base, std::size_t I = 0>
[[nodiscard]] RunSummary run_relation(const Job& job, RunLog& log) {
  constexpr NamedRelation named = named_relations[I];
  if (job.relation == named.name || job.relation == named.published_name) {
    return run_recipe<typename Base::template with_tokens<ReferenceTokens<named.relation>>>(job, log);
  }
  if constexpr (I + 1 < named_relations.size()) {
    return run_relation<Base, I + 1>(job, log);
  } else {
    throw OptionError("relation", job.relation, "open, hidden, hidden-no-class, private or all-query");
  }
}

/// The job with its architecture's backbone and head, and the recipe it names. Throws `OptionError`.
template <class Backbone, class Head>
[[nodiscard]] RunSummary run_architecture(const Job& job, RunLog& log) {
  using Dense = typename DenseDino::with_backbone<Backbone>::template with_head<Head>;
  if (job.recipe == "densedino") return run_relation<Dense>(job, log);
  if (job.recipe == "dino") {
    return run_recipe<typename Dense::template with_tokens<ClassToken>::template with_loss<ImageLoss>>(job,
                                                                                                       log);
  }
  if (job.recipe == "feature-map")
    return run_recipe<typename Dense::template with_tokens<FeatureMap>>(job, log);
  throw OptionError("recipe", job.recipe, "densedino, dino or feature-map");
}

}  // namespace dssl::programs
