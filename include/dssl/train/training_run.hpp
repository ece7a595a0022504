// The training run of a kind of network: samples in, steps, reports, checkpoints.
// Tests: tests/train/trainer.cpp, tests/train/short_runs.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/train/checkpoint.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/rank_agreement.hpp>
#include <dssl/train/rendered_views.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/run_schedules.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/train/training_step.hpp>
#include <dssl/views/view_sheet.hpp>

namespace dssl {

/// A backbone's weights on the host, with the layout that gives them their names.
template <class T>
struct BackboneWeights {
  ParameterLayout layout;
  std::vector<T> values;  ///< laid out by `layout`, gaps included
};

/// A run, whatever the recipe's sizes, views and points: `Trainer` is made of it. Kinds that are published are compiled
/// in dssl::cpu (dssl/instances.hpp).
template <class Kind, Backend B>
class TrainingRun {
 public:
  using T = typename B::Scalar;
  using Step = BasicTrainingStep<Kind, B>;
  using Options = BasicTrainerOptions<typename Kind::Loss::Options>;

  /// Allocates everything the run needs and draws the initial weights. `options` are valid, `recipe` is what checkpoints
  /// must agree with.
  TrainingRun(Options options, const B& backend, SampleMaking making, const typename Step::Config& config,
              std::string recipe)
      : x_options(std::move(options)),
        x_making(std::move(making)),
        x_step(backend, x_step_options(), config),
        x_recipe(std::move(recipe)),
        x_batch(ViewBatch::of(x_step.options().shape, x_options.views_on == ViewsOn::host)) {
    initialise(backend, x_step.student(), x_step.layout(), x_options.seed);
    if constexpr (Kind::Loss::teacher_weights) backend.copy(x_step.teacher(), x_step.student());
    if constexpr (Kind::Loss::snapshots > 0) backend.copy(x_step.snapshot(), x_step.student());
  }

  /// Called after every step; `dssl::stop` ends the run after a checkpoint.
  void on_step(std::function<Continue(const StepReport&)> callback) { x_on_step = std::move(callback); }
  /// Called after the last step of every epoch, with that step's report.
  void on_epoch(std::function<Continue(const StepReport&)> callback) { x_on_epoch = std::move(callback); }
  /// For functions that cannot be called so: says what is wanted.
  template <class Callback>
    requires(!std::constructible_from<std::function<Continue(const StepReport&)>, Callback>)
  void on_step(const Callback& /*callback*/) {
    static_assert(std::constructible_from<std::function<Continue(const StepReport&)>, Callback>,
                  "on_step: the function must take a const dssl::StepReport& and return dssl::proceed or dssl::stop");
  }
  template <class Callback>
    requires(!std::constructible_from<std::function<Continue(const StepReport&)>, Callback>)
  void on_epoch(const Callback& /*callback*/) {
    static_assert(std::constructible_from<std::function<Continue(const StepReport&)>, Callback>,
                  "on_epoch: the function must take a const dssl::StepReport& and return dssl::proceed or dssl::stop");
  }
  /// Called with a sentence for everything worth knowing that is no error: skipped images, signs of collapse.
  void on_warning(std::function<void(std::string_view)> callback) { x_on_warning = std::move(callback); }

  [[nodiscard]] const Options& options() const { return x_options; }
  [[nodiscard]] const MemoryPlan& memory_plan() const { return x_step.memory_plan(); }
  /// The recipe in words; checkpoints carry it.
  [[nodiscard]] const std::string& recipe() const { return x_recipe; }
  [[nodiscard]] Step& step() { return x_step; }
  [[nodiscard]] const Step& step() const { return x_step; }
  /// Updates made so far.
  [[nodiscard]] Index steps_done() const { return x_position.step; }

  /// Weights of the backbone under their published names.
  [[nodiscard]] BackboneWeights<T> teacher() const { return x_backbone(x_step.teacher()); }
  [[nodiscard]] BackboneWeights<T> student() const { return x_backbone(x_step.student()); }

  /// Writes a checkpoint, whole or not at all. Throws `FileError`.
  void save(const std::string& path) const { save_checkpoint(path, x_step, x_options, x_position, x_recipe); }

