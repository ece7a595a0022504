// One training step: teacher and student forward, the terms of the loss, backward, update.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/rehearsal.hpp>
#include <dssl/backend/replay.hpp>
#include <dssl/concepts.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/rank_part.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/optim/optimiser.hpp>
#include <dssl/train/frozen_teacher.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/snapshot.hpp>
#include <dssl/train/step_exchange.hpp>
#include <dssl/train/step_options.hpp>
#include <dssl/train/student_part.hpp>
#include <dssl/train/teacher_draws.hpp>
#include <dssl/train/term_runs.hpp>
#include <dssl/train/view_batch.hpp>
#include <dssl/train/view_pass.hpp>

namespace dssl {

/// A student, its teacher, their optimiser and all buffers of a step, laid out once in one block of memory.
///
/// A step is `begin`, `accumulate` calls of `forward_backward`, then one `update`. Nothing is allocated after construction.
/// The result depends on the weights, the batches and the options alone, not on the number of threads.
/// Tests: fixtures `training_*`; central differences of a whole tiny model (tests/train).
template <class Kind, Backend B>
class BasicTrainingStep {
 public:
  using T = typename B::Scalar;
  using Backbone = typename Kind::Backbone;
  using Tokens = typename Kind::Tokens;
  using Loss = typename Kind::Loss;

  static_assert(!Loss::reads.points || Tokens::point_features != PointFeatures::none,
                "the loss reads points but the token scheme has no point features: "
                "use with_tokens<ReferenceTokens<>> or with_tokens<FeatureMap>, or with_loss<ImageLoss>");
  static_assert(PlacesInputs<Backbone, B>,
                "with_backbone: the backbone's inputs have no place() for this backend, see PlacesInputs in dssl/concepts.hpp");
  static_assert(GoesForward<Backbone, B>,
                "with_backbone: the backbone has no forward() for this backend, see GoesForward in dssl/concepts.hpp");
  static_assert(GoesBackward<Backbone, B>,
                "with_backbone: the backbone has no backward() for this backend, see GoesBackward in dssl/concepts.hpp");

  static_assert(!Loss::reads.points || Tokens::point_features != PointFeatures::reference_tokens || PlacesPoints<Backbone>,
                "the token scheme has reference tokens, but the backbone places none, see PlacesPoints in dssl/concepts.hpp: "
                "use with_tokens<FeatureMap>");
  static_assert(content_of<Tokens> == PointContent::none || ReadsContent<Backbone>,
                "the token scheme's references begin with content, but the backbone reads none, see ReadsContent in "
                "dssl/concepts.hpp: use with_tokens<ReferenceTokens<>>");
  static_assert(!Loss::reads.masked || MasksTokens<Backbone>,
                "the loss reads masked patches, but the backbone masks none, see MasksTokens in dssl/concepts.hpp");

  using Config = NetworkConfigOf<Kind>;
  using Options = BasicStepOptions<typename Loss::Options>;

  /// Throws `OptionError` if the batch shape does not fit the network.
  BasicTrainingStep(const B& backend, const Options& options, const Config& config)
      : x_backend(backend),
        x_options(options),
        x_config(config),
        x_layout(network_layout<Kind>(x_config)),
        x_draws(options.shape, options.seed),
        x_exchange(x_shared(), x_layout) {
    x_validate();
    x_make_passes();
    x_terms.emplace(x_setting(), options.loss);
    x_keep_host.resize(x_keep_count());
    x_norms_host.resize(x_layout.size());
    x_norms_of_part.resize(x_layout.size());
    x_features_host.resize(static_cast<std::size_t>(x_spread_rows() * x_config.backbone.width));
    if constexpr (Loss::reads.points) x_taps_host.reserve(static_cast<std::size_t>(2 * x_batch() * x_views() * x_points()));
    if constexpr (!std::is_same_v<T, float>) {
      Index largest = 0;
      for (const ViewSize& view : options.shape.views) largest = std::max(largest, view.height * view.width);
      largest = std::max(largest, options.shape.snapshot_view.height * options.shape.snapshot_view.width);
      x_staging.reserve(static_cast<std::size_t>(x_batch() * options.shape.channels * largest));
    }
    x_buffer = allocate_planned(
        backend, x_plan, [this](Arena& arena) { x_place(arena); }, [this] { x_rehearse(); }, options.render_bytes);
    Arena live(x_buffer);
    x_place(live);
    if (const std::size_t room = x_exchange.room(); room > 0) x_plan.entries.push_back({"gradients between ranks", room});
  }

