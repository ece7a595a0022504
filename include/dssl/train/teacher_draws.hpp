// Points that a step draws between its teacher's pass and its student's, where the teacher says.
// Tests: tests/train/teacher_draws.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/concepts.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/nn/attention_shares.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/points/weighted_points.hpp>
#include <dssl/train/view_batch.hpp>
#include <dssl/train/view_pass.hpp>
#include <dssl/views/geometry.hpp>

namespace dssl {

/// What a teacher says of the patches of the two global views of a batch: `attention` and `disagreement`
/// (2,B,N), each where points are drawn by it. NaN where a view has no say: a patch that the other global
/// view does not show.
struct TeacherSaid {
  std::vector<double> attention, disagreement;
};

/// Draws the points of `batch.shape.drawn` anew: teacher_points (2,B,V,K) and student_points (V,B,2,K), both
/// overwritten, the others the batch's own.
///
/// A point of pair (q, v) lies in what both views show, and is drawn by what teacher view q says of its
/// patches (h,w) of `grid`, as `weights_of_teacher`; patches that it says nothing of count as the mean of the
/// others. The same place in both views, by `pair_points`. Pure in the batch, `seed` and `said`. On the host,
/// one thread: cost the patches of a view a pair. Throws `ShapeError` where frames have no extent. Test:
/// tests/train/teacher_draws.cpp.
DSSL_INLINE void draw_by_teacher(std::span<Point> teacher_points, std::span<Point> student_points,
                                 const ViewBatch& batch, const TeacherSaid& said, GridSize grid,
                                 std::uint64_t seed);

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

/// What is said of one view, in the order of the scene's columns, with the mean in the place of what is not.
[[nodiscard]] inline std::vector<double> said_in_scene(std::span<const double> of_view, GridSize grid,
                                                       bool mirrored) {
  double sum = 0;
  Index known = 0;
  for (const double s : of_view) {
    if (std::isnan(s)) continue;
    sum += s;
    ++known;
  }
  const double mean = known > 0 ? sum / static_cast<double>(known) : 0;
  std::vector<double> out;
  out.reserve(of_view.size());
  for (const double s : of_view) out.push_back(std::isnan(s) ? mean : s);
  for (Index row = 0; mirrored && row < grid.height; ++row) {
    const auto first = out.begin() + row * grid.width;
    std::reverse(first, first + grid.width);
  }
  return out;
}

}  // namespace detail

DSSL_INLINE void draw_by_teacher(std::span<Point> teacher_points, std::span<Point> student_points,
                                 const ViewBatch& batch, const TeacherSaid& said, GridSize grid,
                                 std::uint64_t seed) {
  const BatchShape& shape = batch.shape;
  const Index images = shape.batch, views = shape.view_count(), points = shape.points;
  require_shape(static_cast<Index>(batch.frames.size()) == views * images,
                "points drawn by a teacher: ", batch.frames.size(), " frames; expected one for each of ",
                views * images, " views");
  for (const ViewFrame& frame : batch.frames) {
    require_shape(frame.first.x != frame.last.x && frame.first.y < frame.last.y,
                  "points drawn by a teacher: a view's frame has no extent; expected two corners that differ "
                  "in x and in y");
  }
  std::ranges::copy(batch.teacher_points, teacher_points.begin());
  std::ranges::copy(batch.student_points, student_points.begin());
  const auto map_of = [&](Index v, Index b) {
    return FrameMap{batch.frames[static_cast<std::size_t>(v * images + b)]};
  };
  const auto patches = static_cast<std::size_t>(grid.size());
  std::vector<Point> relative(static_cast<std::size_t>(points));
  std::vector<PointWeights> weights;
  for (Index q = 0; q < 2; ++q) {
    for (Index b = 0; b < images; ++b) {
      const FrameMap teacher = map_of(q, b);
      const SceneRegion box = teacher.region();
      weights.clear();
      for (const TeacherDrawn& drawn : shape.drawn) {
        const std::span<const double> all(drawn.by == TeacherSays::attention ? said.attention
                                                                             : said.disagreement);
        const auto own = all.subspan(static_cast<std::size_t>(q * images + b) * patches, patches);
        weights.push_back(weights_of_teacher(detail::said_in_scene(own, grid, teacher.flip()), grid.height,
                                             grid.width, drawn.numbers));
      }
      for (Index v = 0; v < views; ++v) {
        const FrameMap student = map_of(v, b);
        const SceneRegion shared = overlap(teacher, student);
        const auto inside =
            [&](const ScenePoint& s) {  // of the teacher's view, as parts of its height and width
              return Point{std::clamp((s.x - box.first.x) / (box.last.x - box.first.x), 0.0, 1.0),
                           std::clamp((s.y - box.first.y) / (box.last.y - box.first.y), 0.0, 1.0)};
            };
        const ViewFrame region{inside(shared.first), inside(shared.last)};
        RandomStream random(teacher_point_key(
            {.seed = seed,
             .epoch = static_cast<std::uint32_t>(batch.epoch),
             .sample = static_cast<std::uint64_t>(batch.samples[static_cast<std::size_t>(b)])},
            q, v, views));
        const auto at_teacher = static_cast<std::size_t>(((q * images + b) * views + v) * points);
        const auto at_student = static_cast<std::size_t>(((v * images + b) * 2 + q) * points);
        for (std::size_t i = 0; i < shape.drawn.size(); ++i) {
          const auto first = static_cast<std::size_t>(shape.drawn[i].first),
                     count = static_cast<std::size_t>(shape.drawn[i].count);
          const std::span<Point> own = std::span(relative).first(count);
          weights[i].sample(own, random, region);
          pair_points(teacher_points.subspan(at_teacher + first, count),
                      student_points.subspan(at_student + first, count), teacher, student,
                      std::span<const Point>(own));
        }
      }
    }
  }
}
#endif