  // Templates, since clang++ before 16 makes members whose constraints do not hold too where the class is instantiated.
  /// Gives the frozen teacher of a loss its weights, from a file as `load_backbone` reads them, a `BackboneFile` with the
  /// prefix "": before `resume` and `fit`. Where this throws, the teacher has no weights. Throws `CheckpointError`, as
  /// `require_readable_relation` too; `Error` after a first step.
  template <class Loss = typename Kind::Loss>
    requires(Loss::has_frozen)
  LoadedBackbone teach_with(const TensorFile& file, std::optional<std::string> prefix = std::nullopt)
  {
    x_require_untaught();
    require_readable_relation(file);
    auto& teacher = x_step.frozen();
    LoadedBackbone loaded;
    teacher.take(x_step.backend(), file.path(), [&](std::span<T> flat) {
      loaded = load_fresh_backbone(flat, teacher.layout(), file, std::move(prefix));
    });
    return loaded;
  }
  /// The same from a safetensors file.
  template <class Loss = typename Kind::Loss>
    requires(Loss::has_frozen)
  LoadedBackbone teach_with(const std::string& path)
  {
    return teach_with(SafetensorsFile::open(path));
  }
  /// The same from memory, as another trainer's `teacher()`, whose tokens that the teacher does not have are left. `from`: the
  /// file that they came from, for messages. Throws `ShapeError` naming a tensor that is missing or of another shape.
  template <class Loss = typename Kind::Loss>
    requires(Loss::has_frozen)
  void teach_with(const BackboneWeights<T>& weights, std::string from = {})
  {
    x_require_untaught();
    auto& teacher = x_step.frozen();
    teacher.take(x_step.backend(), std::move(from), [&](std::span<T> flat) {
      for (const ParameterSpec& spec : teacher.layout().specs()) {
        const auto& theirs = weights.layout.specs();
        const auto found = std::find_if(theirs.begin(), theirs.end(), [&](const auto& s) { return s.name.view() == spec.name.view(); });
        require_shape(found != theirs.end(), "weights of a frozen teacher: no tensor ", spec.name.view());
        require_shape(found->shape() == spec.shape(), "weights of a frozen teacher: ", spec.name.view(), " has another shape");
        std::copy_n(weights.values.begin() + found->offset, spec.size, flat.begin() + spec.offset);
      }
    });
  }

  /// Goes on where a checkpoint was written; `fit` does the rest of the run. Throws `CheckpointError`.
  void resume(const std::string& path) {
    x_position = load_checkpoint(x_step, path, x_options, x_recipe);
    x_sound_steps = x_position.step;
  }

  /// Goes on from a checkpoint of a run of fewer epochs, a finished one too; all other options must be the same.
  ///
  /// From its next step on, learning rate, weight decay and the teacher's momentum are those that a run of all the
  /// epochs has at that step: after a finished run the learning rate, which had fallen to its end, rises again to where
  /// the longer cosine stands, and the momentum falls back from its end likewise. So the extended run is not the run that
  /// had so many epochs from its beginning; it is determined by the checkpoint and the options all the same, and its own
  /// checkpoints are resumed as usual. Warm-ups are counted in epochs and are not repeated. Throws `CheckpointError`.
  /// Test: tests/train/short_runs.cpp.
  void extend(const std::string& path) {
    x_position = load_checkpoint(x_step, path, x_options, x_recipe, true);
    x_sound_steps = x_position.step;
  }

