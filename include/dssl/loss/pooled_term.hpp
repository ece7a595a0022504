// The mean of a view's patches held to a teacher's class token of another view.
// Tests: tests/train/dense_terms.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/loss/cosine.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>

namespace dssl {

/// What the student's patches of a view say together is what the EMA teacher's class token says of another one:
///
///   loss = mean over images and pairs (q, v), v != q, of 1 - cos(sum_n map_vn, class_q)
///
/// q of the two global views, v of all views, n of v's patches. Losses of class tokens leave patches to themselves, and
/// losses of patches the image; this one ties both, without a head, so that the mean of a map can be searched and classified
/// by. Features alone can agree by all being alike: a term beside others, not a method. Memory: two rows of D for each view of
/// an image and six for each pair.
struct PooledAgreement {
  static constexpr std::string_view name = "pooled-agreement";
  static constexpr Reads reads{{.map = true}, {.class_level = true}};
  static constexpr Whole whole = Whole::sequence;
  static constexpr bool spans_ranks = true;
  using Teacher = Ema;
  using Options = NoOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    Run(const TermSetting& s, const Options& /*options*/) : x_batch(s.batch), x_width(s.width), x_share(s.share) {
      const auto pairs = static_cast<double>(2 * (s.views - 1) * s.batch);
      for (const PartViews& views : s.parts) {
        x_Part& part = x_parts.emplace_back();
        for (Index v = views.first; v < views.first + views.views; ++v) {
          for (Index b = 0; b < s.batch; ++b) {
            const auto row = static_cast<std::int32_t>(part.sequences++);
            part.of_patches.insert(part.of_patches.end(), static_cast<std::size_t>(s.grids[static_cast<std::size_t>(v)].size()), row);
            for (Index q = 0; q < 2; ++q) {
              if (q == v) continue;
              part.student.push_back(row);
              part.teacher.push_back(static_cast<std::int32_t>(q * s.batch + b));
            }
          }
        }
        part.scale = static_cast<double>(part.student.size()) / pairs;
      }
    }

    void place_lasting(const B& backend, Arena& arena) {
      for (x_Part& part : x_parts) {
        part.patch_rows = place_copy(backend, arena, part.of_patches);
        part.student_rows = place_copy(backend, arena, part.student);
        part.teacher_rows = place_copy(backend, arena, part.teacher);
      }
      x_targets = arena.matrix<T>(2 * x_batch, x_width);
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t number) {
      x_Part& part = x_parts[number];
      const auto pairs = static_cast<Index>(part.student.size());
      for (MatrixView<T>* matrix : {&part.pooled, &part.d_pooled}) *matrix = arena.matrix<T>(part.sequences, x_width);
      for (MatrixView<T>* matrix : {&part.x, &part.target, &part.d}) *matrix = arena.matrix<T>(pairs, x_width);
      part.buffers = CosineBuffers<T>::take(arena, pairs, x_width);
    }

    void teacher(const B& backend, const TeacherPass<PooledAgreement, T>& in) const {
      backend.copy_rows(x_targets, {}, in.features.class_level.rows(0, x_targets.rows()), {});
    }
    void student(const B& backend, const StudentPass<PooledAgreement, T>& in) const {
      if (in.part == 0) x_loss.clear(backend);
      const x_Part& part = x_parts[in.part];
      const Index patches = part.patch_rows.size();
      backend.fill(numbers_of(part.pooled), T{0});
      backend.add_rows(part.pooled, part.patch_rows, in.features.map.rows(0, patches), {});
      backend.copy_rows(part.x, {}, part.pooled, part.student_rows);
      backend.copy_rows(part.target, {}, x_targets, part.teacher_rows);
      backend.fill(numbers_of(part.d), T{0});
      cosine_loss(backend, part.buffers, x_loss.value(), part.d, part.x, part.target,
                  {.factor = part.scale, .offset = part.scale}, in.weight * x_share);
      backend.fill(numbers_of(part.d_pooled), T{0});
      backend.add_rows(part.d_pooled, part.student_rows, part.d, {});
      backend.add_rows(in.d_features.map.rows(0, patches), {}, part.d_pooled, part.patch_rows);
    }
    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }

   private:
    /// What belongs to one part of the student's pass.
    struct x_Part {
      Index sequences = 0;                   // views of images
      std::vector<std::int32_t> of_patches;  // the sequence of each patch
      std::vector<std::int32_t> student;     // the sequence of each pair
      std::vector<std::int32_t> teacher;     // the class token of each pair
      double scale = 1;                      // share of all pairs
      RowIndex patch_rows, student_rows, teacher_rows;
      MatrixView<T> pooled, d_pooled;  // (sequences,D)
      MatrixView<T> x, target, d;      // (pairs,D)
      CosineBuffers<T> buffers;
    };

    Index x_batch, x_width;
    double x_share;
    std::vector<x_Part> x_parts;
    MatrixView<T> x_targets;  // (2B,D)
    TermLoss<T> x_loss;
  };
};

}  // namespace dssl
