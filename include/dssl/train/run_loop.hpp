// The loop of a run: batches in, steps, reports, checkpoints, whatever the kind of the network and the backend.
// Tests: tests/train/run_loop.cpp, tests/train/trainer.cpp, tests/train/short_runs.cpp, tests/train/not_finite.cpp, tests/train/ranks.cpp.
#pragma once

#include <chrono>
#include <cmath>
#include <exception>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include <dssl/core/communicator.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/train/any_step.hpp>
#include <dssl/train/batches.hpp>
#include <dssl/train/checkpoint.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/rank_agreement.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/run_schedules.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl {

/// Where a run stands and what it does with its step, which is handed to it: `TrainingRun` says what its functions mean.
/// Compiled once for all recipes; a step is a few virtual calls to it.
class RunLoop {
 public:
  /// `options` are valid; `recipe` is what checkpoints must agree with.
  RunLoop(RunOptions options, SampleMaking making, std::string recipe);

  void on_step(std::function<Continue(const StepReport&)> callback) { x_on_step = std::move(callback); }
  void on_epoch(std::function<Continue(const StepReport&)> callback) { x_on_epoch = std::move(callback); }
  void on_warning(std::function<void(std::string_view)> callback) { x_on_warning = std::move(callback); }

  [[nodiscard]] const std::string& recipe() const { return x_recipe; }
  [[nodiscard]] Index steps_done() const { return x_position.step; }

  /// Throws `Error` where the run was moved to another object, whose step it is now.
  void require_present(std::string_view call) const {
    if (x_recipe.empty()) throw Error(join(call, ": this trainer was moved from and has nothing left to train"));
  }

  void save(const LastingState& state, const std::string& path) const {
    require_present("save");
    save_checkpoint(path, state, x_options, x_position, x_recipe);
  }
  /// `extends`: from a run that may have had fewer epochs.
  void resume(const LastingState& state, const std::string& path, bool extends) {
    require_present("resume");
    state.make_room();
    x_position = load_checkpoint(state, path, x_options, x_recipe, extends);
    state.take_parts();
    x_sound_steps = x_position.step;
  }

  RunSummary fit(AnyStep& step, const SourceView& source, std::stop_token token);

 private:
  using x_clock = std::chrono::steady_clock;
  static double x_seconds_since(x_clock::time_point start) {
    return std::chrono::duration<double>(x_clock::now() - start).count();
  }

  RunSummary x_fit(AnyStep& step, const SourceView& source, std::stop_token token);
  void x_require_same_images(const SourceView& source);
  void x_require_same_run(const LastingState& state) const;
  bool x_run_step(AnyStep& step, StepReport& report, RunBatches& batches, const RunSchedules& schedules, const SourceView& source);
  void x_require_sound(AnyStep& step, const SourceView& source);
  void x_finish_pass(AnyStep& step, StepReport& report, const SourceView& source) const;
  /// work(), whose `NonFiniteError` tells the view or the tensor that it came from, where they can be told.
  template <class Work>
  void x_telling_cause(const AnyStep& step, const SourceView& source, const Work& work) const {
    try {
      work();
    } catch (const NonFiniteError& error) {
      throw NonFiniteError(x_with_cause(step, error, source));
    }
  }
  [[nodiscard]] std::string x_with_cause(const AnyStep& step, const NonFiniteError& error, const SourceView& source) const;
  [[nodiscard]] std::string x_non_finite_view(const AnyStep& step, const SourceView& source) const;
  void x_watch(const AnyStep& step, StepReport& report);
  void x_warn(std::string_view message) const {
    if (x_on_warning) x_on_warning(message);
  }