  [[nodiscard]] const B& backend() const { return x_backend; }
  [[nodiscard]] const Options& options() const { return x_options; }
  [[nodiscard]] const Config& config() const { return x_config; }
  [[nodiscard]] const ParameterLayout& layout() const { return x_layout; }
  [[nodiscard]] const MemoryPlan& memory_plan() const { return x_plan; }

  /// Flat buffers in the backend's memory, laid out by `layout()`. Where no term has a teacher with weights of its own,
  /// `teacher` is `student`.
  [[nodiscard]] VectorView<T> student() const { return x_student_weights; }
  [[nodiscard]] VectorView<T> teacher() const { return x_teacher_weights; }
  [[nodiscard]] VectorView<T> gradients() const { return x_gradient_buffer; }
  /// Weights of the copy of the teacher that a term with a `Snapshot` is held to; empty where there is none.
  [[nodiscard]] VectorView<T> snapshot() const {
    if constexpr (x_snapshots) return x_snapshot.weights();
    return {};
  }
  /// The teacher whose weights are given (`give`) and never move, where a term has one.
  [[nodiscard]] const auto& frozen() const
    requires(Loss::has_frozen)
  {
    return x_frozen;
  }
  [[nodiscard]] auto& frozen()
    requires(Loss::has_frozen)
  {
    return x_frozen;
  }
  /// One of all weights; where `sharded`, one of this rank's part of each range (`StepExchange::ranges`).
  [[nodiscard]] std::span<const OptimiserState<T>> optimiser_states() const { return x_optimisers; }
  [[nodiscard]] const StepExchange<B>& exchange() const { return x_exchange; }
  [[nodiscard]] bool sharded() const { return x_exchange.sharded(); }
  /// Calls `f(name, view, shape)` for every lasting tensor of the terms, as centres.
  void for_each_term_state(const detail::StateVisitor<T>& f) const {
    x_terms->each([&](auto, const auto& run, std::size_t) { run.for_each_state(f); });
  }
  /// One of them by its name in checkpoints; empty where there is none.
  [[nodiscard]] VectorView<T> term_state(std::string_view name) const {
    VectorView<T> out;
    for_each_term_state([&](std::string_view known, VectorView<T> state, const std::vector<Index>&) {
      if (known == name) out = state;
    });
    return out;
  }

  /// The points of the last pass that the teacher chose, and what it said; the others are the batch's.
  [[nodiscard]] const TeacherDraws<Kind, B>& teacher_draws() const { return x_draws; }

  /// Where the step reads view v of a batch: (B,C,h,w) in the backend's memory.
  [[nodiscard]] TensorView<T, 4> view_input(Index view) const { return x_inputs[static_cast<std::size_t>(view)]; }

  /// Number of multipliers that stochastic depth draws a step: depth x 2 branches x V x B sequences.
  [[nodiscard]] std::size_t keep_size() const { return x_keep_count(); }

  /// Forgets what earlier passes added up: after a pass that was not followed by `update`.
  void begin() {
    x_exchange.begin(x_options.accumulate);
    x_backend.fill(x_gradient_buffer, T{0});
    x_terms->each([&](auto, auto& run, std::size_t) { run.begin(x_backend); });
  }

  /// The same before a pass that no update follows.
  void begin_look() {
    begin();
    x_exchange.begin(0);
  }

  /// Teacher and student forward, backward; gradients and centre means add up.
  ///
  /// `keep`: multipliers of the residual branches, (depth,2,V*B), instead of drawn ones; for tests.
  /// Adds this pass's share to the losses of `report`. Throws `NonFiniteError` where a loss is not finite: the
  /// weights are untouched then.
  void forward_backward(StepReport& report, const ViewBatch& batch, double teacher_temperature,
                        std::span<const T> keep = {}) {
    start_pass(batch, teacher_temperature, keep);
    finish_pass(report);
  }

