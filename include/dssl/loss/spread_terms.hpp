// Terms that keep the class tokens of a batch apart, without a head and without a teacher: KoLeo.
// Tests: tests/train/two_view_terms.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/koleo.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>

namespace dssl {

/// KoLeo of the backbone's class tokens, of each global view by itself, the two added, at DINOv2's weight where nothing
/// else is said. Over ranks each compares its own images, as published, and the loss is the mean over ranks: other numbers
/// than those of the batch as one. Source: `koleo_loss`.
struct KoLeo {
  static constexpr std::string_view name = "koleo";
  static constexpr Reads reads{{.class_level = true}, {}};
  static constexpr Whole whole = Whole::view;
  static constexpr bool spans_ranks = true;
  static constexpr double published_weight = 0.1;
  using Teacher = NoTeacher;
  using Options = NoOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    /// Throws `OptionError` for a batch of one image, which has no neighbour.
    Run(const TermSetting& setting, const Options& /*options*/)
        : x_batch(setting.batch), x_width(setting.width), x_share(setting.share) {
      if (x_batch < 2) throw OptionError("batch", x_batch, "at least 2, on each rank: the term 'koleo' compares the images of a batch");
      for (const PartViews& part : setting.parts) {
        x_parts.push_back({.globals = part.globals(), .buffers = {}, .d = {}});
      }
    }

    void place_lasting(const B& backend, Arena& arena) {
      x_own = arena.vector<std::int32_t>(x_batch);
      number_rows(backend, x_own, 0, x_batch);
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (!reads_part(part)) return;
      x_Part& own = x_parts[part];
      own.buffers = KoLeoBuffers<T>::take(arena, x_own, x_width);
      own.d = arena.matrix<T>(own.globals * x_batch, x_width);
    }
    [[nodiscard]] bool reads_part(std::size_t part) const { return x_parts[part].globals > 0; }

    void student(const B& backend, const StudentPass<KoLeo, T>& in) const {
      if (!reads_part(in.part)) return;
      const x_Part& part = x_parts[in.part];
      // A pass is one part, or its first part has the first view.
      if (in.part == 0) x_loss.clear(backend);
      backend.fill(numbers_of(part.d), T{0});
      for (Index v = 0; v < part.globals; ++v) {
        koleo_loss(backend, part.buffers, x_loss.value(), part.d.rows(v * x_batch, x_batch),
                   in.features.class_level.rows(v * x_batch, x_batch), {}, in.weight * x_share);
      }
      put_gradients(backend, in.d_features.class_level.rows(0, part.d.rows()), {}, part.d, in.d_features.adds.class_level);
    }

    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }

   private:
    /// What belongs to one part of the student's pass.
    struct x_Part {
      Index globals = 0;  // global views that it has
      KoLeoBuffers<T> buffers;
      MatrixView<T> d;    // (globals B,D)
    };

    Index x_batch, x_width;
    double x_share;
    std::vector<x_Part> x_parts;
    VectorView<std::int32_t> x_own;
    TermLoss<T> x_loss;
  };
};

}  // namespace dssl
