// One training step: teacher and student forward, both levels of the loss, backward, update.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/rehearsal.hpp>
#include <dssl/backend/replay.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/nn/token_layout.hpp>
#include <dssl/optim/optimiser.hpp>
#include <dssl/train/level.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl {

/// Numbers that a training step takes from the run's options.
struct StepOptions {
  BatchShape shape{};      ///< of one forward pass
  Index accumulate = 1;    ///< forward passes an update
  Index prototypes = 0;    ///< 0: the recipe's own
  double stochastic_depth = 0.1;
  bool recompute = false;  ///< keep only what enters each block and compute the rest again going backward
  std::size_t render_bytes = 0;  ///< of scratch, in which the backend renders the views; 0: they come from the host
  std::uint64_t seed = 0;
  LossOptions loss{};
  OptimiserOptions optimiser{};
};

/// Numbers of one update that change from step to step.
struct UpdateNumbers {
  UpdateStep optimiser{};
  double teacher_momentum = 1;
};

/// A student, its teacher, their optimiser and all buffers of a step, laid out once in one block of memory.
///
/// A step is `begin`, `accumulate` calls of `forward_backward`, then one `update`. Nothing is allocated after construction.
/// The result depends on the weights, the batches and the options alone, not on the number of threads.
/// Tests: fixtures `training_*`; central differences of a whole tiny model (tests/train).
template <class Recipe, Backend B>
class TrainingStep {
 public:
  using T = typename B::Scalar;
  using Backbone = typename Recipe::Backbone;
  using Tokens = typename Recipe::Tokens;
  using Loss = typename Recipe::Loss;

  static_assert(Loss::image || Loss::point, "the loss must have an image level, a point level, or both");
  static_assert(!Loss::point || Tokens::point_features != PointFeatures::none,
                "the loss has a point level but the token scheme has no point features: "
                "use with_tokens<ReferenceTokens<>> or with_tokens<FeatureMap>, or with_loss<ImageLoss>");

  /// Throws `OptionError` if the batch shape does not fit the recipe.
  TrainingStep(const B& backend, const StepOptions& options)
      : x_backend(backend),
        x_options(options),
        x_config(NetworkConfig<Recipe>::with(options.shape.channels, options.prototypes)),
        x_layout(network_layout<Recipe>(x_config)) {
    x_check_shape();
    const double share = 1.0 / static_cast<double>(options.accumulate);
    if constexpr (Loss::image) {
      LevelPairs pairs = image_pairs(x_views(), x_batch(), options.loss.image_all_views);
      if (x_config.head.batch_norm) add_uncompared_rows(pairs, x_views() * x_batch());
      x_image = Level<T>("image", std::move(pairs), x_config.head, x_config.backbone.width, share);
    }
    if constexpr (Loss::point) {
      LevelPairs pairs = point_pairs(x_views(), x_batch(), x_points(), options.loss.point_all_views);
      if (x_config.head.batch_norm) add_uncompared_rows(pairs, x_views() * x_batch() * 2 * x_points());
      x_point = Level<T>("point", std::move(pairs), x_config.head, x_config.backbone.width, share);
    }
    x_make_token_layouts();
    x_keep_host.resize(x_keep_count());
    x_norms_host.resize(x_layout.size());
    x_features_host.resize(static_cast<std::size_t>(x_spread_rows() * x_config.backbone.width));
    if constexpr (x_reference_tokens || x_sampled) {
      x_taps_host.reserve(static_cast<std::size_t>(2 * x_batch() * x_views() * x_points()));
    }
    if constexpr (!std::is_same_v<T, float>) {
      Index largest = 0;
      for (const ViewSize& view : options.shape.views) largest = std::max(largest, view.height * view.width);
      x_staging.reserve(static_cast<std::size_t>(x_batch() * options.shape.channels * largest));
    }
    x_buffer = allocate_planned(
        backend, x_plan, [this](Arena& arena) { x_place(arena); }, [this] { x_rehearse(); }, options.render_bytes);
    Arena live(x_buffer);
    x_place(live);
    x_vector_host.reserve(static_cast<std::size_t>(std::max(x_image.centre().size(), x_point.centre().size())));
  }

