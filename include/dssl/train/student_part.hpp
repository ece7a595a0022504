// A part of the student's pass: some views forward, through the loss, and backward.
// Tests: tests/train/stream_views.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/term_runs.hpp>
#include <dssl/train/view_batch.hpp>
#include <dssl/train/view_pass.hpp>

namespace dssl {

/// Both networks' weights and the student's gradients, in their flat buffers.
template <class Kind, class T>
struct BoundNetworks {
  NetworkParameters<Kind, const T> student, teacher;
  NetworkParameters<Kind, T> gradients;
};

/// Views that follow one another, forward, through the loss's terms, and backward.
///
/// Losses are sums over student views and gradients add up, so a student's pass may be one part with all views, or
/// several that run one after the other in the same memory: then only one part's activations are ever there. Where heads
/// have batch norm, or a term needs the batch whole, all views must be one part.
template <class Kind, Backend B>
class StudentPart {
 public:
  using T = typename B::Scalar;
  using Backbone = typename Kind::Backbone;
  using Pass = ViewPass<Kind, B>;
  using Loss = typename Kind::Loss;
  using Runs = TermRuns<Loss, B>;
  using Config = NetworkConfigOf<Kind>;

  /// `number`: of the part among those of the pass. `views` views from `first` on.
  StudentPart(std::size_t number, const BatchShape& shape, Index first, Index views, const Config& config)
      : x_number(number),
        x_first(first),
        x_views(views),
        x_of_views(shape.view_count()),
        x_pass(shape, first, views, 2 * shape.points, config.backbone.patch, Loss::student_reads,
               registers_of(config.backbone), tells_local_views(config.backbone)) {
    const auto each = static_cast<std::size_t>(2 * depth_of(config.backbone));
    if (views < shape.view_count()) x_keep_host.resize(each * x_pass.tokens().sequences().size());
  }

  [[nodiscard]] PartViews views() const { return {x_first, x_views}; }
  /// After `run`, until another part runs.
  [[nodiscard]] const Pass& pass() const { return x_pass; }

  /// What lives from step to step. `views`: where all views of the batch lie.
  void place_lasting(const B& backend, Arena& arena, const Config& config, std::span<const TensorView<T, 4>> views) {
    x_pass.place_lasting(backend, arena, config.backbone, views);
    x_depth = StochasticDepth<T>::place(backend, arena, x_pass.tokens(), depth_of(config.backbone));
  }

  /// What nothing is needed of after `run`.
  void place_passing(const B& backend, Arena& arena, const Config& config, Runs& terms, bool recompute) {
    const auto& backbone = config.backbone;
    const TokenLayout& tokens = x_pass.tokens();
    x_pass.place_passing(arena, backbone, true, recompute);
    x_d_out = arena.matrix<T>(tokens.read_count(), backbone.width);
    if constexpr (Pass::masked) x_d_masked = arena.matrix<T>(x_pass.most_masked(), backbone.width);
    if constexpr (Pass::sampled) x_d_features = arena.matrix<T>(x_pass.taps().size(), backbone.width);
    // One head after the other is through with its backward pass before the backbone's begins.
    const std::size_t heads = arena.mark();
    std::size_t heads_end = heads;
    terms.each([&](auto, auto& run, std::size_t) {
      run.place_student(backend, arena, x_number);
      heads_end = std::max(heads_end, arena.mark());
      arena.rewind(heads);
    });
    x_gradients = Gradients::take(arena, backbone, tokens);
    arena.rewind(std::max(arena.mark(), heads_end));
  }

  /// Takes the points and masks of a step and the multipliers of all its sequences, (depth,2,V*B) or none.
  void set(const B& backend, const ViewBatch& batch, std::span<const T> keep, const Config& config, Runs& terms,
           std::vector<Taps<T>>& staging) {
    if constexpr (Pass::masked) {
      x_pass.set_masks(backend, batch.masks, false, x_masked_rows);
      terms.each([&]<class Term>(std::type_identity<Term>, auto& run, std::size_t) {
        if constexpr (Term::reads.student.masked) run.set(backend, x_number, x_masked_rows);
      });
    }
    set_points(backend, batch.student_points, config, staging);
    x_depth.set(backend, x_pass.tokens(), x_own(keep, batch.shape));
  }

  /// Takes the points of a step alone, (V,B,2,K) of all its views.
  void set_points(const B& backend, std::span<const Point> points, const Config& config, std::vector<Taps<T>>& staging) {
    if constexpr (Loss::reads.points) {
      const std::size_t each = points.size() / static_cast<std::size_t>(x_of_views);
      x_pass.set_points(backend, points.subspan(static_cast<std::size_t>(x_first) * each,
                                                static_cast<std::size_t>(x_views) * each),
                        config.backbone, staging);
    }
  }