  /// The part of `forward_backward` that gives the backend its work: on a device, returns before that is done.
  ///
  /// A batch without images leaves the inputs (`view_input`) as they are.
  void start_pass(const ViewBatch& batch, double teacher_temperature, std::span<const T> keep = {}) {
    if (!(batch.shape == x_options.shape)) throw ShapeError("the batch does not have the shape the step was made for");
    if constexpr (Loss::has_frozen) x_frozen.require_given();
    x_upload(batch, keep);
    const PassNumbers numbers{.teacher_temperature = teacher_temperature, .epoch = batch.epoch};
    if constexpr (x_snapshots) x_snapshot.run(x_backend, *x_terms, x_networks.teacher, x_config, numbers);
    if constexpr (Loss::has_frozen) x_frozen.run(x_backend, *x_terms, x_networks, numbers);
    // Where ranks exchange numbers in the midst of a pass, there is more to it than primitives.
    [[maybe_unused]] const bool alone = x_options.ranks.alone();
    if constexpr (Loss::teacher_pass) {
      const double key = TermRuns<Loss, B>::teacher_reads_numbers ? teacher_temperature : 0;
      const auto run_teacher = [&] { x_run_teacher(numbers, batch); };
      if constexpr (Loss::reads.masked) {
        run_teacher();  // other rows are read in every step
      } else {
        if (alone && !x_draws.any()) {  // points are drawn by the host
          replay(x_backend, x_teacher_replay, key, run_teacher);
        } else {
          run_teacher();
        }
      }
    }
    const auto run_student = [&] { x_run_student(numbers); };
    // Else other rows take part in every step.
    const bool repeats =
        alone && keep.empty() && x_options.stochastic_depth == 0 && !Loss::reads.masked && x_terms->repeat();
    if (repeats) return replay(x_backend, x_student_replay, teacher_temperature, run_student);
    x_exchange.pass(x_backend, x_gradient_buffer, [&](const BlockDone* done) { x_run_student(numbers, done); });
  }

  /// The other part: waits, and adds to the losses of `report`. Throws `NonFiniteError`.
  void finish_pass(StepReport& report) {
    const bool checked = x_options.shape.checked_points;
    if (report.term_count == 0) {
      x_terms->start(report);
      if (checked) report.valid_points = 0;
    }
    if (checked) report.valid_points += x_valid_points / static_cast<double>(x_options.accumulate * x_options.ranks.size());
    report.loss = 0;
    x_terms->each([&](auto, auto& run, std::size_t i) {
      run.add_to(x_backend, report.terms[i]);
      report.loss += x_terms->weight(i) * report.terms[i].loss;
    });
  }

  /// Optimiser, teacher, centres, of the passes of all ranks; `report` tells of all of them then. Throws `NonFiniteError`
  /// naming the first parameter whose gradient is not finite, with all weights as they were.
  void update(StepReport& report, const UpdateNumbers& now) {
    if (!x_options.ranks.alone()) x_add_ranks(report);
    x_measure();
    double squares = 0;
    for (std::size_t i = 0; i < x_norms_host.size(); ++i) {
      if (!std::isfinite(x_norms_host[i])) {
        throw NonFiniteError(join("the gradient of ", x_layout.specs()[i].name.view(),
                                  " is not finite; lower the learning rate or clip gradients"));
      }
      squares += x_norms_host[i];
    }
    report.gradient_norm = std::sqrt(squares);
    for (const OptimiserState<T>& state : x_optimisers) {
      x_norms_of_part = x_norms_host;
      state.share_norms(x_backend, x_norms_of_part, sharded());
    }
    if (sharded()) {
      x_update_parts(now);
    } else {
      x_optimisers.front().update(x_backend, x_student_weights, x_followers(), x_gradient_buffer, x_options.optimiser,
                         now.optimiser, now.teacher_momentum);
    }
    if constexpr (x_snapshots) x_snapshot.take(x_backend, x_teacher_weights, *x_terms, x_options.loss, now.optimiser.step);
    x_terms->each([&](auto, auto& run, std::size_t) { run.update(x_backend); });
  }