  [[nodiscard]] const B& backend() const { return x_backend; }
  [[nodiscard]] const StepOptions& options() const { return x_options; }
  [[nodiscard]] const NetworkConfig<Recipe>& config() const { return x_config; }
  [[nodiscard]] const ParameterLayout& layout() const { return x_layout; }
  [[nodiscard]] const MemoryPlan& memory_plan() const { return x_plan; }

  /// Flat buffers in the backend's memory, laid out by `layout()`.
  [[nodiscard]] VectorView<T> student() const { return x_student_weights; }
  [[nodiscard]] VectorView<T> teacher() const { return x_teacher_weights; }
  [[nodiscard]] VectorView<T> gradients() const { return x_gradient_buffer; }
  [[nodiscard]] const OptimiserState<T>& optimiser_state() const { return x_optimiser; }
  [[nodiscard]] VectorView<T> image_centre() const { return x_image.centre(); }
  [[nodiscard]] VectorView<T> point_centre() const { return x_point.centre(); }

  /// Where the step reads view v of a batch: (B,C,h,w) in the backend's memory.
  [[nodiscard]] TensorView<T, 4> view_input(Index view) const {
    const BatchShape& shape = x_options.shape;
    Index first = 0;  // view of the group
    for (std::size_t g = 0;; ++g) {
      const Index views = x_student_tokens.groups()[g].count / x_batch();
      if (view >= first + views) {
        first += views;
        continue;
      }
      const ViewSize& size = shape.views[static_cast<std::size_t>(view)];
      return TensorView<T, 4>(x_student_inputs.images[g].data() +
                                  (view - first) * x_batch() * shape.channels * size.height * size.width,
                              x_batch(), shape.channels, size.height, size.width);
    }
  }

  /// Number of multipliers that stochastic depth draws a step: depth x 2 branches x V x B sequences.
  [[nodiscard]] std::size_t keep_size() const { return x_keep_count(); }

  /// Forgets what earlier passes added up: after a pass that was not followed by `update`.
  void begin() {
    x_backend.fill(x_gradient_buffer, T{0});
    if constexpr (Loss::image) x_backend.fill(x_image.centre_sum(), T{0});
    if constexpr (Loss::point) x_backend.fill(x_point.centre_sum(), T{0});
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
    x_upload(batch, keep);
    replay(x_backend, x_teacher_replay, 0, [this] { x_teacher_pass(); });
    const auto student_pass = [&] { x_student_pass(teacher_temperature); };
    const bool repeats = keep.empty() && x_options.stochastic_depth == 0;  // else other rows take part in every step
    if (repeats) return replay(x_backend, x_student_replay, teacher_temperature, student_pass);
    student_pass();
  }

  /// The other part: waits, and adds to the losses of `report`. Throws `NonFiniteError`.
  void finish_pass(StepReport& report) {
    if constexpr (Loss::image) x_image.add_to(x_backend, report.image);
    if constexpr (Loss::point) x_point.add_to(x_backend, report.point);
    report.loss = image_weight<Loss>(x_options.loss) * report.image.loss +
                  point_weight<Loss>(x_options.loss) * report.point.loss;
  }

