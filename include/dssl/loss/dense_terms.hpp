// Terms that compare maps of patches between two views: DenseCL's.
// Tests: tests/train/dense_terms.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/over_ranks.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/loss/contrastive.hpp>
#include <dssl/loss/dense_contrastive.hpp>
#include <dssl/loss/key_queue.hpp>
#include <dssl/loss/patch_grid.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/projected_term.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/nn/mlp.hpp>

namespace dssl {

/// How patches of one view find their partners in another.
enum class Partners : std::uint8_t {
  mined,    ///< by the features of both, DenseCL's
  geometry  ///< by where they lie in the scene
};

/// Numbers of a contrast whose partners are those that lie nearest.
struct PlacedQueueOptions : QueueOptions {
  double reach = 0.7;  ///< a partner's centre is nearer than this times the larger patch's diagonal; PixPro's default

  /// Throws `OptionError`.
  void validate(std::string_view prefix) const {
    QueueOptions::validate(prefix);
    if (!(reach > 0)) throw OptionError(join(prefix, "reach"), reach, "above 0");
  }
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    QueueOptions::for_each(prefix, f);
    f(join(prefix, "reach"), reach);
  }
};

/// The first view's patches and their partners in the second view's map by the teacher, among keys of earlier images:
/// DenseCL's dense half; the other is `QueueContrast`. Source: `match_patches`, `gather_matched`, `queue_contrast_loss`.
///
/// `Partners::mined`: a patch's partner is the teacher's patch of the same image whose backbone features point most nearly
/// where its own do. `Partners::geometry`: the one whose centre is nearest in the scene (`nearest_patches`), within `reach`;
/// the loss is the mean over those patches of a pass, of all ranks, that have one, and 0 where none has. Where the views lie
/// comes with each batch (`ViewBatch::frames`); throws `ShapeError` where it does not say so. Source: none, the places are
/// PixPro's.
///
/// Both are compared behind a projector of patches (`dense_projector.`; by geometry `placed_projector.`, so that one sum may
/// have both). The queue has one key an image, the mean of its projected patches, and takes those of an update's last pass.
/// Published: both halves weigh 0.5, and the backbone is convolutional, so that its global features are pooled maps where
/// here they are class tokens. State: `dense_queue`, `dense_queue_ptr` (`placed_`), running statistics where the projector
/// has batch norm. Over ranks the queue takes the keys of all, and batch norms see the patches of all.
template <MlpConfig Projector, Partners By = Partners::mined>
struct DenseContrast {
  static constexpr bool mined = By == Partners::mined;
  static constexpr std::string_view name = mined ? "dense-contrast" : "dense-contrast-placed";
  static constexpr Reads reads{{.global_map = true}, {.map = true}};
  static constexpr Whole whole = Whole::view;
  static constexpr bool spans_ranks = true;
  static constexpr bool reads_frames = !mined;
  using Teacher = Ema;
  using Options = std::conditional_t<mined, QueueOptions, PlacedQueueOptions>;
  template <class T>
  using Parameters = MlpParameters<T>;

  static_assert(Projector.layers > 0, "DenseContrast: patches are compared behind a projector");

  /// In words, for checkpoints.
  static std::string words() { return join("projector ", describe(Projector)); }

