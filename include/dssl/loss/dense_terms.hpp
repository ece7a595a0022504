// Terms that compare maps of patches between two views: DenseCL's.
// Tests: tests/train/dense_terms.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/over_ranks.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/contrastive.hpp>
#include <dssl/loss/dense_contrastive.hpp>
#include <dssl/loss/key_queue.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/projected_term.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/nn/mlp.hpp>

namespace dssl {

/// The first view's patches pick their partners in the second view's map by the teacher among keys of earlier images:
/// DenseCL's dense half; the other is `QueueContrast`. Source: `match_patches`, `gather_matched`, `queue_contrast_loss`.
///
/// A patch's partner is the teacher's patch of the same image whose backbone features point most nearly where its own do;
/// then both are compared behind a projector of patches (`dense_projector.`). The queue has one key an image, the mean of
/// its projected patches, and takes those of an update's last pass. Published: both halves weigh 0.5, and the backbone is
/// convolutional, so that its global features are pooled maps where here they are class tokens. State: `dense_queue`,
/// `dense_queue_ptr`, running statistics where the projector has batch norm. Over ranks the queue takes the keys of all; a
/// projector with batch norm, whose statistics would be of one rank's patches, refuses them.
template <MlpConfig Projector>
struct DenseContrast {
  static constexpr std::string_view name = "dense-contrast";
  static constexpr Reads reads{{.map = true}, {.map = true}};
  static constexpr Whole whole = Whole::view;
  static constexpr bool spans_ranks = !has_norms(Projector);
  using Teacher = Ema;
  using Options = QueueOptions;
  template <class T>
  using Parameters = MlpParameters<T>;

  static_assert(Projector.layers > 0, "DenseContrast: patches are compared behind a projector");

  /// In words, for checkpoints.
  static std::string words() { return join("projector ", describe(Projector)); }

  static constexpr void add_parameters(ParameterLayout& layout, const HeadConfig& head, Index width) {
    add_mlp_parameters(layout, sized_by(head, Projector), width, "dense_projector.");
  }
  template <class T>
  static MlpParameters<T> bind(ParameterCursor<T>& next, const HeadConfig& head) {
    return MlpParameters<T>::bind(next, sized_by(head, Projector));
  }

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    Run(const TermSetting& setting, const Options& options)
        : x_options(options),
          x_batch(setting.batch),
          x_patches(setting.grids.at(0).size()),
          x_width(setting.width),
          x_seed(setting.seed),
          x_share(setting.share),
          x_ranks(setting.ranks),
          x_projector(sized_by(setting.head, Projector), 1),
          x_teacher(sized_by(setting.head, Projector), 1) {}

    void place_lasting(const B& backend, Arena& arena) {
      const Index rows = x_batch * x_patches;
      const Index out = x_projector.width();
      x_projector.place_lasting(backend, arena);
      x_teacher.place_lasting(backend, arena);
      x_teacher_features = arena.matrix<T>(rows, x_width);
      x_teacher_projected = arena.matrix<T>(rows, out);
      x_teacher_unit = UnitRows<T>::take(arena, rows, out);
      x_pooled = arena.matrix<T>(x_batch, out);
      x_keys = UnitRows<T>::take(arena, x_batch, out);
      if (!x_ranks.alone()) x_all_keys = arena.matrix<T>(x_batch * x_ranks.size(), out);
      x_queue.place_lasting(backend, arena, x_options.keys, out, x_batch * x_ranks.size(), x_seed, 0x64656e73);
      x_loss.place(arena);
    }
    void place_teacher(const B& /*backend*/, Arena& arena) {
      x_teacher.place(arena, x_teacher_features, x_teacher_projected);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (!reads_part(part)) return;
      const Index rows = x_batch * x_patches;
      const Index out = x_projector.width();
      x_features = arena.matrix<T>(rows, x_width);
      x_d_features = arena.matrix<T>(rows, x_width);
      x_d_out = arena.matrix<T>(rows, out);
      x_matched = arena.matrix<T>(rows, out);
      x_match = arena.matrix<std::int32_t>(x_batch, x_patches);
      x_matching = MatchBuffers<T>::take(arena, x_patches, x_width);
      x_contrast = QueueContrastBuffers<T>::take(arena, rows, x_options.keys, out);
      x_projector.place(arena, x_features, arena.matrix<T>(rows, out));
      x_projector.place_back(arena, x_d_out, x_d_features);
    }