  /// Optimiser, teacher, centres. Throws `NonFiniteError` naming the first parameter whose
  /// gradient is not finite, with all weights as they were.
  void update(StepReport& report, const UpdateNumbers& now) {
    x_optimiser.measure(x_backend, x_gradient_buffer);
    x_backend.download(std::span<double>(x_norms_host), x_optimiser.squared_norms().data());
    double squares = 0;
    for (std::size_t i = 0; i < x_norms_host.size(); ++i) {
      if (!std::isfinite(x_norms_host[i])) {
        throw NonFiniteError(join("the gradient of ", x_layout.specs()[i].name.view(),
                                  " is not finite; lower the learning rate or clip gradients"));
      }
      squares += x_norms_host[i];
    }
    report.gradient_norm = std::sqrt(squares);
    x_optimiser.update(x_backend, x_student_weights, x_teacher_weights, x_gradient_buffer, x_options.optimiser,
                       now.optimiser, now.teacher_momentum);
    if constexpr (Loss::image) x_image.update_centre(x_backend, x_options.loss.centre_momentum);
    if constexpr (Loss::point) x_point.update_centre(x_backend, x_options.loss.centre_momentum);
  }

  /// Diagnostics that need a look at features and centres; after the last `forward_backward` of a step.
  void inspect(StepReport& report) {
    const Index width = x_config.backbone.width;
    const Index rows = x_spread_rows();
    x_backend.download(std::span<T>(x_features_host), static_cast<const T*>(x_teacher_acts.out.data()));
    report.feature_spread = spread_of(MatrixView<T>(x_features_host.data(), rows, width));
    if constexpr (Loss::image) report.image.centre_norm = x_norm_of(x_image.centre());
    if constexpr (Loss::point) report.point.centre_norm = x_norm_of(x_point.centre());
  }

 private:
  using Activations = typename Backbone::template Activations<T>;

  /// Whether the backbone offers to keep only what enters its blocks.
  static constexpr bool x_recomputes = requires(Arena& arena, const TokenLayout& tokens) {
    Activations::take(arena, Backbone::config, tokens, true, true);
  };
  static constexpr bool x_reference_tokens =
      Loss::point && Tokens::point_features == PointFeatures::reference_tokens;
  static constexpr bool x_sampled = Loss::point && Tokens::point_features == PointFeatures::sampled_patches;

  [[nodiscard]] Index x_views() const { return x_options.shape.view_count(); }
  [[nodiscard]] Index x_batch() const { return x_options.shape.batch; }
  [[nodiscard]] Index x_points() const { return x_options.shape.points; }
  [[nodiscard]] std::size_t x_keep_count() const {
    return static_cast<std::size_t>(2 * x_config.backbone.depth * x_views() * x_batch());
  }
  /// Teacher rows whose spread is watched: the class tokens, or where there are none whatever comes first.
  [[nodiscard]] Index x_spread_rows() const { return std::min(2 * x_batch(), x_teacher_tokens.read_count()); }

  void x_check_shape() const {
    const BatchShape& shape = x_options.shape;
    const Index patch = x_config.backbone.patch;
    if (x_options.recompute && !x_recomputes) throw OptionError("recompute", "true", "false with this backbone");
    if (shape.batch < 1) throw OptionError("batch", shape.batch, "at least 1");
    if (shape.view_count() < 2) throw OptionError("views", shape.view_count(), "at least the two global views");
    if (!(shape.views[0] == shape.views[1])) throw OptionError("views", "of two sizes", "global views of one size");
    if (shape.channels != x_config.backbone.channels) {
      throw OptionError("channels", shape.channels, join(x_config.backbone.channels, ", the backbone's number"));
    }
    if (Loss::point && shape.points < 1) throw OptionError("points", shape.points, "at least 1 for a point loss");
    double tokens = 0;  // of all student views: numbered by 32 bits
    for (const ViewSize& view : shape.views) {
      tokens += static_cast<double>(shape.batch) * (static_cast<double>(view.height / patch * (view.width / patch)) +
                                                    2 * static_cast<double>(shape.points) + 1);
      if (view.height % patch != 0 || view.width % patch != 0 || view.height < patch || view.width < patch) {
        throw OptionError("views.size", join(view.height, " x ", view.width),
                          join("multiples of the patch, ", patch, " pixels"));
      }
    }
    if (tokens > std::numeric_limits<std::int32_t>::max()) {
      throw OptionError("batch", shape.batch, join("fewer images or points: the views would have ", tokens,
                                                   " tokens, and 2147483647 can be numbered"));
    }
  }