/// What a step keeps to draw points by its teacher; nothing where a batch has no such points.
///
/// What the teacher's features say is computed where they are; its attention on the host, of the last block's
/// queries, keys and values, which are copied there: 3 D numbers a token of the global views. Either way the
/// backend is waited for between the passes. A view's numbers are the host's then, and the points are drawn
/// there (`draw_by_teacher`).
template <class Kind, Backend B>
class TeacherDraws {
 public:
  using T = typename B::Scalar;
  using Pass = ViewPass<Kind, B>;
  using Loss = typename Kind::Loss;
  /// Whether a step of this kind can draw any, and compiles what that takes.
  static constexpr bool possible = Loss::reads.points && Loss::teacher_pass && !Loss::snapshot_reads.points;

  /// Throws `OptionError` where the network or the views cannot say where.
  TeacherDraws(const BatchShape& shape, std::uint64_t seed) : x_seed(seed) {
    if (!Loss::reads.points || shape.drawn.empty()) return;
    for (const TeacherDrawn& drawn : shape.drawn) {
      x_require(drawn, Loss::teacher_pass,
                "points that need no teacher: no term of the loss has one that sees the views in each step");
      x_require(drawn, drawn.by != TeacherSays::attention || KeepsAttention<typename Kind::Backbone>,
                "disagreement, or points that need no teacher: the backbone has no attention that can be "
                "looked at, see KeepsAttention in dssl/concepts.hpp");
      x_require(
          drawn, shape.framed && !shape.checked_points,
          "points that need no teacher: with such views their frames do not say what they show of the scene");
      x_require(drawn, !Loss::snapshot_reads.points,
                "points that need no teacher: a Snapshot reads points before there are any");
      x_require(drawn, drawn.first >= 0 && drawn.count >= 0 && drawn.first + drawn.count <= shape.points,
                "some of a pair's points");
      (drawn.by == TeacherSays::attention ? x_asked.attention : x_asked.disagreement) = true;
    }
    // The shape is validated by the step.
    x_teacher_points.resize(
        static_cast<std::size_t>(std::max<Index>(0, 2 * shape.batch * shape.view_count() * shape.points)));
    x_student_points.resize(x_teacher_points.size());
  }

  [[nodiscard]] bool any() const { return x_asked.any(); }
  /// Whether the teacher's pass must be placed as one that keeps what its blocks compute.
  [[nodiscard]] bool saves() const { return x_asked.attention || (x_asked.any() && Pass::references_alone); }
  /// What is read of the teacher beside what the loss reads.
  [[nodiscard]] FeatureKinds reads() const { return {.map = x_asked.disagreement}; }

  /// Beside the teacher's buffers. `pass`: the teacher's.
  void place(Arena& arena, const Pass& pass, Index width) {
    if (!x_asked.disagreement) return;
    const Index rows = pass.tokens().patch_count();
    x_taps = arena.vector<Taps<T>>(rows);
    x_own = arena.matrix<T>(rows, width);
    x_other = arena.matrix<T>(rows, width);
    x_norms = arena.vector<T>(rows);
    x_cosines = arena.vector<T>(rows);
  }

  /// After the teacher's pass: draws the points of a step.
  void draw(const B& backend, const Pass& pass, const ViewBatch& batch,
            const typename Kind::Backbone::Config& config) {
    if constexpr (KeepsAttention<typename Kind::Backbone>) {
      if (x_asked.attention) x_attend(backend, pass, config.heads);
    }
    if (x_asked.disagreement) x_compare(backend, pass, batch);
    draw_by_teacher(x_teacher_points, x_student_points, batch, x_said, pass.tokens().grid_of(0), x_seed);
  }
  /// Those of the last `draw`, as in a `ViewBatch`.
  [[nodiscard]] std::span<const Point> teacher_points() const { return x_teacher_points; }
  [[nodiscard]] std::span<const Point> student_points() const { return x_student_points; }
  /// What they were drawn by.
  [[nodiscard]] const TeacherSaid& said() const { return x_said; }

