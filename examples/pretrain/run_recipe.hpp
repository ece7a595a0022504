// Runs a job with a recipe: the only part of the program that is compiled for each of them.
#pragma once

#include <string_view>

#include <common/architectures.hpp>
#include <common/backend.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/instances.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>
#include <pretrain/run_log.hpp>

namespace dssl::programs {

/// An architecture with the head that suits it. Throws `OptionError`.
[[nodiscard]] inline NetworkConfig<ViTConfig> sizes_of(std::string_view arch) {
  const HeadConfig head = arch == "nano8"     ? HeadConfig{.hidden = 512, .bottleneck = 128, .prototypes = 1024}
                          : arch == "tiny8"   ? HeadConfig{.hidden = 512, .bottleneck = 128, .prototypes = 4096}
                          : arch == "tiny16"  ? HeadConfig{.prototypes = 4096}
                                              : HeadConfig{};
  return {architecture(arch), head};
}

template <class Recipe, Backend B>
[[nodiscard]] RunSummary run_recipe_on(const B& backend, const Job& job, RunLog& log) {
  require_update(job.options, job.source.size());  // before a batch that large is laid out
  Trainer<Recipe, B> trainer(job.options, backend, typename Recipe::Points(job.points), sizes_of(job.arch));
  if (!job.resume.empty()) {
    if (job.extend_to > 0) {
      trainer.extend(job.resume);
    } else {
      trainer.resume(job.resume);
    }
  }
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

}  // namespace dssl::programs