  void x_make_token_layouts() {
    const Index patch = x_config.backbone.patch;
    const GroupSet reads{.class_token = Loss::image,
                         .reference = x_reference_tokens,
                         .patch = x_sampled};
    const Index student_references = x_reference_tokens ? 2 * x_points() : 0;
    const Index teacher_references = x_reference_tokens ? x_views() * x_points() : 0;
    std::vector<ViewGroup> groups;
    for (const ViewSize& view : x_options.shape.views) {
      const GridSize grid{view.height / patch, view.width / patch};
      if (groups.empty() || !(groups.back().grid == grid)) {
        groups.push_back({.count = 0, .grid = grid, .references = student_references});
      }
      groups.back().count += x_batch();
    }
    x_student_tokens = TokenLayout(groups, reads);
    x_teacher_tokens =
        TokenLayout({{.count = 2 * x_batch(), .grid = groups[0].grid, .references = teacher_references}}, reads);
  }

  /// One step in the form that needs most: matrices are largest where stochastic depth drops no branch, uploads where
  /// it drops one, since lists of rows go up then.
  void x_rehearse() {
    for (Index v = 0; v < x_views() && x_options.render_bytes == 0; ++v) {  // the source of an upload is not looked at
      x_backend.upload(view_input(v).data(), std::span<const T>(view_input(v).flat()));
    }
    const ViewBatch batch = ViewBatch::of(x_options.shape, false);
    std::vector<T> keep(x_keep_count(), T{1});
    for (std::size_t s = 0; s < keep.size(); s += static_cast<std::size_t>(x_batch())) keep[s] = T{0};
    x_upload(batch, keep);
    std::fill(keep.begin(), keep.end(), T{1});
    StepReport report;
    begin();
    forward_backward(report, batch, 1, keep);
    update(report, {});
    inspect(report);
  }