  /// Trains to the end of the last epoch, or until a callback or the token says stop.
  ///
  /// An epoch is as many whole updates as the images give; what is left over is not used in that epoch.
  /// Before weights leave the trainer, at the end of an epoch and for a checkpoint, all that lasts is looked at, and the
  /// last batch once more with it: weights that an update threw so far that the loss is not finite any more replace
  /// nothing. Throws `DataError` (too few images, others than before a resume, or too many unreadable ones; a checkpoint
  /// of the steps made is written then), `NonFiniteError` (a loss, gradient or centre that is not finite, or at those
  /// looks a tensor; names the
  /// tensor, or the image of a view, that holds it, and the checkpoint is the one before), `FileError` (a checkpoint that
  /// cannot be written: before the first step where that shows then). Test: tests/train/not_finite.cpp.
  ///
  /// Over ranks (`Options::ranks`) each calls `fit` with the same images, options and state, and all end alike: where one
  /// is told to stop, by a callback or its token, all stop; where one throws, all throw, the others a `DataError` or
  /// `NonFiniteError` of the same kind or a `RankError` that says which one and why, in the time that the ranks' transport
  /// allows. Callbacks are called on every rank with the same figures but seconds; rank 0 alone writes checkpoints. What a run computes
  /// depends on the ranks by rounding alone. Tests: tests/train/ranks.cpp.
  RunSummary fit(const SourceView& source, std::stop_token token = {}) {
    if (x_options.ranks.alone()) return x_fit(source, std::move(token));
    try {
      return x_fit(source, std::move(token));
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

 private:
  RunSummary x_fit(const SourceView& source, std::stop_token token) {
    const Communicator& ranks = x_options.ranks;
    if (x_recipe.empty()) throw Error("fit: this trainer was moved from and has nothing left to train");
    if constexpr (Kind::Loss::has_frozen) x_step.frozen().require_given();
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
    x_require_same_run();
    const RunSchedules schedules = run_schedules(x_options, epoch_steps);
    const Index steps = x_options.epochs * epoch_steps;

    const SkipPolicy skips{.max_bad_share = x_options.max_unreadable};
    SkipCounter skipped(skips, [this](std::string_view name, std::string_view message) {
      // Messages about files begin with their path already.
      x_warn(message.starts_with(name) ? join("skipped ", message) : join("skipped ", name, ": ", message));
    });
    skipped.resume(x_position.step * update_images + x_position.unreadable, x_position.unreadable);
    const auto loader = x_loader(source, (steps - x_position.step) * update_images / ranks.size(), epoch_steps * update_images,
                                 x_position.step * update_images, skips, token);

    x_Rendered rendered = x_rendered(*loader);
    RunSummary summary;
    Index saved = x_position.step;
    const auto save_checkpoint_here = [&] {
      x_require_sound(source);
      if (x_options.checkpoint.empty() || saved == x_position.step) return;
      static_cast<void>(done_on_all(ranks, [&] {
        if (ranks.first()) save(x_options.checkpoint);
        return true;
      }));
      saved = x_position.step;
    };
    bool stopped = ranks.any(token.stop_requested());
    while (x_position.step < steps && !stopped) {
      const auto step_began = x_clock::now();
      const double wait_before = loader->wait_seconds();
      StepReport report{.epoch = x_position.step / epoch_steps,
                        .step = x_position.step,
                        .epoch_steps = epoch_steps,
                        .steps = steps};
      const auto pass = [&] { return x_pass(report, *loader, rendered, skipped); };
      try {
        if (!x_run_step(report, pass, schedules)) break;
      } catch (const DataError&) {
        save_checkpoint_here();
        throw;
      } catch (const NonFiniteError& error) {
        throw NonFiniteError(x_with_cause(error, source));
      }
      ++x_position.step;
      x_position.unreadable = skipped.skipped();
      report.images = x_position.step * update_images;
      report.seconds = x_seconds_since(step_began);
      report.data_wait_seconds = loader->wait_seconds() - wait_before;
      report.images_per_second = static_cast<double>(update_images) / report.seconds;
      report.unreadable = x_position.unreadable;
      summary.loss = report.loss;
      const bool epoch_ends = x_position.step % epoch_steps == 0;
      if (epoch_ends) x_require_sound(source);
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

  /// Throws `RankError` where another rank runs another run.
  void x_require_same_run() const {
    if (x_options.ranks.alone()) return;
    std::string options;
    for_each_option(x_options, [&](std::string_view name, const auto& value) {
      options += join(name, " ", detail::exact_text(value), "\n");
    });
    const std::pair<std::string_view, std::string> things[]{
        {"recipe", x_recipe},
        {"options", options + join(x_options.checkpoint.empty(), " ", x_options.checkpoint_steps, " ", x_options.max_unreadable)},
        {"images", x_position.dataset},
        {"steps done", join(x_position.step, " ", x_position.unreadable)}};
    require_same_run(x_options.ranks, x_step, std::span(things));
  }

  void x_require_untaught() const {
    if (x_position.step > 0) {
      throw Error(join("teach_with: ", x_position.step, " steps were made already; expected the teacher's weights before the first"));
    }
  }
  using x_clock = std::chrono::steady_clock;
  using Loader = OrderedLoader<SampleViews>;

  /// What makes the views where the backend can.
  static constexpr bool x_renders = RendersViews<B>;
  struct x_none {};
  using x_Rendered = std::conditional_t<x_renders, std::unique_ptr<RenderedViews<B>>, x_none>;

  /// Remembers which images the run is of. Throws `DataError` where a resumed one was of others.
  void x_require_same_images(const SourceView& source) {
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

  static double x_seconds_since(x_clock::time_point start) {
    return std::chrono::duration<double>(x_clock::now() - start).count();
  }

  [[nodiscard]] typename Step::Options x_step_options() const {
    return {.shape = x_making.shape,
            .accumulate = x_options.accumulate,
            .prototypes = x_options.prototypes,
            .stochastic_depth = x_options.stochastic_depth,
            .recompute = x_options.recompute,
            .stream_views = x_options.stream_views,
            .render_bytes = x_options.views_on == ViewsOn::device ? ViewSheet::work_bytes : 0,
            .seed = x_options.seed,
            .loss = x_options.loss,
            .optimiser = x_options.optimiser,
            .ranks = x_options.ranks};
  }

  /// Makes views ahead of their use, in the order of the run, from its sample number `first` on: of each pass the samples
  /// rank + size * i, `count` of them in all.
  [[nodiscard]] std::unique_ptr<Loader> x_loader(const SourceView& source, Index count, Index epoch_images, Index first,
                                                 const SkipPolicy& skips, std::stop_token token) const {
    const auto order = std::make_shared<EpochOrder>(source.size(), x_options.seed);
    const bool packed = x_options.views_on == ViewsOn::device;
    const Index size = x_options.ranks.size(), rank = x_options.ranks.rank(), own = x_options.rank_batch();
    auto produce = [this, &source, order, skips, packed, epoch_images, first, size, rank,
                    own](Index i) -> std::optional<SampleViews> {
      const Index number = first + i / own * own * size + i % own * size + rank;
      const Index epoch = number / epoch_images;
      SampleViews out;
      const Index wanted = (*order)(epoch, number % epoch_images);
      const auto matching = x_matching{source, x_making.shape.channels};
      const HeldImage image = load_readable(out.skipped, out.index, matching, wanted, skips);
      // Keyed by the sample that was asked for: a stand-in seen twice in an epoch gets views of its own.
      const RandomKey key{.seed = x_options.seed,
                          .epoch = static_cast<std::uint32_t>(epoch),
                          .sample = static_cast<std::uint64_t>(wanted)};
      (packed ? x_making.make_packed : x_making.make)(out, image.view(), key);
      out.index = wanted;
      return out;
    };
    const LoaderOptions loading{
        .prefetch = x_options.prefetch > 0 ? x_options.prefetch : 2 * own,
        .threads = x_options.loader_threads};
    return std::make_unique<Loader>(count, std::move(produce), loading, std::move(token));
  }

  /// A source whose images have the wanted number of channels, or are unreadable.
  struct x_matching {
    const SourceView& source;
    Index channels;
    [[nodiscard]] Index size() const { return source.size(); }
    [[nodiscard]] std::string name(Index i) const { return source.name(i); }
    [[nodiscard]] HeldImage load(Index i) const { return with_channels(source.hold(i), channels, source.name(i)); }
  };

  /// What renders the views of a run; nothing where the host makes them.
  [[nodiscard]] x_Rendered x_rendered([[maybe_unused]] Loader& loader) const {
    if constexpr (x_renders) {
      if (x_options.views_on == ViewsOn::host) return nullptr;
      std::vector<TensorView<T, 4>> inputs;
      for (Index v = 0; v < x_step.options().shape.view_count(); ++v) inputs.push_back(x_step.view_input(v));
      return std::make_unique<RenderedViews<B>>(x_step.backend(), std::move(inputs), [&loader] { return loader.next(); });
    } else {
      return {};
    }
  }

  /// A batch, forward and backward. False when the loader was stopped before it had all its images.
  bool x_pass(StepReport& report, Loader& loader, [[maybe_unused]] x_Rendered& rendered, SkipCounter& skipped) {
    const Communicator& ranks = x_options.ranks;
    // Keyed by the first image of the batch, that of all ranks, which an epoch has once.
    const auto draw_masks = [&](Index first) {
      if (!x_making.masks.draw) return;
      RandomStream random({.seed = x_options.seed,
                           .epoch = static_cast<std::uint32_t>(report.epoch),
                           .sample = static_cast<std::uint64_t>(first),
                           .purpose = Purpose::masks});
      x_making.masks.draw(x_batch.masks, random);
    };
    const auto put = [&](Index b, const SampleViews& sample) {
      // Ranks judge by what all of them met, once it is known.
      ranks.alone() ? skipped.count(sample.skipped) : skipped.meet(sample.skipped);
      put_sample(x_batch, b, sample);
    };
    if constexpr (x_renders) {
      if (rendered) {
        const std::span<const SampleViews> samples = rendered->render();
        if (samples.empty()) return false;
        for (std::size_t b = 0; b < samples.size(); ++b) put(static_cast<Index>(b), samples[b]);
        draw_masks(x_batch.samples[0]);
        x_step.start_pass(x_batch, report.teacher_temperature);
        rendered->take();  // the next batch, while the device works
        x_step.finish_pass(report);
        return true;
      }
    }
    const Index asked = skipped.asked(), passed_over = skipped.skipped();
    const bool loaded = done_on_all(ranks, [&] {
      for (Index b = 0; b < x_options.rank_batch(); ++b) {
        const auto sample = loader.next();
        if (!sample) return false;
        put(b, *sample);
      }
      return true;
    });
    if (!loaded) return false;
    draw_masks(ranks.alone() ? x_batch.samples[0] : x_count_ranks(skipped, skipped.asked() - asked, skipped.skipped() - passed_over));
    x_step.start_pass(x_batch, report.teacher_temperature);  // ranks exchange in its midst: what it throws is for `fit` to tell
    return done_on_all(ranks, [&] {
      x_step.finish_pass(report);
      return true;
    });
  }

  /// Counts what the other ranks loaded beside so many images of this one. Gives the first sample of the whole batch. Throws
  /// `DataError` where all ranks together met too many unreadable images, the same on each.
  [[nodiscard]] Index x_count_ranks(SkipCounter& skipped, Index asked, Index passed_over) const {
    struct Loaded {
      Index first, asked, skipped;
    };
    const std::vector<Loaded> all = x_options.ranks.all_say(Loaded{x_batch.samples[0], asked, passed_over});
    Index all_asked = 0, all_skipped = 0;
    for (const Loaded& rank : all) {
      all_asked += rank.asked;
      all_skipped += rank.skipped;
    }
    skipped.count_elsewhere(all_asked - asked, all_skipped - passed_over);
    if (all_skipped > 0 && !skipped.borne()) {
      using detail::RankOutcome;
      std::string last;
      for (const RankOutcome& rank : x_options.ranks.all_say(RankOutcome::of(RankOutcome::Kind::data, skipped.last()))) {
        if (rank.words[0] != 0) last = rank.words.data();
      }
      throw skipped.too_many(last);
    }
    return all.front().first;
  }

  /// Throws `NonFiniteError` where what lasts, as the last update left it, is not finite or gives no finite loss on its
  /// batch.
  void x_require_sound(const SourceView& source) {
    if (x_sound_steps == x_position.step) return;
    const auto of_no_use = [&](const std::string& why) {
      return NonFiniteError(join("the weights after step ", x_position.step, " are of no use, and were not saved: ", why));
    };
    if (const std::string tensor = non_finite_tensor(x_step); !tensor.empty()) throw of_no_use(tensor + " is not finite");
    StepReport look;
    x_step.begin();
    try {
      x_step.start_pass(x_batch, x_teacher_temperature);
      static_cast<void>(done_on_all(x_options.ranks, [&] {
        x_step.finish_pass(look);
        return true;
      }));
    } catch (const NonFiniteError& error) {
      throw of_no_use(x_with_cause(error, source));
    }
    x_sound_steps = x_position.step;
  }

  /// The words of an error of a step, and where they can be told the view or the tensor that it came from.
  [[nodiscard]] std::string x_with_cause(const NonFiniteError& error, const SourceView& source) const {
    std::string cause = x_non_finite_view(source);
    if (cause.empty()) cause = non_finite_tensor(x_step);
    return cause.empty() ? error.what() : join(error.what(), "; found not finite: ", cause);
  }

  /// "view 1 of <image>": the first view of the last batch with a pixel that is not finite; empty where there is none.
  [[nodiscard]] std::string x_non_finite_view(const SourceView& source) const {
    std::vector<T> pixels;
    for (Index v = 0; v < x_step.options().shape.view_count(); ++v) {
      const TensorView<T, 4> views = x_step.view_input(v);
      const Index batch = x_options.rank_batch();
      pixels.resize(static_cast<std::size_t>(views.size() / batch));
      for (Index b = 0; b < batch; ++b) {
        x_step.backend().download(std::span<T>(pixels),
                                  static_cast<const T*>(views.data()) + b * static_cast<Index>(pixels.size()));
        if (detail::all_finite(std::span<const T>(pixels))) continue;
        return join("view ", v, " of ", x_name_of_used(source, x_batch.samples[static_cast<std::size_t>(b)]));
      }
    }
    return {};
  }

  /// The name of an image, or of the one that stood in for it where it cannot be read.
  [[nodiscard]] std::string x_name_of_used(const SourceView& source, Index wanted) const {
    std::vector<SkippedImage> skipped;
    Index used = wanted;
    try {
      static_cast<void>(load_readable(skipped, used, x_matching{source, x_making.shape.channels}, wanted));
    } catch (const Error&) {  // it could be read before, and cannot be any more
      used = wanted;
    }
    return source.name(used);
  }

  /// One update of `accumulate` passes. False when one of them found no images; nothing is changed then.
  template <class Pass>
  bool x_run_step(StepReport& report, const Pass& pass, const RunSchedules& schedules) {
    const Index step = x_position.step;
    report.learning_rate = schedules.learning_rate(step);
    report.weight_decay = schedules.weight_decay(step);
    report.teacher_momentum = schedules.momentum(step);
    report.teacher_temperature = schedules.temperature(report.epoch);
    x_teacher_temperature = report.teacher_temperature;
    x_batch.epoch = report.epoch;
    x_step.begin();
    for (Index done = 0; done < x_options.accumulate; ++done) {
      if (!pass()) return false;
    }
    x_step.update(report, {.optimiser = {.learning_rate = report.learning_rate,
                                         .weight_decay = report.weight_decay,
                                         .step = step,
                                         .frozen_steps = schedules.frozen_steps},
                           .teacher_momentum = report.teacher_momentum});
    x_step.inspect(report);
    x_watch(report);
    return true;
  }

  /// Says that a run collapsed once it has looked so for `collapse_patience` steps.
  void x_watch(StepReport& report) {
    const Index prototypes = x_step.config().head.prototypes;
    Collapse seen = Collapse::none;
    bool any_prototypes = false;
    std::string advice;
    for (const TermReport& term : report.each_term()) {
      any_prototypes = any_prototypes || std::isfinite(term.teacher_entropy);
      if (seen != Collapse::none) continue;
      seen = collapse_of(term, prototypes);
      if (seen != Collapse::none) advice = advice_for(seen, term, prototypes);
    }
    if (!any_prototypes) seen = collapse_of_spread(report.feature_spread, x_step.config().backbone.width);
    x_position.collapsed_steps = seen == Collapse::none ? 0 : x_position.collapsed_steps + 1;
    if (x_position.collapsed_steps < x_options.collapse_patience) return;
    report.collapse = seen;
    report.advice = advice.empty() ? advice_for(seen) : advice;
    if (x_position.collapsed_steps == x_options.collapse_patience && x_options.ranks.first()) x_warn(report.advice);
  }

  void x_warn(std::string_view message) const {
    if (x_on_warning) x_on_warning(message);
  }

  [[nodiscard]] BackboneWeights<T> x_backbone(VectorView<T> flat) const {
    BackboneWeights<T> out;
    Kind::Backbone::add_parameters(out.layout, x_step.config().backbone, learned_tokens<Kind>, "");
    out.values.resize(static_cast<std::size_t>(out.layout.total()));
    // The backbone's parameters are the first of the network's, in the same order.
    x_step.backend().download(std::span<T>(out.values), static_cast<const T*>(flat.data()));
    return out;
  }

  Options x_options;
  SampleMaking x_making;
  Step x_step;
  std::string x_recipe;
  ViewBatch x_batch;
  RunPosition x_position;
  Index x_sound_steps = 0;           // steps after which the weights were known to give a finite loss
  double x_teacher_temperature = 1;  // of the last step
  std::function<Continue(const StepReport&)> x_on_step;
  std::function<Continue(const StepReport&)> x_on_epoch;
  std::function<void(std::string_view)> x_on_warning;
};

}  // namespace dssl
