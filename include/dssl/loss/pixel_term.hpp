// The term that holds patches to what lies in the same place of the other view: PixPro's.
// Tests: tests/train/pixel_term.cpp.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/loss/patch_grid.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/pixel_consistency.hpp>
#include <dssl/loss/pixel_propagation.hpp>
#include <dssl/loss/projected_term.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/nn/mlp.hpp>

namespace dssl {

/// Numbers of PixPro; defaults are the published ones.
struct PixelConsistencyOptions {
  double reach = 0.7;  ///< patches are pairs where their centres are nearer than this times the larger patch's diagonal
  Index power = 2;     ///< of the cosines by which patches are passed on: 1 or 2

  /// Throws `OptionError`.
  void validate(std::string_view prefix) const {
    if (!(reach > 0)) throw OptionError(join(prefix, "reach"), reach, "above 0");
    if (power != 1 && power != 2) throw OptionError(join(prefix, "power"), power, "1 or 2");
  }
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "reach"), reach);
    f(join(prefix, "power"), power);
  }
};

/// Patches of each global view, projected and passed on among the patches of their image, held to the teacher's projected
/// patches of the other view that lie near them in the scene: PixPro. Source: `pixel_propagation_forward`,
/// `near_patches`, `pixel_consistency_loss`; both directions are added, so the least loss is -4.
///
/// Where the views lie comes with each batch (`ViewBatch::frames`). `Projector` (`pixel_projector.`) is the teacher's too;
/// `Transform` (`value_transform.`, `no_mlp` for none) is the student's alone. Batch norms see each view by itself, over ranks the patches of all. The
/// published instance branch, BYOL's on pooled maps, is another term (`Cosine`); published backbones are convolutional.
/// State: running statistics where the MLPs have batch norm. Throws `ShapeError` where a batch does not say where its views
/// lie (no frames, or the zeros of `ViewBatch::of`), `OptionError` where a view has one patch and the batch of all ranks one image.
template <MlpConfig Projector, MlpConfig Transform>
struct PixelConsistency {
  static constexpr std::string_view name = "pixel-consistency";
  static constexpr bool reads_frames = true;
  static constexpr Reads reads{{.global_map = true}, {.map = true}};
  static constexpr Whole whole = Whole::batch;
  static constexpr bool spans_ranks = true;
  using Teacher = Ema;
  using Options = PixelConsistencyOptions;
  template <class T>
  using Parameters = MlpParameters<T>;
  template <class T>
  using StudentParameters = MlpParameters<T>;

  static_assert(Projector.layers > 0, "PixelConsistency: patches are compared behind a projector");

  /// In words, for checkpoints.
  static std::string words() {
    std::string out = join("projector ", describe(Projector));
    if (Transform.layers > 0) out += join("; transform ", describe(Transform));
    return out;
  }

  static constexpr void add_parameters(ParameterLayout& layout, const HeadConfig& head, Index width) {
    add_mlp_parameters(layout, sized_by(head, Projector), width, "pixel_projector.");
  }
  static constexpr void add_student_parameters(ParameterLayout& layout, const HeadConfig& head, Index /*width*/) {
    if (Transform.layers == 0) return;
    add_mlp_parameters(layout, sized_by(head, Transform), sized_by(head, Projector).out, "value_transform.");
  }
  template <class T>
  static MlpParameters<T> bind(ParameterCursor<T>& next, const HeadConfig& head) {
    return MlpParameters<T>::bind(next, sized_by(head, Projector));
  }
  template <class T>
  static MlpParameters<T> bind_student(ParameterCursor<T>& next, const HeadConfig& head) {
    return Transform.layers == 0 ? MlpParameters<T>{} : MlpParameters<T>::bind(next, sized_by(head, Transform));
  }

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    Run(const TermSetting& setting, const Options& options)
        : x_options(options),
          x_batch(setting.batch),
          x_grid(setting.grids.at(0)),
          x_rows(2 * setting.batch * x_grid.size()),
          x_width(setting.width),
          x_share(setting.share),
          x_projector(sized_by(setting.head, Projector), 2, setting.ranks),
          x_transform(Transform.layers > 0 ? sized_by(setting.head, Transform) : no_mlp, 2, setting.ranks),
          x_teacher(sized_by(setting.head, Projector), 2, setting.ranks),
          x_host_weights(static_cast<std::size_t>(x_rows * x_grid.size())) {
      const Index images = x_batch * setting.ranks.size();
      if (images * x_grid.size() < 2) throw OptionError("batch", images, join("at least 2: the term '", name, "' compares patches"));
    }

    void place_lasting(const B& backend, Arena& arena) {
      x_projector.place_lasting(backend, arena);
      x_transform.place_lasting(backend, arena);
      x_teacher.place_lasting(backend, arena);
      x_targets = arena.matrix<T>(x_rows, x_projector.width());
      x_weights = arena.matrix<T>(x_rows, x_grid.size());
      x_loss.place(arena);
    }
    void place_teacher(const B& /*backend*/, Arena& arena) {
      x_teacher_features = arena.matrix<T>(x_rows, x_width);
      x_teacher.place(arena, x_teacher_features, x_targets);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (!reads_part(part)) return;
      const Index out = x_projector.width();
      const Index values = x_transform.there() ? x_transform.width() : out;
      x_features = arena.matrix<T>(x_rows, x_width);
      x_d_features = arena.matrix<T>(x_rows, x_width);
      x_projector.place(arena, x_features, arena.matrix<T>(x_rows, out));
      x_d_projected = arena.matrix<T>(x_rows, out);
      x_projector.place_back(arena, x_d_projected, x_d_features);
      x_d_values = arena.matrix<T>(x_rows, values);
      if (x_transform.there()) {
        x_transform.place(arena, x_projector.out(), arena.matrix<T>(x_rows, values));
        x_d_from_values = arena.matrix<T>(x_rows, out);
        x_transform.place_back(arena, x_d_values, x_d_from_values);
      }
      x_passed_on = arena.matrix<T>(x_rows, values);
      x_d_passed_on = arena.matrix<T>(x_rows, values);
      x_propagation = PixelPropagationBuffers<T>::take(arena, x_grid.size(), out, values);
      x_consistency = PixelConsistencyBuffers<T>::take(arena, x_grid.size(), x_grid.size(), values);
    }