  /// Diagnostics that need a look at features and centres; after the last `forward_backward` of a step. Throws
  /// `NonFiniteError` where a centre is not finite.
  void inspect(StepReport& report) {
    const Index width = x_config.backbone.width;
    const Index rows = x_spread_rows();
    x_backend.download(std::span<T>(x_features_host), static_cast<const T*>(x_watched().activations().out.data()));
    report.feature_spread = spread_of(MatrixView<T>(x_features_host.data(), rows, width), x_options.ranks);
    x_terms->each([&](auto, auto& run, std::size_t i) { run.inspect(x_backend, report.terms[i]); });
  }

 private:
  static constexpr bool x_snapshots = Loss::snapshots > 0;
  /// Whether a snapshot is read where the student's views say, which it has to see then.
  static constexpr bool x_snapshot_reads_places = Loss::snapshot_reads.masked || Loss::snapshot_reads.points;
  using x_Pass = ViewPass<Kind, B>;
  using x_Part = StudentPart<Kind, B>;
  using x_Draws = TeacherDraws<Kind, B>;

  [[nodiscard]] Index x_views() const { return x_options.shape.view_count(); }
  [[nodiscard]] Index x_batch() const { return x_options.shape.batch; }
  [[nodiscard]] Index x_points() const { return x_options.shape.points; }
  [[nodiscard]] std::size_t x_keep_count() const {
    return static_cast<std::size_t>(2 * depth_of(x_config.backbone) * x_views() * x_batch());
  }
  /// The pass whose features' spread is watched: the teacher's, or where there is none the student's last part that ran.
  [[nodiscard]] const x_Pass& x_watched() const {
    if constexpr (Loss::teacher_pass) return x_teacher_pass;
    return x_parts[x_last_part()].pass();
  }
  /// The part of the student's pass that runs last.
  [[nodiscard]] std::size_t x_last_part() const {
    std::size_t part = x_parts.size() - 1;
    while (part > 0 && !x_terms->read_part(part)) --part;
    return part;
  }
  /// Rows of it that are watched: the class tokens, or where there are none whatever comes first.
  [[nodiscard]] Index x_spread_rows() const { return std::min(2 * x_batch(), x_watched().tokens().read_count()); }
  /// Weights that follow the student's; empty where none do.
  [[nodiscard]] VectorView<T> x_followers() const {
    return Loss::teacher_weights ? x_teacher_weights : VectorView<T>{};
  }

  /// Squared norms of the gradients on the host, a tensor each, whoever has parts of it.
  void x_measure() {
    std::fill(x_norms_host.begin(), x_norms_host.end(), 0.0);
    for (const OptimiserState<T>& state : x_optimisers) {
      state.measure(x_backend, state.part_of(x_gradient_buffer));
      x_backend.download(std::span<double>(x_norms_of_part), state.squared_norms().data());
      for (std::size_t i = 0; i < x_norms_host.size(); ++i) x_norms_host[i] += x_norms_of_part[i];
    }
    if (sharded()) x_options.ranks.all_sum(std::span<double>(x_norms_host));
  }
  /// The weights of this rank's parts, then of all of them; the teacher follows on every rank, whose passes need it whole.
  void x_update_parts(const UpdateNumbers& now) {
    for (const OptimiserState<T>& state : x_optimisers) {
      state.update(x_backend, state.part_of(x_student_weights), VectorView<T>{}, state.part_of(x_gradient_buffer),
                   x_options.optimiser, now.optimiser, 1.0);
    }
    x_exchange.gather(x_backend, x_student_weights);
    if (Loss::teacher_weights) x_backend.lerp(x_teacher_weights, x_student_weights, now.teacher_momentum);
  }
  /// Gradients and figures of all ranks, which are shares of the whole update's each.
  void x_add_ranks(StepReport& report) {
    x_exchange.sum(x_backend, x_gradient_buffer);
    const bool checked = x_options.shape.checked_points;
    std::array<double, most_terms> weights{};
    std::array<bool, most_terms> counted{};
    x_terms->each([&]<class Term>(std::type_identity<Term>, auto&, std::size_t i) {
      weights[i] = x_terms->weight(i);
      counted[i] = Term::reads.student.masked || (Term::reads.student.points && checked);
    });
    detail::add_over_ranks(report, x_options.ranks, weights, counted, checked);
  }

