// Runs a job with a recipe: the only part of the program that is compiled for each of them.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <common/architectures.hpp>
#include <common/backend.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/instances.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>
#include <pretrain/run_log.hpp>

namespace dssl::programs {

/// The job's options; the published numbers of the loss where the command line has none of its kind.
template <class Recipe>
[[nodiscard]] TrainerOptionsOf<Recipe> options_of_run(const Job& job) {
  if constexpr (std::is_same_v<TrainerOptionsOf<Recipe>, TrainerOptions>) {
    return job.options;
  } else {
    return job.options.with_loss(typename Recipe::Loss::Options{});
  }
}

template <class Recipe, Backend B>
[[nodiscard]] RunSummary run_recipe_on(const B& backend, const Job& job, RunLog& log) {
  require_update(job.options, job.source->size());  // before a batch that large is laid out
  const Architecture& sizes = named(architectures, "arch", job.arch);
  Trainer<Recipe, B> trainer(options_of_run<Recipe>(job), backend, typename Recipe::Points(job.points),
                             NetworkConfig<ViTConfig>{sizes.config, sizes.head});
  if (!job.resume.empty()) {
    if (job.extend_to > 0) {
      trainer.extend(job.resume);
    } else {
      trainer.resume(job.resume);
    }
  }
  RunLog::Json numbers = RunLog::Json::object();
  for_each_option(trainer.options(), [&](std::string_view name, const auto& value) { numbers[std::string(name)] = value; });
  log.begin(trainer.recipe(), backend.describe(), trainer.memory_plan(), trainer.step().layout().total(),
            trainer.steps_done(), std::move(numbers));
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
  const RunSummary summary = trainer.fit(*job.source);
  save_teacher(summary.steps);
  return summary;
}

/// On the backend that the job names.
template <class Recipe>
[[nodiscard]] RunSummary run_recipe(const Job& job, RunLog& log) {
  return with_backend(job, [&](const auto& backend) { return run_recipe_on<Recipe>(backend, job, log); });
}

}  // namespace dssl::programs