    /// All views are one part.
    [[nodiscard]] bool reads_part(std::size_t part) const { return part == 0; }

    /// Which patches are pairs: (2B N,N), view 0 with view 1 as keys, then the other way.
    void set_frames(const B& backend, std::span<const ViewFrame> frames) {
      require_frames(frames, x_batch, name);
      const auto batch = static_cast<std::size_t>(x_batch);
      const auto patches = static_cast<std::size_t>(x_grid.size());
      const std::span<T> weights(x_host_weights);
      for (std::size_t b = 0; b < batch; ++b) {
        const std::span<T> to_second = weights.subspan(b * patches * patches, patches * patches);
        const std::span<T> to_first = weights.subspan((batch + b) * patches * patches, patches * patches);
        near_patches(to_second, PatchGrid::of(frames[b], x_grid), PatchGrid::of(frames[batch + b], x_grid), x_options.reach);
        for (std::size_t n = 0; n < patches; ++n) {
          for (std::size_t m = 0; m < patches; ++m) to_first[m * patches + n] = to_second[n * patches + m];
        }
      }
      backend.upload(x_weights.data(), std::span<const T>(x_host_weights));
    }

    void teacher(const B& backend, const TeacherPass<PixelConsistency, T>& in) {
      backend.copy_rows(x_teacher_features, {}, in.features.map.rows(0, x_rows), {});
      x_teacher.forward(backend, in.parameters.head);
    }

    void student(const B& backend, const StudentPass<PixelConsistency, T>& in) const {
      if (!reads_part(in.part)) return;
      backend.copy_rows(x_features, {}, in.features.map.rows(0, x_rows), {});
      x_projector.forward(backend, in.parameters.head);
      if (x_transform.there()) x_transform.forward(backend, in.parameters.predictor);
      const MatrixView<const T> projected = x_projector.out();
      const MatrixView<const T> values = x_transform.there() ? x_transform.out() : x_projector.out();
      pixel_propagation_forward(backend, x_propagation, x_passed_on, projected, values, x_options.power);

      x_loss.clear(backend);
      backend.fill(numbers_of(x_d_passed_on), T{0});
      const Index rows = x_rows / 2;
      for (const Index view : {Index{0}, Index{1}}) {
        pixel_consistency_loss(backend, x_consistency, x_loss.value(), x_d_passed_on.rows(view * rows, rows),
                               x_passed_on.rows(view * rows, rows), x_targets.rows((1 - view) * rows, rows),
                               x_weights.rows(view * rows, rows), in.weight * x_share);
      }

      backend.fill(numbers_of(x_d_projected), T{0});
      backend.fill(numbers_of(x_d_values), T{0});
      pixel_propagation_backward(backend, x_propagation, x_d_projected, x_d_values, x_d_passed_on, projected, values,
                                 x_options.power);
      if (x_transform.there()) {
        x_transform.backward(backend, in.d_parameters.predictor, in.parameters.predictor);
        backend.accumulate(numbers_of(x_d_projected), numbers_of(x_d_from_values));
      } else {
        backend.accumulate(numbers_of(x_d_projected), numbers_of(x_d_values));
      }
      x_projector.backward(backend, in.d_parameters.head, in.parameters.head);
      put_gradients(backend, in.d_features.map.rows(0, x_rows), {}, x_d_features, in.d_features.adds.map);
    }

    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }
    void update(const B& backend) const {
      x_projector.update(backend);
      x_transform.update(backend);
      x_teacher.update(backend);
    }
    template <class F>
    void for_each_state(F&& f) const {
      x_projector.for_each_state("statistics.pixel_projector.", f);
      x_transform.for_each_state("statistics.value_transform.", f);
      x_teacher.for_each_state("teacher_statistics.pixel_projector.", f);
    }

   private:
    Options x_options;
    Index x_batch;
    GridSize x_grid;
    Index x_rows, x_width;
    double x_share;
    StepMlp<T> x_projector, x_transform, x_teacher;
    TermLoss<T> x_loss;
    std::vector<T> x_host_weights;
    MatrixView<T> x_weights;                               // (2B N,N)
    MatrixView<T> x_targets;                               // (2B N,O) the teacher's
    MatrixView<T> x_teacher_features;                      // (2B N,D)
    MatrixView<T> x_features, x_d_features;                // (2B N,D)
    MatrixView<T> x_d_projected, x_d_from_values;          // (2B N,O)
    MatrixView<T> x_d_values, x_passed_on, x_d_passed_on;  // (2B N,O)
    PixelPropagationBuffers<T> x_propagation;
    PixelConsistencyBuffers<T> x_consistency;
  };
};

}  // namespace dssl