  [[nodiscard]] SharedStep x_shared() const {
    return {x_options.ranks, x_options.reduce, x_options.bucket_bytes, x_options.shard};
  }

  void x_validate() const {
    detail::require_shared_step(x_shared(), x_options.optimiser.kind, Rehearses<B>, devices_add<B>(x_options.ranks),
                                Loss::within_rank);
    if (x_options.recompute && !x_Pass::recomputes) throw OptionError("recompute", "true", "false with this backbone");
    if (x_options.stream_views && x_config.head.batch_norm) {
      throw OptionError("stream_views", "true",
                        "false where heads have batch norm: its statistics are those of all views' rows at once");
    }
    if constexpr (Loss::whole == Whole::batch) {
      if (x_options.stream_views) {
        throw OptionError("stream_views", "true", "false: a term of the loss compares all views of the batch at once");
      }
    }
    if (x_options.shape.checked_points && !Loss::takes_all_points.empty()) {
      throw OptionError("views", "with points that may not be valid",
                        join("views whose shared points all are: the term '", Loss::takes_all_points, "' compares every point"));
    }
    if (!x_options.shape.framed && !Loss::asks_frames.empty()) {
      throw OptionError("views", "turned or seen at an angle",
                        join("boxes of the image: the term '", Loss::asks_frames, "' asks where patches lie by them"));
    }
    if (const std::string_view twice = name_given_twice(x_layout); !twice.empty()) {
      throw OptionError("loss", join("with two parameters '", twice, "'"), "terms whose heads have names of their own");
    }
    if (x_options.shape.has_snapshot_views() && (!x_snapshots || x_snapshot_reads_places || !Loss::resizes_snapshots)) {
      throw OptionError("snapshot_view", join(x_options.shape.snapshot_view.height, " x ", x_options.shape.snapshot_view.width),
                        "0 x 0 where no term is held to the map of a Snapshot, or a term does not resize it");
    }
    x_options.shape.validate(x_config.backbone.channels, x_config.backbone.patch, Loss::reads.points, Loss::reads.masked);
  }

  void x_make_passes() {
    const BatchShape& shape = x_options.shape;
    x_teacher_pass = x_Pass(shape, 0, 2, x_views() * x_points(), x_config.backbone.patch, Loss::teacher_reads | x_draws.reads(), registers_of(x_config.backbone));
    if constexpr (x_snapshots) x_snapshot = {shape, x_config};
    if constexpr (Loss::has_frozen) x_frozen = {shape, frozen_sizes<Loss>(x_config), x_config.backbone.patch};
    const Index views = x_options.stream_views ? 1 : x_views();
    for (Index first = 0; first < x_views(); first += views) {
      x_parts.emplace_back(x_parts.size(), shape, first, views, x_config);
    }
  }

  [[nodiscard]] TermSetting x_setting() const {
    TermSetting out{.batch = x_batch(),
                    .views = x_views(),
                    .points = x_points(),
                    .checked_points = x_options.shape.checked_points,
                    .head = x_config.head,
                    .width = x_config.backbone.width,
                    .share = 1.0 / static_cast<double>(x_options.accumulate * x_options.ranks.size()),
                    .seed = x_options.seed,
                    .masked = x_options.shape.masked,
                    .ranks = x_options.ranks};
    const Index patch = x_config.backbone.patch;
    for (const ViewSize& view : x_options.shape.views) out.grids.push_back({view.height / patch, view.width / patch});
    for (const x_Part& part : x_parts) out.parts.push_back(part.views());
    if constexpr (Loss::has_frozen) {
      out.frozen = x_frozen.grid();
      out.frozen_width = x_frozen.sizes().width;
    }
    if (x_options.shape.has_snapshot_views()) {
      out.snapshot = {x_options.shape.snapshot_view.height / patch, x_options.shape.snapshot_view.width / patch};
    }
    return out;
  }