 private:
  static void x_require(const TeacherDrawn& drawn, bool holds, std::string_view expected) {
    if (!holds) throw OptionError("sampler", name_of(drawn.by), expected);
  }

  void x_attend(const B& backend, const Pass& pass, Index heads) {
    const TokenLayout& tokens = pass.tokens();
    const MatrixView<T> all = pass.activations().blocks.back().qkv;
    x_said.attention.clear();
    for (std::size_t s = 0; s < tokens.sequences().size(); ++s) {
      const Sequence& sequence = tokens.sequences()[s];
      const MatrixView<T> own = all.rows(sequence.first, sequence.tokens());
      x_numbers.resize(static_cast<std::size_t>(own.size()));
      backend.download(std::span<T>(x_numbers), static_cast<const T*>(own.data()));
      x_shares.resize(static_cast<std::size_t>(sequence.tokens()));
      const auto patches = static_cast<std::size_t>(tokens.grid_of(s).size());
      const auto first =
          static_cast<std::size_t>(1 + sequence.patches) - patches;  // registers lie before them
      const std::size_t at = x_said.attention.size();
      x_said.attention.resize(at + patches, 0.0);
      for (Index head = 0; head < heads; ++head) {
        attention_shares<Kind::Tokens::relation>(
            std::span(x_shares), MatrixView<const T>(x_numbers.data(), own.rows(), own.cols()), sequence,
            TokenGroup::class_token, 0, heads, head);
        for (std::size_t n = 0; n < patches; ++n)
          x_said.attention[at + n] += x_shares[first + n] / static_cast<double>(heads);
      }
    }
  }

  void x_compare(const B& backend, const Pass& pass, const ViewBatch& batch) {
    const TokenLayout& tokens = pass.tokens();
    const GridSize grid = tokens.grid_of(0);
    const Index images = batch.shape.batch;
    x_taps_host.clear();
    x_shown.clear();
    for (Index q = 0; q < 2; ++q) {
      for (Index b = 0; b < images; ++b) {
        const FrameMap own{batch.frames[static_cast<std::size_t>(q * images + b)]};
        const FrameMap other{batch.frames[static_cast<std::size_t>((1 - q) * images + b)]};
        const Index first_row = ((1 - q) * images + b) * grid.size();
        for (Index n = 0; n < grid.size(); ++n) {
          const Point centre{
              (2 * static_cast<double>(n % grid.width) + 1) / static_cast<double>(grid.width) - 1,
              (2 * static_cast<double>(n / grid.width) + 1) / static_cast<double>(grid.height) - 1};
          const Point there = other.to_view(own.to_scene(centre));
          const bool shown = std::abs(there.x) <= 1 && std::abs(there.y) <= 1;
          x_shown.push_back(shown ? 1 : 0);
          x_taps_host.push_back(point_read<T>(shown ? there : Point{}, grid, first_row));
        }
      }
    }
    const MatrixView<T> map = pass.patch_rows(pass.activations().out).rows(0, x_own.rows());
    backend.upload(x_taps.data(), std::span<const Taps<T>>(x_taps_host));
    backend.sample_rows_forward(x_own, map, x_taps);
    backend.l2_normalise_forward(x_other, x_norms, x_own, 1e-12);
    backend.l2_normalise_forward(x_own, x_norms, map, 1e-12);
    backend.row_dots(x_cosines, x_own, x_other);
    x_numbers.resize(static_cast<std::size_t>(x_cosines.size()));
    backend.download(std::span<T>(x_numbers), static_cast<const T*>(x_cosines.data()));
    x_said.disagreement.clear();
    for (std::size_t i = 0; i < x_numbers.size(); ++i) {
      // A cosine that is not finite is one, so that what is said is not taken for what is not.
      const double apart = std::max(0.0, 1 - static_cast<double>(x_numbers[i]));
      x_said.disagreement.push_back(x_shown[i] == 0 ? std::numeric_limits<double>::quiet_NaN() : apart);
    }
  }

  std::uint64_t x_seed;
  TeacherAsked x_asked{};
  TeacherSaid x_said;
  std::vector<Point> x_teacher_points, x_student_points;
  std::vector<T> x_numbers;
  std::vector<double> x_shares;
  std::vector<Taps<T>> x_taps_host;
  std::vector<std::uint8_t> x_shown;
  // Of disagreement alone.
  VectorView<Taps<T>> x_taps;
  MatrixView<T> x_own, x_other;  // (2 B N, D)
  VectorView<T> x_norms, x_cosines;
};

}  // namespace dssl
