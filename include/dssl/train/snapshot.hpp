// The copy of a teacher that a term is held to: its weights and its pass.
// Tests: tests/train/gram_term.cpp, snapshot_views.cpp.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/term_runs.hpp>
#include <dssl/train/view_batch.hpp>
#include <dssl/train/view_pass.hpp>

namespace dssl {

/// Of a loss none of whose terms has a `Snapshot`.
template <class Kind, Backend B>
class NoSnapshot {};

/// Weights that stay what they are from one `take` to the next, and their pass over the two global views, whose features the
/// term with a `Snapshot` copies before anything else of the step runs. The views may be larger or smaller than the
/// student's (`BatchShape::snapshot_view`): they are images of the same crops of their own then.
template <class Kind, Backend B>
class SnapshotTeacher {
 public:
  using T = typename B::Scalar;
  using Config = NetworkConfigOf<Kind>;

  SnapshotTeacher() = default;
  SnapshotTeacher(const BatchShape& shape, const Config& config)
      : x_shape(shape.of_snapshot()),
        x_pass(x_shape, 0, 2, shape.view_count() * shape.points, config.backbone.patch, Kind::Loss::snapshot_reads,
               registers_of(config.backbone)) {}

  void place_weights(Arena& arena, const ParameterLayout& layout, const Config& config) {
    x_weights = arena.vector<T>(layout.total());
    x_network = NetworkParameters<Kind, const T>::bind(layout, x_weights.data(), config);
  }
  void place_lasting(const B& backend, Arena& arena, const Config& config, std::span<const TensorView<T, 4>> views) {
    if (x_shape.has_snapshot_views()) {
      x_views = place_views<T>(arena, x_shape);
      views = x_views;
    }
    x_pass.place_lasting(backend, arena, config.backbone, views);
  }
  void place_passing(Arena& arena, const Config& config) { x_pass.place_passing(arena, config.backbone, false); }

  /// Where the copy reads its own view v, if it has any: (B,C,h,w).
  [[nodiscard]] std::span<const TensorView<T, 4>> views() const { return x_views; }
  /// The copy's weights, laid out as the network's.
  [[nodiscard]] VectorView<T> weights() const { return x_weights; }

  /// Points and masks of a step, which the copy sees all patches of; none of masks where its views are its own.
  void set(const B& backend, const ViewBatch& batch, const Config& config, std::vector<Taps<T>>& taps, MaskedRows& masked) {
    x_pass.set_points(backend, batch.teacher_points, config.backbone, taps);
    if constexpr (Kind::Loss::reads.masked) {  // patches of views of its own are others
      if (x_views.empty()) x_pass.set_masks(backend, batch.masks, true, masked);
    }
  }
  /// Runs the copy, and gives its features to the term that has it.
  void run(const B& backend, TermRuns<typename Kind::Loss, B>& terms, const NetworkParameters<Kind, const T>& teacher,
           const Config& config, const PassNumbers& numbers) const {
    x_pass.forward(backend, x_network.backbone, config.backbone, {});
    terms.each([&]<class Term>(std::type_identity<Term>, auto& run, std::size_t) {
      if constexpr (is_snapshot<typename Term::Teacher>) {
        run.teacher(backend, TeacherPass<Term, T>{x_pass.features(Term::reads.teacher), teacher.template of<Term>(), numbers});
      }
    });
  }
  /// After an update that `updates` came before: copies the teacher's weights where it is time.
  void take(const B& backend, VectorView<const T> teacher, TermRuns<typename Kind::Loss, B>& terms,
            const typename Kind::Loss::Options& options, Index updates) const {
    terms.each([&]<class Term>(std::type_identity<Term>, const auto&, std::size_t) {
      if constexpr (is_snapshot<typename Term::Teacher>) {
        if (options.template of<Term>().options.snapshot.due(updates)) backend.copy(x_weights, teacher);
      }
    });
  }

 private:
  BatchShape x_shape;
  std::vector<TensorView<T, 4>> x_views;  // of its own
  VectorView<T> x_weights;
  NetworkParameters<Kind, const T> x_network;
  ViewPass<Kind, B> x_pass;
};

}  // namespace dssl
