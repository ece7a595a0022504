// The training run of a kind of network: its step, and the loop that runs it.
// Tests: tests/train/trainer.cpp, tests/train/short_runs.cpp.
#pragma once

#include <algorithm>
#include <concepts>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/train/any_step.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/run_loop.hpp>
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
/// in dssl::cpu (dssl/instances.hpp); what does not depend on the kind is `RunLoop`.
template <class Kind, Backend B>
class TrainingRun {
 public:
  using T = typename B::Scalar;
  using Step = BasicTrainingStep<Kind, B>;
  using Options = BasicTrainerOptions<typename Kind::Loss::Options>;

  /// Allocates everything the run needs and draws the initial weights. `options` are valid, `recipe` is what checkpoints
  /// must agree with.
  TrainingRun(Options options, const B& backend, SampleMaking making, const typename Step::Config& config,
              std::string recipe);
  TrainingRun(TrainingRun&&) = default;
  TrainingRun& operator=(TrainingRun&&) = default;
  ~TrainingRun();

  /// Called after every step; `dssl::stop` ends the run after a checkpoint.
  void on_step(std::function<Continue(const StepReport&)> callback) { x_loop.on_step(std::move(callback)); }
  /// Called after the last step of every epoch, with that step's report.
  void on_epoch(std::function<Continue(const StepReport&)> callback) { x_loop.on_epoch(std::move(callback)); }
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
  void on_warning(std::function<void(std::string_view)> callback) { x_loop.on_warning(std::move(callback)); }

  [[nodiscard]] const Options& options() const { return x_options; }
  [[nodiscard]] const MemoryPlan& memory_plan() const { return x_step.memory_plan(); }
  /// The recipe in words; checkpoints carry it.
  [[nodiscard]] const std::string& recipe() const { return x_loop.recipe(); }
  [[nodiscard]] Step& step() { return x_step; }
  [[nodiscard]] const Step& step() const { return x_step; }
  /// Updates made so far.
  [[nodiscard]] Index steps_done() const { return x_loop.steps_done(); }

  /// Weights of the backbone under their published names.
  [[nodiscard]] BackboneWeights<T> teacher() const { return x_backbone("teacher", x_step.teacher()); }
  [[nodiscard]] BackboneWeights<T> student() const { return x_backbone("student", x_step.student()); }

  /// Writes a checkpoint, whole or not at all. Throws `FileError`. Where the run is sharded (`Options::shard`) all ranks call
  /// it, and the first writes.
  void save(const std::string& path) const;

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
  void resume(const std::string& path);

  /// Goes on from a checkpoint of a run of fewer epochs, a finished one too; all other options must be the same.
  ///
  /// From its next step on, learning rate, weight decay and the teacher's momentum are those that a run of all the
  /// epochs has at that step: after a finished run the learning rate, which had fallen to its end, rises again to where
  /// the longer cosine stands, and the momentum falls back from its end likewise. So the extended run is not the run that
  /// had so many epochs from its beginning; it is determined by the checkpoint and the options all the same, and its own
  /// checkpoints are resumed as usual. Warm-ups are counted in epochs and are not repeated. Throws `CheckpointError`.
  /// Test: tests/train/short_runs.cpp.
  void extend(const std::string& path);

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
  RunSummary fit(const SourceView& source, std::stop_token token = {});

 private:
  void x_require_untaught() const {
    if (steps_done() > 0) {
      throw Error(join("teach_with: ", steps_done(), " steps were made already; expected the teacher's weights before the first"));
    }
  }
  [[nodiscard]] static typename Step::Options x_step_options(const Options& options, const BatchShape& shape);
  [[nodiscard]] BackboneWeights<T> x_backbone(std::string_view call, VectorView<T> flat) const;

  Options x_options;
  Step x_step;
  RunLoop x_loop;  // after the step, which says what does not fit
};

// Not in the class: where a kind is compiled elsewhere, its users' translation units leave them out whole.

template <class Kind, Backend B>
TrainingRun<Kind, B>::TrainingRun(Options options, const B& backend, SampleMaking making, const typename Step::Config& config,
                                  std::string recipe)
    : x_options(std::move(options)),
      x_step(backend, x_step_options(x_options, making.shape), config),
      x_loop(run_options(x_options), std::move(making), std::move(recipe)) {
  initialise(backend, x_step.student(), x_step.layout(), x_options.seed);
  if constexpr (Kind::Loss::teacher_weights) backend.copy(x_step.teacher(), x_step.student());
  if constexpr (Kind::Loss::snapshots > 0) backend.copy(x_step.snapshot(), x_step.student());
}

template <class Kind, Backend B>
TrainingRun<Kind, B>::~TrainingRun() = default;

template <class Kind, Backend B>
void TrainingRun<Kind, B>::save(const std::string& path) const {
  const LastingStateOf state(x_step);
  state.gather();
  if (!x_step.sharded() || x_options.ranks.first()) x_loop.save(state, path);
}

template <class Kind, Backend B>
void TrainingRun<Kind, B>::resume(const std::string& path) {
  x_loop.resume(LastingStateOf(x_step), path, false);
}

template <class Kind, Backend B>
void TrainingRun<Kind, B>::extend(const std::string& path) {
  x_loop.resume(LastingStateOf(x_step), path, true);
}

template <class Kind, Backend B>
RunSummary TrainingRun<Kind, B>::fit(const SourceView& source, std::stop_token token) {
  StepOf<Step> step(x_step);
  return x_loop.fit(step, source, std::move(token));
}

template <class Kind, Backend B>
typename BasicTrainingStep<Kind, B>::Options TrainingRun<Kind, B>::x_step_options(const Options& options, const BatchShape& shape) {
  return {.shape = shape,
          .accumulate = options.accumulate,
          .prototypes = options.prototypes,
          .stochastic_depth = options.stochastic_depth,
          .recompute = options.recompute,
          .stream_views = options.stream_views,
          .render_bytes = options.views_on == ViewsOn::device ? ViewSheet::work_bytes : 0,
          .seed = options.seed,
          .loss = options.loss,
          .optimiser = options.optimiser,
          .ranks = options.ranks,
          .reduce = options.reduce,
          .bucket_bytes = options.bucket_bytes,
          .shard = options.shard};
}

template <class Kind, Backend B>
BackboneWeights<typename B::Scalar> TrainingRun<Kind, B>::x_backbone(std::string_view call, VectorView<T> flat) const {
  x_loop.require_present(call);
  BackboneWeights<T> out;
  Kind::Backbone::add_parameters(out.layout, x_step.config().backbone, learned_tokens<Kind>, "");
  out.values.resize(static_cast<std::size_t>(out.layout.total()));
  // The backbone's parameters are the first of the network's, in the same order.
  x_step.backend().download(std::span<T>(out.values), static_cast<const T*>(flat.data()));
  return out;
}

}  // namespace dssl