  static constexpr void add_parameters(ParameterLayout& layout, const HeadConfig& head, Index width) {
    add_mlp_parameters(layout, sized_by(head, Projector), width,
                       mined ? "dense_projector." : "placed_projector.");
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
          x_grid(setting.grids.at(0)),
          x_patches(x_grid.size()),
          x_width(setting.width),
          x_seed(setting.seed),
          x_share(setting.share),
          x_ranks(setting.ranks),
          x_projector(sized_by(setting.head, Projector), 1, setting.ranks),
          x_teacher(sized_by(setting.head, Projector), 1, setting.ranks) {}

    void place_lasting(const B& backend, Arena& arena) {
      const Index rows = x_batch * x_patches;
      const Index out = x_projector.width();
      x_projector.place_lasting(backend, arena);
      x_teacher.place_lasting(backend, arena);
      if constexpr (mined) {
        x_teacher_features = arena.matrix<T>(rows, x_width);
      } else {
        x_match = arena.matrix<std::int32_t>(x_batch, x_patches);
        x_row_weights = arena.vector<T>(rows);
      }
      x_teacher_projected = arena.matrix<T>(rows, out);
      x_teacher_unit = UnitRows<T>::take(arena, rows, out);
      x_pooled = arena.matrix<T>(x_batch, out);
      x_keys = UnitRows<T>::take(arena, x_batch, out);
      if (!x_ranks.alone()) x_all_keys = arena.matrix<T>(x_batch * x_ranks.size(), out);
      x_queue.place_lasting(backend, arena, x_options.keys, out, x_batch * x_ranks.size(), x_seed,
                            mined ? 0x64656e73 : 0x706c6163);
      x_loss.place(arena);
    }
    void place_teacher(const B& /*backend*/, Arena& arena) {
      if constexpr (!mined) x_teacher_features = arena.matrix<T>(x_batch * x_patches, x_width);
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
      if constexpr (mined) {
        x_match = arena.matrix<std::int32_t>(x_batch, x_patches);
        x_matching = MatchBuffers<T>::take(arena, x_patches, x_width);
      }
      x_contrast = QueueContrastBuffers<T>::take(arena, rows, x_options.keys, out);
      x_projector.place(arena, x_features, arena.matrix<T>(rows, out));
      x_projector.place_back(arena, x_d_out, x_d_features);
    }

    /// The part that has the first view.
    [[nodiscard]] bool reads_part(std::size_t part) const { return part == 0; }

    /// By geometry: each patch's partner, and its part in the mean. Ranks exchange how many have one.
    void set_frames(const B& backend, std::span<const ViewFrame> frames) {
      if constexpr (!mined) {
        require_frames(frames, x_batch, name);
        const auto batch = static_cast<std::size_t>(x_batch), patches = static_cast<std::size_t>(x_patches);
        x_host_match.resize(batch * patches);
        x_host_weights.resize(batch * patches);
        Index near = 0;
        for (std::size_t b = 0; b < batch; ++b) {
          near += nearest_patches(std::span(x_host_match).subspan(b * patches, patches),
                                  std::span(x_host_weights).subspan(b * patches, patches), PatchGrid::of(frames[b], x_grid),
                                  PatchGrid::of(frames[batch + b], x_grid), x_options.reach);
        }
        double of_all = static_cast<double>(near);
        x_ranks.all_sum(std::span<double>(&of_all, 1));
        // A rank's loss counts 1 / ranks in the sum of theirs.
        const double part = of_all > 0 ? static_cast<double>(x_ranks.size()) / of_all : 0.0;
        for (T& weight : x_host_weights) weight *= static_cast<T>(part);
        backend.upload(x_match.data(), std::span<const std::int32_t>(x_host_match));
        backend.upload(x_row_weights.data(), std::span<const T>(x_host_weights));
      }
    }

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
      if constexpr (mined) match_patches(backend, x_matching, x_match, x_features, x_teacher_features);
      gather_matched(backend, x_matched, x_teacher_unit.unit, x_match);
      backend.fill(numbers_of(x_d_out), T{0});
      x_loss.clear(backend);
      queue_contrast_loss(backend, x_contrast, x_loss.value(), x_d_out, x_projector.out(), x_matched, x_queue.rows(),
                          x_options.temperature, in.weight * x_share, x_row_weights);
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
      x_projector.for_each_state(mined ? "statistics.dense_projector." : "statistics.placed_projector.", f);
      x_teacher.for_each_state(mined ? "teacher_statistics.dense_projector." : "teacher_statistics.placed_projector.", f);
      x_queue.for_each_state(mined ? "dense_" : "placed_", f);
    }

   private:
    Options x_options;
    Index x_batch;
    GridSize x_grid;
    Index x_patches, x_width;
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
    MatchBuffers<T> x_matching;              // mined
    VectorView<T> x_row_weights;             // (B N) by geometry, else empty
    std::vector<std::int32_t> x_host_match;  // what is uploaded to both
    std::vector<T> x_host_weights;
    QueueContrastBuffers<T> x_contrast;
  };
};

}  // namespace dssl
