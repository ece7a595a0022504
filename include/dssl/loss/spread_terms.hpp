// Terms that keep the class tokens of a batch apart, without a head and without a teacher: KoLeo.
// Tests: tests/train/two_view_terms.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/koleo.hpp>
#include <dssl/loss/term.hpp>

namespace dssl {

/// KoLeo of the backbone's class tokens, of each global view by itself, the two added. Weight in DINOv2: 0.1. Source:
/// `koleo_loss`.
struct KoLeo {
  static constexpr std::string_view name = "koleo";
  static constexpr Reads reads{{.class_level = true}, {}};
  static constexpr Whole whole = Whole::view;
  using Teacher = NoTeacher;
  using Options = NoOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    /// Throws `OptionError` for a batch of one image, which has no neighbour.
    Run(const TermSetting& setting, const Options& /*options*/)
        : x_batch(setting.batch), x_width(setting.width), x_share(setting.share) {
      if (x_batch < 2) throw OptionError("batch", x_batch, "at least 2: the term 'koleo' compares the images of a batch");
      for (const PartViews& part : setting.parts) {
        x_parts.push_back({.globals = std::clamp(2 - part.first, Index{0}, part.views), .buffers = {}, .d = {}});
      }
    }

    void place_lasting(const B& backend, Arena& arena) {
      x_own = arena.vector<std::int32_t>(x_batch);
      number_rows(backend, x_own, 0, x_batch);
      x_value = arena.vector<T>(1);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (!reads_part(part)) return;
      x_Part& own = x_parts[part];
      own.buffers = KoLeoBuffers<T>::take(arena, x_batch, x_width);
      own.buffers.own = x_own;
      own.d = arena.matrix<T>(own.globals * x_batch, x_width);
    }
    [[nodiscard]] bool reads_part(std::size_t part) const { return x_parts[part].globals > 0; }

    void student(const B& backend, const StudentPass<KoLeo, T>& in) const {
      if (!reads_part(in.part)) return;
      const x_Part& part = x_parts[in.part];
      // A pass is one part, or its first part has the first view.
      if (in.part == 0) backend.fill(x_value, T{0});
      backend.fill(numbers_of(part.d), T{0});
      for (Index v = 0; v < part.globals; ++v) {
        koleo_loss(backend, part.buffers, x_value, part.d.rows(v * x_batch, x_batch),
                   in.features.class_level.rows(v * x_batch, x_batch), {}, in.weight * x_share);
      }
      put_gradients(backend, in.d_features.class_level.rows(0, part.d.rows()), {}, part.d, in.d_features.adds.class_level);
    }

    void add_to(const B& backend, TermReport& report) {
      T value{};
      backend.download(std::span<T>(&value, 1), static_cast<const T*>(x_value.data()));
      report.loss += x_share * static_cast<double>(value);
      require_finite_loss(report);
    }

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
    VectorView<T> x_value;
  };
};

}  // namespace dssl