  /// Lays out all memory. Runs more than once: measuring, for a rehearsal where the backend has one, then live.
  void x_place(Arena& arena) {
    const auto& backbone = x_config.backbone;
    x_student_weights = arena.vector<T>(x_layout.total());
    x_teacher_weights = arena.vector<T>(x_layout.total());
    x_gradient_buffer = arena.vector<T>(x_layout.total());
    arena.name_part("weights of student and teacher, gradients");
    x_optimiser = OptimiserState<T>::place(x_backend, arena, x_layout, x_options.optimiser.kind);
    arena.name_part("optimiser");
    x_student_device = DeviceTokenLayout::place(x_backend, arena, x_student_tokens);
    x_teacher_device = DeviceTokenLayout::place(x_backend, arena, x_teacher_tokens);
    x_student_inputs = Backbone::template Inputs<T>::place(x_backend, arena, backbone, x_student_tokens);
    const auto& views = x_student_inputs.images[0];
    x_teacher_inputs = Backbone::template Inputs<T>::place(
        x_backend, arena, backbone, x_teacher_tokens,
        {TensorView<T, 4>(views.data(), 2 * x_batch(), views.extent(1), views.extent(2), views.extent(3))});
    x_depth = StochasticDepth<T>::place(x_backend, arena, x_student_tokens, backbone.depth);
    if constexpr (x_sampled) {
      x_teacher_taps = arena.vector<Taps<T>>(2 * x_batch() * x_views() * x_points());
      x_student_taps = arena.vector<Taps<T>>(x_views() * x_batch() * 2 * x_points());
    }
    arena.name_part("views, points and token layouts");
    if constexpr (Loss::image) x_image.place_lasting(x_backend, arena);
    if constexpr (Loss::point) x_point.place_lasting(x_backend, arena);
    arena.name_part("centres and targets");

    // Once the heads' unit vectors are known, nothing else of the teacher's pass is needed: the student's overwrites
    // it. Its output rows stay, since the feature spread is read from them.
    x_teacher_acts.out = arena.matrix<T>(x_teacher_tokens.read_count(), backbone.width);
    const MatrixView<T> teacher_out = x_teacher_acts.out;
    const std::size_t shared = arena.mark();
    x_teacher_acts = Backbone::template Activations<T>::take(arena, backbone, x_teacher_tokens, false);
    x_teacher_acts.out = teacher_out;
    if constexpr (x_sampled) x_teacher_features = arena.matrix<T>(x_teacher_taps.size(), backbone.width);
    if constexpr (Loss::image) x_image.place_teacher(arena);
    if constexpr (Loss::point) x_point.place_teacher(arena);
    arena.name_part("teacher's activations");
    const std::size_t teacher_end = arena.mark();

    arena.rewind(shared);
    if constexpr (x_recomputes) {
      x_student_acts = Activations::take(arena, backbone, x_student_tokens, true, x_options.recompute);
    } else {
      x_student_acts = Activations::take(arena, backbone, x_student_tokens, true);
    }
    x_d_out = arena.matrix<T>(x_student_tokens.read_count(), backbone.width);
    if constexpr (x_sampled) {
      x_student_features = arena.matrix<T>(x_student_taps.size(), backbone.width);
      x_d_features = arena.matrix<T>(x_student_taps.size(), backbone.width);
    }
    // One head after the other is through with its backward pass before the backbone's begins.
    const std::size_t heads = arena.mark();
    if constexpr (Loss::image) x_image.place_student(x_backend, arena);
    const std::size_t image_end = arena.mark();
    arena.rewind(heads);
    if constexpr (Loss::point) x_point.place_student(x_backend, arena);
    const std::size_t heads_end = std::max(image_end, arena.mark());
    arena.rewind(heads);
    x_block_gradients = Backbone::template Gradients<T>::take(arena, backbone.block(), x_student_tokens.rows(),
                                                              x_student_tokens.read_count());
    arena.rewind(std::max({arena.mark(), heads_end, teacher_end}));
    arena.name_part("student's activations and their gradients, beyond what the teacher's left");

    x_student_bound = NetworkParameters<Recipe, const T>::bind(x_layout, x_student_weights.data(), x_config);
    x_teacher_bound = NetworkParameters<Recipe, const T>::bind(x_layout, x_teacher_weights.data(), x_config);
    x_gradient_bound = NetworkParameters<Recipe, T>::bind(x_layout, x_gradient_buffer.data(), x_config);
  }

  void x_upload(const ViewBatch& batch, std::span<const T> keep) {
    for (std::size_t v = 0; v < batch.images.size(); ++v) {
      T* const to = view_input(static_cast<Index>(v)).data();
      const std::span<const float> from(batch.images[v]);
      if constexpr (std::is_same_v<T, float>) {
        x_backend.upload(to, from);
      } else {
        x_staging.assign(from.begin(), from.end());
        x_backend.upload(to, std::span<const T>(x_staging));
      }
    }
    if constexpr (x_reference_tokens) {
      const GridSize table = x_config.backbone.native_grid();
      x_upload_taps(x_teacher_inputs.point_taps, batch.teacher_points, [&](std::size_t) { return std::pair(table, Index{0}); });
      x_upload_taps(x_student_inputs.point_taps, batch.student_points, [&](std::size_t) { return std::pair(table, Index{0}); });
    }
    if constexpr (x_sampled) {
      // Points of a sequence read that sequence's own patch rows.
      const auto rows_of = [](const TokenLayout& tokens, Index points_each) {
        return [&tokens, points_each, sequence = std::size_t{0}, first = Index{0}](std::size_t i) mutable {
          const auto wanted = i / static_cast<std::size_t>(points_each);
          while (sequence < wanted) first += tokens.sequences()[sequence++].patches;
          return std::pair(tokens.grid_of(wanted), first);
        };
      };
      x_upload_taps(x_teacher_taps, batch.teacher_points, rows_of(x_teacher_tokens, x_views() * x_points()));
      x_upload_taps(x_student_taps, batch.student_points, rows_of(x_student_tokens, 2 * x_points()));
    }
    if (keep.empty() && x_options.stochastic_depth > 0) {
      x_draw_keep(batch);
      keep = x_keep_host;
    }
    x_depth.set(x_backend, x_student_tokens, keep);
  }