  /// One step in the form that needs most: matrices are largest where stochastic depth drops no branch, uploads where
  /// it drops one, since lists of rows go up then.
  void x_rehearse() {
    for (Index v = 0; v < x_views() && x_options.render_bytes == 0; ++v) {  // the source of an upload is not looked at
      x_backend.upload(view_input(v).data(), std::span<const T>(view_input(v).flat()));
    }
    if constexpr (x_snapshots) {
      for (const TensorView<T, 4>& view : x_snapshot.views()) {
        x_backend.upload(view.data(), std::span<const T>(view.flat()));
      }
    }
    ViewBatch batch = ViewBatch::of(x_options.shape, false);
    std::fill(batch.frames.begin(), batch.frames.end(), ViewFrame{{0, 0}, {1, 1}});
    if constexpr (Loss::reads.masked) {
      batch.masks.resize(static_cast<std::size_t>(2 * x_batch() * x_setting().grids[0].size()));
      std::fill_n(batch.masks.begin(), std::min(x_options.shape.masked, static_cast<Index>(batch.masks.size())), 1);
    }
    std::vector<T> keep(x_keep_count(), T{1});
    for (std::size_t s = 0; s < keep.size(); s += static_cast<std::size_t>(x_batch())) keep[s] = T{0};
    const Communicator::Quiet quiet(x_options.ranks);
    x_upload(batch, keep, true);
    std::fill(keep.begin(), keep.end(), T{1});
    StepReport report;
    if constexpr (Loss::has_frozen) x_frozen.rehearse(true);
    begin();
    forward_backward(report, batch, 1, keep);
    update(report, {});
    inspect(report);
    if constexpr (Loss::has_frozen) x_frozen.rehearse(false);
  }

  /// Lays out all memory. Runs more than once: measuring, for a rehearsal where the backend has one, then live.
  void x_place(Arena& arena) {
    const auto& backbone = x_config.backbone;
    x_student_weights = arena.vector<T>(x_layout.total());
    x_teacher_weights = Loss::teacher_weights ? arena.vector<T>(x_layout.total()) : x_student_weights;
    x_gradient_buffer = arena.vector<T>(x_layout.total());
    arena.name_part(Loss::teacher_weights ? "weights of student and teacher, gradients" : "weights of the student, gradients");
    if constexpr (x_snapshots) {
      x_snapshot.place_weights(arena, x_layout, x_config);
      arena.name_part("weights of the teacher's copy");
    }
    x_optimisers.clear();
    for (const SharedRange& range : x_exchange.ranges()) {
      x_optimisers.push_back(OptimiserState<T>::place(x_backend, arena, x_layout, x_options.optimiser, range.own()));
    }
    arena.name_part("optimiser");
    x_inputs = place_views<T>(arena, x_options.shape);
    if constexpr (Loss::teacher_pass) x_teacher_pass.place_lasting(x_backend, arena, backbone, x_inputs);
    if constexpr (x_snapshots) x_snapshot.place_lasting(x_backend, arena, x_config, x_inputs);
    for (x_Part& part : x_parts) part.place_lasting(x_backend, arena, x_config, x_inputs);
    arena.name_part("views, points and token layouts");
    if constexpr (Loss::has_frozen) {
      x_frozen.place_lasting(x_backend, arena, x_inputs);
      arena.name_part("weights of the frozen teacher");
    }
    x_terms->each([&](auto, auto& run, std::size_t) { run.place_lasting(x_backend, arena); });
    arena.name_part("centres and targets");

    // Once the heads' unit vectors are known, nothing else of the teacher's pass is needed: the student's overwrites
    // it. Its output rows stay, since the feature spread is read from them.
    std::size_t shared = arena.mark();
    if constexpr (Loss::teacher_pass) {
      const MatrixView<T> teacher_out = arena.matrix<T>(x_teacher_pass.tokens().read_count(), backbone.width);
      shared = arena.mark();
      x_teacher_pass.place_passing(arena, backbone, x_draws.saves());
      x_draws.place(arena, x_teacher_pass, backbone.width);
      x_teacher_pass.output_to(teacher_out);
      x_terms->each([&]<class Term>(std::type_identity<Term>, auto& run, std::size_t) {
        if constexpr (Term::Teacher::pass) run.place_teacher(x_backend, arena);
      });
      arena.name_part("teacher's activations");
    }
    std::size_t end = arena.mark();
    if constexpr (x_snapshots) {
      arena.rewind(shared);
      x_snapshot.place_passing(arena, x_config);
      end = std::max(end, arena.mark());
      arena.rewind(end);
      arena.name_part("activations of the teacher's copy, beyond what the teacher's left");
    }
    if constexpr (Loss::has_frozen) {  // it runs before all others, and terms copy what they read
      arena.rewind(shared);
      x_frozen.place_passing(arena);
      end = std::max(end, arena.mark());
      arena.rewind(end);
      arena.name_part("frozen teacher's activations, beyond what the teacher's left");
    }
    for (std::size_t part = 0; part < x_parts.size(); ++part) {
      if (!x_terms->read_part(part)) continue;
      arena.rewind(shared);
      x_parts[part].place_passing(x_backend, arena, x_config, *x_terms, x_options.recompute);
      end = std::max(end, arena.mark());
    }
    arena.rewind(end);
    arena.name_part(Loss::teacher_pass ? "student's activations and their gradients, beyond what the teacher's left"
                                       : "student's activations and their gradients, beyond what other passes left");

    x_networks.student = NetworkParameters<Kind, const T>::bind(x_layout, x_student_weights.data(), x_config);
    x_networks.teacher = NetworkParameters<Kind, const T>::bind(x_layout, x_teacher_weights.data(), x_config);
    x_networks.gradients = NetworkParameters<Kind, T>::bind(x_layout, x_gradient_buffer.data(), x_config);
  }