  RunOptions x_options;
  SampleMaking x_making;
  std::string x_recipe;
  ViewBatch x_batch;
  RunPosition x_position;
  Index x_sound_steps = 0;           // steps after which the weights were known to give a finite loss
  double x_teacher_temperature = 1;  // of the last step
  std::function<Continue(const StepReport&)> x_on_step;
  std::function<Continue(const StepReport&)> x_on_epoch;
  std::function<void(std::string_view)> x_on_warning;
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE RunLoop::RunLoop(RunOptions options, SampleMaking making, std::string recipe)
    : x_options(std::move(options)),
      x_making(std::move(making)),
      x_recipe(std::move(recipe)),
      x_batch(ViewBatch::of(x_making.shape, x_options.views_on == ViewsOn::host)) {}

DSSL_INLINE RunSummary RunLoop::fit(AnyStep& step, const SourceView& source, std::stop_token token) {
  if (x_options.ranks.alone()) return x_fit(step, source, std::move(token));
  try {
    return x_fit(step, source, std::move(token));
  } catch (const RankError&) {
    throw;  // of which the others know
  } catch (const std::exception& error) {
    x_options.ranks.leave(error.what());
    throw;
  } catch (...) {
    x_options.ranks.leave("by an error without words");
    throw;
  }
}

DSSL_INLINE RunSummary RunLoop::x_fit(AnyStep& step, const SourceView& source, std::stop_token token) {
  const Communicator& ranks = x_options.ranks;
  require_present("fit");
  step.state().require_taught();
  const auto began = x_clock::now();
  require_update(x_options, source.size());
  const Index update_images = x_options.update_images();
  const Index epoch_steps = source.size() / update_images;
  if (x_position.step > 0 && x_position.dataset_images != source.size()) {
    throw DataError(join("the run was begun on ", x_position.dataset_images, " images, but the data now has ",
                         source.size()));
  }
  x_require_same_images(source);
  // Not after an epoch.
  if (!x_options.checkpoint.empty() && ranks.first()) require_writable(x_options.checkpoint);
  x_position.dataset_images = source.size();
  x_require_same_run(step.state());
  const RunSchedules schedules = run_schedules(x_options, epoch_steps);
  const Index steps = x_options.epochs * epoch_steps;

  const SkipPolicy policy = SkipPolicy{.max_bad_share = x_options.max_unreadable}.of_samples(source.size(), source.image_of(0).images);
  SkipCounter skipped(policy, [this](std::string_view name, std::string_view message) {
    // Messages about files begin with their path already.
    x_warn(message.starts_with(name) ? join("skipped ", message) : join("skipped ", name, ": ", message));
  });
  skipped.resume(x_position.step * update_images + x_position.unreadable, x_position.unreadable);
  const SampleRange range{.first = x_position.step * update_images,
                          .count = (steps - x_position.step) * update_images / ranks.size(),
                          .epoch_images = epoch_steps * update_images};
  RunBatches batches(source, range, x_options, x_making, skipped, step, token);

  RunSummary summary;
  Index saved = x_position.step;
  const auto save_checkpoint_here = [&] {
    x_require_sound(step, source);
    if (x_options.checkpoint.empty() || saved == x_position.step) return;
    step.state().gather();
    static_cast<void>(done_on_all(ranks, [&] {
      if (ranks.first()) save(step.state(), x_options.checkpoint);
      return true;
    }));
    step.state().release();
    saved = x_position.step;
  };
  bool stopped = ranks.any(token.stop_requested());
  while (x_position.step < steps && !stopped) {
    const auto step_began = x_clock::now();
    const double wait_before = batches.wait_seconds();
    StepReport report{.epoch = x_position.step / epoch_steps,
                      .step = x_position.step,
                      .epoch_steps = epoch_steps,
                      .steps = steps};
    try {
      if (!x_run_step(step, report, batches, schedules, source)) break;
    } catch (const DataError&) {
      save_checkpoint_here();
      throw;
    }
    ++x_position.step;
    x_position.unreadable = skipped.skipped();
    report.images = x_position.step * update_images;
    report.seconds = x_seconds_since(step_began);
    report.data_wait_seconds = batches.wait_seconds() - wait_before;
    report.images_per_second = static_cast<double>(update_images) / report.seconds;
    report.unreadable = x_position.unreadable;
    summary.loss = report.loss;
    const bool epoch_ends = x_position.step % epoch_steps == 0;
    if (epoch_ends) x_require_sound(step, source);
    Continue answer = x_on_step ? x_on_step(report) : proceed;
    if (epoch_ends && x_on_epoch && x_on_epoch(report) == stop) answer = stop;
    if (epoch_ends || (x_options.checkpoint_steps > 0 && x_position.step % x_options.checkpoint_steps == 0)) {
      save_checkpoint_here();
    }
    stopped = ranks.any(answer == stop || token.stop_requested());
  }
  // Whenever the stop came; where no step was made, the file that is there is left alone.
  save_checkpoint_here();
  summary.steps = x_position.step;
  summary.finished = x_position.step == steps;
  summary.seconds = x_seconds_since(began);
  summary.unreadable = x_position.unreadable;
  return summary;
}

/// Remembers which images the run is of. Throws `DataError` where a resumed one was of others.
DSSL_INLINE void RunLoop::x_require_same_images(const SourceView& source) {
  const std::string now = fingerprint_of(source).text();
  const std::string& before = x_position.dataset;
  if (x_position.step > 0 && !before.empty() && before != now && !x_options.other_images) {
    const std::size_t half = now.find('-');
    const bool names = before.compare(0, half, now, 0, half) != 0;
    throw DataError(join("the run was begun on ", source.size(), " images of other ",
                         names ? "names, or in another order," : "sizes", " than those of the data now, the first ",
                         source.name(0), "; expected the same (option 'other_images' goes on with others)"));
  }
  x_position.dataset = now;
}

/// Throws `RankError` where another rank runs another run.
DSSL_INLINE void RunLoop::x_require_same_run(const LastingState& state) const {
  if (x_options.ranks.alone()) return;
  std::string options;
  for_each_option(x_options, [&](std::string_view name, const auto& value) {
    options += join(name, " ", detail::option_text(value), "\n");
  });
  std::vector<std::pair<std::string_view, std::string>> things{
      {"recipe", x_recipe},
      {"options", options + join(x_options.checkpoint.empty(), " ", x_options.checkpoint_steps, " ", x_options.max_unreadable, " ",
                               name_of(x_options.reduce), " ", x_options.shard, " ", x_options.bucket_bytes)},
      {"images", x_position.dataset},
      {"steps done", join(x_position.step, " ", x_position.unreadable)}};
  require_same_run(x_options.ranks, state, std::move(things));
}

/// One update of `accumulate` passes. False when one of them found no images; nothing is changed then.
DSSL_INLINE bool RunLoop::x_run_step(AnyStep& step, StepReport& report, RunBatches& batches, const RunSchedules& schedules,
                                     const SourceView& source) {
  const Index now = x_position.step;
  report.learning_rate = schedules.learning_rate(now);
  report.weight_decay = schedules.weight_decay(now);
  report.teacher_momentum = schedules.momentum(now);
  report.teacher_temperature = schedules.temperature(report.epoch);
  x_teacher_temperature = report.teacher_temperature;
  x_batch.epoch = report.epoch;
  step.begin();
  for (Index done = 0; done < x_options.accumulate; ++done) {
    if (!batches.next(x_batch, report.epoch)) return false;
    // Ranks exchange in its midst: what it throws is for `fit` to tell.
    x_telling_cause(step, source, [&] { step.start_pass(x_batch, report.teacher_temperature); });
    batches.work_ahead();
    x_finish_pass(step, report, source);
  }
  x_telling_cause(step, source, [&] {
    step.update(report, {.optimiser = {.learning_rate = report.learning_rate,
                                       .weight_decay = report.weight_decay,
                                       .step = now,
                                       .frozen_steps = schedules.frozen_steps},
                         .teacher_momentum = report.teacher_momentum});
    step.inspect(report);
  });
  x_watch(step, report);
  return true;
}

DSSL_INLINE void RunLoop::x_finish_pass(AnyStep& step, StepReport& report, const SourceView& source) const {
  static_cast<void>(done_on_all(x_options.ranks, [&] {  // the cause is told to all: it may be one rank's alone
    x_telling_cause(step, source, [&] { step.finish_pass(report); });
    return true;
  }));
}

/// Throws `NonFiniteError` where what lasts, as the last update left it, is not finite or gives no finite loss on its
/// batch, `RankError` where it is not the same on all ranks.
DSSL_INLINE void RunLoop::x_require_sound(AnyStep& step, const SourceView& source) {
  if (x_sound_steps == x_position.step) return;
  const auto of_no_use = [&](const std::string& why) {
    return NonFiniteError(join("the weights after step ", x_position.step, " are of no use, and were not saved: ", why));
  };
  static_cast<void>(done_on_all(x_options.ranks, [&] {  // of which each may look at a part
    if (const std::string tensor = step.state().non_finite_tensor(); !tensor.empty()) throw of_no_use(tensor + " is not finite");
    return true;
  }));
  require_same_state(x_options.ranks, step.state(), x_position.step);
  StepReport look;
  step.begin_look();
  try {
    x_telling_cause(step, source, [&] { step.start_pass(x_batch, x_teacher_temperature); });
    x_finish_pass(step, look, source);
  } catch (const NonFiniteError& error) {
    throw of_no_use(error.what());
  }
  x_sound_steps = x_position.step;
}

/// The words of an error of a step, and where they can be told the view or the tensor that it came from.
DSSL_INLINE std::string RunLoop::x_with_cause(const AnyStep& step, const NonFiniteError& error, const SourceView& source) const {
  std::string cause = x_non_finite_view(step, source);
  if (cause.empty()) cause = step.state().non_finite_tensor();
  return cause.empty() ? error.what() : join(error.what(), "; found not finite: ", cause);
}

/// "view 1 of <image>": the first view of the last batch with a pixel that is not finite; empty where there is none.
DSSL_INLINE std::string RunLoop::x_non_finite_view(const AnyStep& step, const SourceView& source) const {
  for (Index v = 0; v < x_making.shape.view_count(); ++v) {
    for (Index b = 0; b < x_options.rank_batch(); ++b) {
      if (step.finite_view(v, b)) continue;
      const Index wanted = x_batch.samples[static_cast<std::size_t>(b)];
      return join("view ", v, " of ", RunBatches::name_of_used(source, x_making.shape.channels, wanted));
    }
  }
  return {};
}

/// Says that a run collapsed once it has looked so for `collapse_patience` steps.
DSSL_INLINE void RunLoop::x_watch(const AnyStep& step, StepReport& report) {
  const Index prototypes = step.prototypes();
  Collapse seen = Collapse::none;
  bool any_prototypes = false;
  std::string advice;
  for (const TermReport& term : report.each_term()) {
    any_prototypes = any_prototypes || std::isfinite(term.teacher_entropy);
    if (seen != Collapse::none) continue;
    seen = collapse_of(term, prototypes);
    if (seen != Collapse::none) advice = advice_for(seen, term, prototypes);
  }
  if (!any_prototypes) seen = collapse_of_spread(report.feature_spread, step.width());
  x_position.collapsed_steps = seen == Collapse::none ? 0 : x_position.collapsed_steps + 1;
  if (x_position.collapsed_steps < x_options.collapse_patience) return;
  report.collapse = seen;
  report.advice = advice.empty() ? advice_for(seen) : advice;
  if (x_position.collapsed_steps == x_options.collapse_patience && x_options.ranks.first()) x_warn(report.advice);
}
#endif

}  // namespace dssl
