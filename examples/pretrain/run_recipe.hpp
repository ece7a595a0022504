// Runs a job with a recipe: the only part of the program that is compiled for each of them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <common/backend.hpp>
#include <common/published.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/instances.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/monitor/reference_locality.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/train/initial_weights.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/teacher_file.hpp>
#include <dssl/train/trainer.hpp>
#include <dssl/train/training_run.hpp>
#include <dssl/views/paired_views.hpp>
#include <pretrain/job.hpp>
#include <pretrain/locality.hpp>
#include <pretrain/run_log.hpp>

namespace dssl::programs {

/// What the command line says of a term's numbers; the others are as published.
template <class Term>
void set_numbers(Slot<Term>& slot, const Job& job) {
  if constexpr (requires { slot.options.temperature; }) {
    if (job.temperature > 0) slot.options.temperature = job.temperature;
  }
  if constexpr (requires { slot.options.keys; }) {
    if (job.queue > 0) slot.options.keys = job.queue;
  }
  if constexpr (requires { slot.options.queue_first_epoch; }) {
    if (job.epsilon > 0) slot.options.epsilon = job.epsilon;
    if (job.queue > 0) slot.options.queue = job.queue;
    if (job.queue_first_epoch >= 0) slot.options.queue_first_epoch = job.queue_first_epoch;
    // Each update leaves the rows of its last pass, and a queue is used once it is full.
    const Index epochs = job.options.epochs - slot.options.queue_first_epoch;
    const Index rows = epochs > 0 ? (epochs * (job.source->size() / job.options.update_images()) - 1) * job.options.batch : 0;
    if (slot.options.queue > rows) {
      throw OptionError("queue", slot.options.queue,
                        join("at most the ", rows, " rows that come from epoch ", slot.options.queue_first_epoch,
                             " (--queue-first-epoch) on before the last update, or it is never used"));
    }
  }
  if constexpr (requires { slot.options.all_ranks; }) slot.options.all_ranks = job.koleo_all_ranks;
  if constexpr (Term::reads.student.masked) {
    if (job.masked_weight >= 0) slot.weight = job.masked_weight;
  }
}

template <class... Terms>
[[nodiscard]] TermOptions<Terms...> with_numbers(TermOptions<Terms...> published, const Job& job) {
  (set_numbers(published.template of<Terms>(), job), ...);
  return published;
}

/// The job's options with the numbers of the recipe's loss.
template <class Recipe>
[[nodiscard]] TrainerOptionsOf<Recipe> options_of_run(const Job& job) {
  using Options = TrainerOptionsOf<Recipe>;
  using Numbers = typename Recipe::Loss::Options;
  if constexpr (std::is_same_v<Numbers, LossOptions>) {
    return job.options.with_loss<Numbers, typename Options::Defaults>(job.options.loss);
  } else {
    return job.options.with_loss<Numbers, typename Options::Defaults>(with_numbers(Options{}.loss, job));
  }
}

/// The job's network, with the widths of heads that it names.
template <class Recipe>
[[nodiscard]] NetworkConfigOf<Recipe> network_of_run(const Job& job) {
  NetworkConfigOf<Recipe> out{job.backbone, job.head};
  if (job.projector_hidden > 0) out.head.hidden = job.projector_hidden;
  if (job.projector_out > 0) out.head.bottleneck = job.projector_out;
  return out;
}

/// Begins a run with the job's weights. Throws `CheckpointError` where the architecture goes by other rules than they, or has
/// other sizes.
template <class Run>
void begin_with_weights(Run& trainer, const Job& job, RunLog& log) {
  const BackboneFile file = BackboneFile::open(job.init, job.published.options());
  const auto& sizes = trainer.step().config().backbone;
  const ViewSize& view = job.options.views.global_size;
  require_same_rules(file.description(), sizes, {view.height / sizes.patch, view.width / sizes.patch}, job.init);
  require_same_sizes(file.description(), sizes, job.init);
  const LoadedBackbone loaded = begin_with(trainer, file, "");
  BackboneDescription run = described_as_run(file, job.published.options());
  if (job.arch != architecture_of_file) {  // whose heads are the architecture's
    run.heads = sizes.heads;
    run.heads_are_known = true;
  }
  log.note(join("begins with the backbone of ", job.init, " (", describe(run), "), ", loaded.given.size(),
                " tensors; heads are drawn", ignored_text(file.ignored().size())));
}

/// Has the run's reference tokens looked at, on the first rank, where there are images to look at.
template <class Recipe, class Run>
void watch_references(const Run& trainer, const Job& job, RunLog& log) {
  using B = std::remove_cvref_t<decltype(trainer.step().backend())>;
  using Look = ReferenceLocality<ViTFamily, B, Recipe::Tokens::relation>;
  const Index every = locality_rhythm(job);
  if (every == 0 || !job.options.ranks.first()) return;  // others tell nothing, and need neither images nor a second backbone
  const ViTConfig& sizes = trainer.step().config().backbone;
  std::vector<float> images = images_to_look_at(job, sizes.channels);
  if (images.empty()) return;
  const ViewSize& view = job.options.views.global_size;
  const LocalityOptions options{.height = view.height,
                                .width = view.width,
                                .learned_reference = Recipe::Tokens::reference.learned,
                                .content = content_of<typename Recipe::Tokens> != PointContent::none};
  const auto look = std::make_shared<Look>(trainer.step().backend(), options, std::move(images), sizes);
  log.look_at_references([look](const BackboneWeights<float>& teacher) { return look->measure(teacher); }, every);
}

/// The job's frozen teacher, for views as the run normalises them.
[[nodiscard]] inline std::unique_ptr<TeacherFile> teacher_of_run(const Job& job, const RunLog& log) {
  const PixelScale views = job.pixels();
  auto out = std::make_unique<TeacherFile>(
      job.teacher, TeacherFileOptions{job.teacher_published.options(), job.teacher_published.pixels}, views);
  ParameterLayout layout;
  ViTFamily::add_parameters(layout, out->sizes(), LearnedTokens{}, "");
  log.note(join("teacher: ", job.teacher, " (", describe(out->description()), "), ", static_cast<double>(layout.parameter_count()) / 1e6,
                " million parameters, which stay as they are", ignored_text(out->ignored())));
  if (out->pixels() == views) return out;
  log.note(join("teacher: trained on pixels ", describe(out->pixels()), "; its patch embedding is carried over to the run's"));
  return out;
}

template <class Recipe, Backend B>
[[nodiscard]] RunSummary run_recipe_on(const B& backend, const Job& job, RunLog& log) {
  require_update(job.options, job.source->size());  // before a batch that large is laid out
  NetworkConfigOf<Recipe> network = network_of_run<Recipe>(job);
  [[maybe_unused]] std::unique_ptr<TeacherFile> teacher;
  if constexpr (Recipe::Loss::has_frozen) {
    teacher = teacher_of_run(job, log);
    network.teacher = teacher->sizes();
  }
  // Views are no part of what is compiled of a run: those that are turned cost the making of samples alone.
  using Sampled = typename Recipe::template with_points<AnySampler>;
  using Run = TrainingRun<NetworkKindOf<Recipe>, B>;
  const auto run_by = [&]<class Whole>(std::type_identity<Whole>) -> Run {
    return Trainer<Whole, B>(options_of_run<Whole>(job), backend, job.sampler, network);
  };
  using Turned = typename Sampled::template with_views<Paired<typename Recipe::Views>>;
  Run trainer = job.options.views.warped() ? run_by(std::type_identity<Turned>()) : run_by(std::type_identity<Sampled>());
  if constexpr (Recipe::Loss::has_frozen) {
    trainer.teach_with(*teacher, "");
    teacher.reset();
  }
  if (!job.resume.empty()) {
    if (job.extend_to > 0) {
      trainer.extend(job.resume);
    } else {
      trainer.resume(job.resume);
    }
  } else if (!job.init.empty()) {
    begin_with_weights(trainer, job, log);
  } else if (job.position_start > 0) {
    begin_with_sincos(trainer, job.position_start);
    log.note(join("positions begin as sines and cosines of root mean square ", job.position_start));
  }
  RunLog::Json numbers = RunLog::Json::object();
  for_each_option(trainer.options(), [&](std::string_view name, const auto& value) { numbers[std::string(name)] = value; });
  log.begin(trainer.recipe(), backend.describe(), trainer.memory_plan(), trainer.step().layout().total(),
            trainer.steps_done(), std::move(numbers));
  const auto save_teacher = [&](Index steps) {
    if (!job.options.ranks.first()) return;
    save_backbone(job.teacher_path(), trainer.teacher(), job.weights_metadata(steps));
  };
  if constexpr (Recipe::Tokens::point_features == PointFeatures::reference_tokens) watch_references<Recipe>(trainer, job, log);
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