  void x_upload_view(const TensorView<T, 4>& to, std::span<const float> from) {
    require_shape(static_cast<Index>(from.size()) == to.size(), "a view of ", from.size(), " numbers; expected ", to.size());
    if constexpr (std::is_same_v<T, float>) {
      x_backend.upload(to.data(), from);
    } else {
      x_staging.assign(from.begin(), from.end());
      x_backend.upload(to.data(), std::span<const T>(x_staging));
    }
  }

  void x_upload(const ViewBatch& batch, std::span<const T> keep, bool rehearsal = false) {
    for (std::size_t v = 0; v < batch.images.size(); ++v) x_upload_view(x_inputs[v], batch.images[v]);
    if constexpr (x_snapshots) {
      const bool own_views = x_options.shape.has_snapshot_views() && !rehearsal;
      require_shape(batch.snapshot_images.size() == (own_views ? 2U : 0U), "a batch with ", batch.snapshot_images.size(),
                    " views of a snapshot's own; expected ", own_views ? 2 : 0);
      for (std::size_t v = 0; v < batch.snapshot_images.size(); ++v) {
        x_upload_view(x_snapshot.views()[v], batch.snapshot_images[v]);
      }
    }
    if (keep.empty() && x_options.stochastic_depth > 0) {
      const Index sequences = x_views() * x_batch();
      draw_keep(std::span<T>(x_keep_host), x_options.stochastic_depth, x_options.seed, batch.epoch, batch.samples, sequences);
      keep = x_keep_host;
    }
    if constexpr (Loss::teacher_pass) {
      x_teacher_pass.set_points(x_backend, batch.teacher_points, x_config.backbone, x_taps_host);
      if constexpr (Loss::reads.masked) x_teacher_pass.set_masks(x_backend, batch.masks, true, x_masked_rows);
    }
    if constexpr (x_snapshots) x_snapshot.set(x_backend, batch, x_config, x_taps_host, x_masked_rows);
    x_terms->each([&](auto, auto& run, std::size_t) { run.set_frames(x_backend, batch.frames); });
    const auto checked = static_cast<std::size_t>(x_options.shape.checked_points ? 2 * x_batch() * x_views() * x_points() : 0);
    require_shape(batch.valid.empty() || batch.valid.size() == checked, "a batch that says of ", batch.valid.size(),
                  " points whether they are valid; expected ", checked, ", or none");
    if (x_options.shape.checked_points) {
      x_terms->each([&](auto, auto& run, std::size_t) { run.set_valid(x_backend, batch.valid); });
      x_valid_points = share_of_valid(x_options.shape, batch.valid);
    }
    for (std::size_t part = 0; part < x_parts.size(); ++part) {
      if (x_terms->read_part(part)) x_parts[part].set(x_backend, batch, keep, x_config, *x_terms, x_taps_host);
    }
  }