  /// Forward, the terms' losses with the teacher's targets, and backward: `networks.gradients` +=. `done`: who is told of
  /// blocks, by a backbone whose gradients have a member `done`.
  void run(const B& backend, const BoundNetworks<Kind, T>& networks, Runs& terms, const Config& config,
           const PassNumbers& numbers, [[maybe_unused]] const BlockDone* done) {
    Gradients buffers = x_gradients;
    if constexpr (requires { buffers.done; }) buffers.done = done;
    const auto& student = networks.student;
    x_pass.forward(backend, student.backbone, config.backbone, x_depth.branches());
    backend.fill(VectorView<T>(x_d_out.data(), x_d_out.size()), T{0});
    terms.each([&]<class Term>(std::type_identity<Term>, auto& run, std::size_t i) {
      constexpr bool first_of_points = Term::reads.student.points && !Loss::template read_before<Term>.points;
      if constexpr (Pass::sampled && first_of_points) {
        x_pass.sample(backend);
        backend.fill(VectorView<T>(x_d_features.data(), x_d_features.size()), T{0});
      }
      if constexpr (Term::reads.student.masked && !Loss::template read_before<Term>.masked) {
        x_pass.gather_masked(backend);
        backend.fill(VectorView<T>(x_d_masked.data(), x_d_masked.size()), T{0});
      }
      run.student(backend, StudentPass<Term, T>{.part = x_number,
                                                .d_features = x_d_read<Term>(),
                                                .d_parameters = networks.gradients.template of<Term>(),
                                                .features = x_pass.features(Term::reads.student),
                                                .parameters = student.template of<Term>(),
                                                .teacher = networks.teacher.template of<Term>(),
                                                .numbers = numbers,
                                                .weight = terms.weight(i)});
      if constexpr (Pass::sampled && Loss::template last_of_points<Term>) {
        if (!x_pass.taps().empty()) backend.sample_rows_backward(x_pass.patch_rows(x_d_out), x_d_features, x_pass.taps());
      }
      if constexpr (Loss::template last_of_masked<Term>) x_pass.scatter_masked(backend, x_d_out, x_d_masked);
    });
    Backbone::template backward<Kind::Tokens::relation>(
        backend, networks.gradients.backbone, buffers, x_d_out, x_pass.activations(), x_pass.inputs(),
        student.backbone, config.backbone, x_pass.tokens(), x_pass.device(), x_depth.branches(),
        Kind::Tokens::reference.detached);
  }

 private:
  using Gradients = typename Backbone::template Gradients<T>;

  /// Where a term's gradients go. Points that are read of the map have rows of their own, which go to the map once all
  /// terms have added to them.
  template <class Term>
  [[nodiscard]] FeatureGradients<T> x_d_read() const {
    constexpr FeatureKinds reads = Term::reads.student;
    FeatureGradients<T> out{.adds = Loss::template read_before<Term>};
    if constexpr (reads.class_level) out.class_level = x_pass.class_rows(x_d_out);
    if constexpr (reads.points && Pass::sampled) out.points = x_d_features;
    if constexpr (reads.points && !Pass::sampled) out.points = x_pass.reference_rows(x_d_out);
    if constexpr (reads.map || reads.global_map) out.map = x_pass.patch_rows(x_d_out);
    if constexpr (reads.masked) out.masked = x_d_masked;
    if constexpr (Pass::sampled) out.adds.map = out.adds.map || out.adds.points;
    out.adds.map = out.adds.map || out.adds.global_map || out.adds.masked;
    return out;
  }

  /// This part's share of the multipliers of all sequences.
  std::span<const T> x_own(std::span<const T> keep, const BatchShape& shape) {
    if (x_keep_host.empty() || keep.empty()) return keep;
    const auto own = x_pass.tokens().sequences().size();
    const auto all = static_cast<std::size_t>(shape.view_count() * shape.batch);
    const auto first = static_cast<std::size_t>(x_first * shape.batch);
    for (std::size_t i = 0; i < x_keep_host.size() / own; ++i) {
      std::ranges::copy(keep.subspan(i * all + first, own),
                        x_keep_host.begin() + static_cast<std::ptrdiff_t>(i * own));
    }
    return x_keep_host;
  }

  std::size_t x_number;
  Index x_first, x_views;
  Index x_of_views;
  Pass x_pass;
  StochasticDepth<T> x_depth;
  MatrixView<T> x_d_out;       // (rows that are read,D)
  MatrixView<T> x_d_features;  // sampled patches only
  MatrixView<T> x_d_masked;    // masked patches only
  Gradients x_gradients;
  MaskedRows x_masked_rows;
  std::vector<T> x_keep_host;  // where there are other parts
};

}  // namespace dssl