    /// The part that has the first view.
    [[nodiscard]] bool reads_part(std::size_t part) const { return part == 0; }

    void teacher(const B& backend, const TeacherPass<DenseContrast, T>& in) {
      const Index rows = x_batch * x_patches;
      backend.copy_rows(x_teacher_features, {}, in.features.map.rows(rows, rows), {});
      x_teacher.forward(backend, in.parameters.head);
      x_teacher_unit.forward(backend, x_teacher_projected, unit_epsilon);
      backend.fill(numbers_of(x_pooled), T{0});
      for (Index b = 0; b < x_batch; ++b) {
        backend.add_column_sum(VectorView<T>(x_pooled.row(b), x_pooled.cols()),
                               x_teacher_projected.rows(b * x_patches, x_patches), {},
                               1.0 / static_cast<double>(x_patches));
      }
      x_keys.forward(backend, x_pooled, unit_epsilon);
    }

    void student(const B& backend, const StudentPass<DenseContrast, T>& in) const {
      if (!reads_part(in.part)) return;
      const Index rows = x_batch * x_patches;
      backend.copy_rows(x_features, {}, in.features.map.rows(0, rows), {});
      x_projector.forward(backend, in.parameters.head);
      match_patches(backend, x_matching, x_match, x_features, x_teacher_features);
      gather_matched(backend, x_matched, x_teacher_unit.unit, x_match);
      backend.fill(numbers_of(x_d_out), T{0});
      x_loss.clear(backend);
      queue_contrast_loss(backend, x_contrast, x_loss.value(), x_d_out, x_projector.out(), x_matched, x_queue.rows(),
                          x_options.temperature, in.weight * x_share);
      x_projector.backward(backend, in.d_parameters.head, in.parameters.head);
      put_gradients(backend, in.d_features.map.rows(0, rows), {}, x_d_features, in.d_features.adds.map);
    }

    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }
    void update(const B& backend) {
      x_projector.update(backend);
      x_teacher.update(backend);
      if (!x_ranks.alone()) gather_over_ranks(backend, x_ranks, x_all_keys, x_keys.unit, 1);
      x_queue.update(backend, x_ranks.alone() ? x_keys.unit : x_all_keys);
    }
    template <class F>
    void for_each_state(F&& f) const {
      x_projector.for_each_state("statistics.dense_projector.", f);
      x_teacher.for_each_state("teacher_statistics.dense_projector.", f);
      x_queue.for_each_state("dense_", f);
    }

   private:
    Options x_options;
    Index x_batch, x_patches, x_width;
    std::uint64_t x_seed;
    double x_share;
    Communicator x_ranks;
    StepMlp<T> x_projector, x_teacher;
    MatrixView<T> x_teacher_features, x_teacher_projected;  // (B N,D), (B N,O) of the second view
    UnitRows<T> x_teacher_unit;                             // (B N,O)
    MatrixView<T> x_pooled;                                 // (B,O)
    UnitRows<T> x_keys;                                     // (B,O)
    MatrixView<T> x_all_keys;                               // of all ranks, where there are several
    StepQueue<T> x_queue;
    TermLoss<T> x_loss;
    MatrixView<T> x_features, x_d_features;  // (B N,D) of the first view
    MatrixView<T> x_d_out, x_matched;        // (B N,O)
    MatrixView<std::int32_t> x_match;        // (B,N)
    MatchBuffers<T> x_matching;
    QueueContrastBuffers<T> x_contrast;
  };
};

}  // namespace dssl