  void x_run_teacher(const PassNumbers& numbers, [[maybe_unused]] const ViewBatch& batch) {
    x_teacher_pass.forward(x_backend, x_networks.teacher.backbone, x_config.backbone, {});
    if constexpr (x_Draws::possible) {
      if (x_draws.any()) x_draw_points(batch);
    }
    bool sampled = false;
    [[maybe_unused]] bool gathered = false;
    x_terms->each([&]<class Term>(std::type_identity<Term>, auto& run, std::size_t) {
      if constexpr (Term::Teacher::pass) {
        if (Term::reads.teacher.points && !std::exchange(sampled, true)) x_teacher_pass.sample(x_backend);
        if constexpr (Term::reads.teacher.masked) {
          if (!std::exchange(gathered, true)) x_teacher_pass.gather_masked(x_backend);
        }
        run.teacher(x_backend, TeacherPass<Term, T>{x_teacher_pass.features(Term::reads.teacher),
                                                    x_networks.teacher.template of<Term>(), numbers});
      }
    });
  }

  /// Points that the teacher chooses, in the place of those that loaders drew, and what it computes of them.
  void x_draw_points(const ViewBatch& batch)
    requires(x_Draws::possible)
  {
    x_draws.draw(x_backend, x_teacher_pass, batch, x_config.backbone);
    x_teacher_pass.set_points(x_backend, x_draws.teacher_points(), x_config.backbone, x_taps_host);
    for (x_Part& part : x_parts) part.set_points(x_backend, x_draws.student_points(), x_config, x_taps_host);
    x_teacher_pass.forward_points(x_backend, x_networks.teacher.backbone, x_config.backbone);
  }

  /// `done`: who is told of blocks whose gradients are there, or null.
  void x_run_student(const PassNumbers& numbers, const BlockDone* done = nullptr) {
    for (std::size_t part = 0; part < x_parts.size(); ++part) {
      if (!x_terms->read_part(part)) continue;
      x_parts[part].run(x_backend, x_networks, *x_terms, x_config, numbers, part == x_last_part() ? done : nullptr);
    }
  }

  B x_backend;
  Options x_options;
  Config x_config;
  ParameterLayout x_layout;
  x_Draws x_draws;
  StepExchange<B> x_exchange;
  x_Pass x_teacher_pass;
  std::vector<x_Part> x_parts;  // of the student's pass
  std::optional<TermRuns<Loss, B>> x_terms;  // made once the parts are
  MemoryPlan x_plan;
  Buffer x_buffer;

  VectorView<T> x_student_weights, x_teacher_weights, x_gradient_buffer;
  BoundNetworks<Kind, T> x_networks;
  std::conditional_t<x_snapshots, SnapshotTeacher<Kind, B>, NoSnapshot<Kind, B>> x_snapshot;
  typename detail::FrozenTeacherOf<Loss, B>::type x_frozen;
  std::vector<OptimiserState<T>> x_optimisers;
  std::vector<TensorView<T, 4>> x_inputs;  // a view each
  ReplaySlot<B> x_teacher_replay, x_student_replay;

  double x_valid_points = 1;  // of the last pass
  std::vector<T> x_keep_host, x_features_host, x_staging;
  std::vector<Taps<T>> x_taps_host;
  MaskedRows x_masked_rows;
  std::vector<double> x_norms_host, x_norms_of_part;
};

/// The step of a recipe: that of its kind, with its sizes.
template <class Recipe, Backend B>
class TrainingStep : public BasicTrainingStep<NetworkKindOf<Recipe>, B> {
 public:
  /// Throws `OptionError` if the batch shape does not fit the recipe.
  TrainingStep(const B& backend, const BasicStepOptions<typename Recipe::Loss::Options>& options)
      : BasicTrainingStep<NetworkKindOf<Recipe>, B>(
            backend, options, network_config<Recipe>(options.shape.channels, options.prototypes)) {}
};

}  // namespace dssl