  template <class Table>
  void x_upload_taps(VectorView<Taps<T>> to, const std::vector<Point>& points, Table table) {
    x_taps_host.resize(points.size());
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto [grid, first] = table(i);
      x_taps_host[i] = point_read<T>(points[i], grid, first);
    }
    x_backend.upload(to.data(), std::span<const Taps<T>>(x_taps_host));
  }

  /// 0 with the branch's rate, else 1/(1 - rate); the rate grows linearly over the blocks. Keyed by sample and
  /// view, so a sample's draws do not depend on the batch it is in.
  void x_draw_keep(const ViewBatch& batch) {
    const Index depth = x_config.backbone.depth;
    const Index sequences = x_views() * x_batch();
    for (Index s = 0; s < sequences; ++s) {
      const auto sample = batch.samples[static_cast<std::size_t>(s % x_batch())];
      RandomStream random({.seed = x_options.seed,
                           .epoch = static_cast<std::uint32_t>(batch.epoch),
                           .sample = static_cast<std::uint64_t>(sample),
                           .view = static_cast<std::uint32_t>(s / x_batch()),
                           .purpose = Purpose::stochastic_depth});
      for (Index i = 0; i < 2 * depth; ++i) {
        const double rate =
            depth == 1 ? 0.0
                       : x_options.stochastic_depth * static_cast<double>(i / 2) / static_cast<double>(depth - 1);
        const bool dropped = random.bernoulli(rate);
        x_keep_host[static_cast<std::size_t>(i * sequences + s)] = dropped ? T{0} : static_cast<T>(1.0 / (1.0 - rate));
      }
    }
  }

  void x_teacher_pass() {
    Backbone::template forward<Tokens::relation>(x_backend, x_teacher_acts, x_teacher_inputs, x_teacher_bound.backbone,
                                                 x_config.backbone, x_teacher_tokens, x_teacher_device, {});
    if constexpr (Loss::image) {
      x_image.teacher(x_backend, x_class_rows(x_teacher_acts.out, x_teacher_tokens), x_teacher_bound.head);
    }
    if constexpr (Loss::point) {
      MatrixView<const T> features;
      if constexpr (x_sampled) {
        x_backend.sample_rows_forward(x_teacher_features, x_patch_rows(x_teacher_acts.out, x_teacher_tokens),
                                      x_teacher_taps);
        features = x_teacher_features;
      } else {
        features = x_reference_rows(x_teacher_acts.out, x_teacher_tokens);
      }
      x_point.teacher(x_backend, features, x_teacher_bound.reference_head);
    }
  }

  void x_student_pass(double teacher_temperature) {
    const std::span<const BranchKeep<T>> keep = x_depth.branches();
    const double temperature = x_options.loss.student_temperature;
    Backbone::template forward<Tokens::relation>(x_backend, x_student_acts, x_student_inputs, x_student_bound.backbone,
                                                 x_config.backbone, x_student_tokens, x_student_device, keep);
    x_backend.fill(VectorView<T>(x_d_out.data(), x_d_out.size()), T{0});
    if constexpr (Loss::image) {
      x_image.student(x_backend, x_class_rows(x_d_out, x_student_tokens), x_gradient_bound.head,
                      x_class_rows(x_student_acts.out, x_student_tokens), x_student_bound.head, x_teacher_bound.head,
                      temperature, teacher_temperature, image_weight<Loss>(x_options.loss));
    }
    const auto point_level = [&](MatrixView<T> d_features, MatrixView<const T> features) {
      x_point.student(x_backend, d_features, x_gradient_bound.reference_head, features, x_student_bound.reference_head,
                      x_teacher_bound.reference_head, temperature, teacher_temperature,
                      point_weight<Loss>(x_options.loss));
    };
    if constexpr (x_sampled) {
      x_backend.sample_rows_forward(x_student_features, x_patch_rows(x_student_acts.out, x_student_tokens),
                                    x_student_taps);
      x_backend.fill(VectorView<T>(x_d_features.data(), x_d_features.size()), T{0});
      point_level(x_d_features, x_student_features);
      x_backend.sample_rows_backward(x_patch_rows(x_d_out, x_student_tokens), x_d_features, x_student_taps);
    } else if constexpr (Loss::point) {
      point_level(x_reference_rows(x_d_out, x_student_tokens), x_reference_rows(x_student_acts.out, x_student_tokens));
    }
    Backbone::template backward<Tokens::relation>(x_backend, x_gradient_bound.backbone, x_block_gradients, x_d_out,
                                                  x_student_acts, x_student_inputs, x_student_bound.backbone,
                                                  x_config.backbone, x_student_tokens, x_student_device, keep,
                                                  Tokens::reference.detached);
  }

  static MatrixView<T> x_class_rows(MatrixView<T> out, const TokenLayout& tokens) {
    return out.rows(tokens.output_begin(TokenGroup::class_token), tokens.sequence_count());
  }
  static MatrixView<T> x_reference_rows(MatrixView<T> out, const TokenLayout& tokens) {
    return out.rows(tokens.output_begin(TokenGroup::reference), tokens.reference_count());
  }
  static MatrixView<T> x_patch_rows(MatrixView<T> out, const TokenLayout& tokens) {
    return out.rows(tokens.output_begin(TokenGroup::patch), tokens.patch_count());
  }

  double x_norm_of(VectorView<T> x) {
    x_vector_host.resize(static_cast<std::size_t>(x.size()));
    x_backend.download(std::span<T>(x_vector_host), static_cast<const T*>(x.data()));
    double squares = 0;
    for (const T v : x_vector_host) squares += static_cast<double>(v) * static_cast<double>(v);
    return std::sqrt(squares);
  }

  B x_backend;
  StepOptions x_options;
  NetworkConfig<Recipe> x_config;
  ParameterLayout x_layout;
  TokenLayout x_student_tokens, x_teacher_tokens;
  MemoryPlan x_plan;
  Buffer x_buffer;

  VectorView<T> x_student_weights, x_teacher_weights, x_gradient_buffer;
  NetworkParameters<Recipe, const T> x_student_bound, x_teacher_bound;
  NetworkParameters<Recipe, T> x_gradient_bound;
  OptimiserState<T> x_optimiser;
  DeviceTokenLayout x_student_device, x_teacher_device;
  typename Backbone::template Inputs<T> x_student_inputs, x_teacher_inputs;
  typename Backbone::template Activations<T> x_student_acts, x_teacher_acts;
  typename Backbone::template Gradients<T> x_block_gradients;
  MatrixView<T> x_d_out;
  VectorView<Taps<T>> x_teacher_taps, x_student_taps;              // sampled patches only
  MatrixView<T> x_teacher_features, x_student_features, x_d_features;  // sampled patches only
  StochasticDepth<T> x_depth;
  Level<T> x_image, x_point;
  ReplaySlot<B> x_teacher_replay, x_student_replay;

  std::vector<T> x_keep_host, x_features_host, x_vector_host, x_staging;
  std::vector<Taps<T>> x_taps_host;
  std::vector<double> x_norms_host;
};

}  // namespace dssl
