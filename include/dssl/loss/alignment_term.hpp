// A term that holds which patches of a view are alike to the teacher: patch kernel alignment.
// Tests: tests/train/alignment_term.cpp.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/kernel_alignment.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>

namespace dssl {

/// Patch kernel alignment of the backbone's maps of each global view, the student's with the teacher's of the same
/// view, mean over both views and all images. No head, no numbers, no state. Source: `kernel_alignment_loss`.
///
/// Both see the same patches, so that nothing has to say where a view lies. Where they see the same pixels too, and the
/// teacher is a copy, the loss is 0 and has nothing to teach: it is made for a student whose patches are masked, for
/// one that is held to what its average was, or beside terms that move it. What only shifts, turns or scales all of a
/// view's features costs nothing.
struct KernelAlignment {
  static constexpr std::string_view name = "kernel-alignment";
  static constexpr Reads reads{{.global_map = true}, {.map = true}};
  static constexpr Whole whole = Whole::sequence;
  static constexpr bool spans_ranks = true;
  using Teacher = Ema;
  using Options = NoOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    /// Throws `OptionError` for views of one patch, which has nothing to be like.
    Run(const TermSetting& setting, const Options& /*options*/)
        : x_patches(setting.grids.at(0).size()),
          x_view_rows(setting.batch * x_patches),
          x_width(setting.width),
          x_share(setting.share),
          x_tokens(static_cast<std::size_t>(setting.batch), x_patches) {
      if (x_patches < 2) {
        throw OptionError("patches of a view", x_patches,
                          "at least 2: the term 'kernel-alignment' compares the patches of a view");
      }
      for (const PartViews& part : setting.parts) {
        x_parts.push_back({.first = part.first, .globals = part.globals(), .buffers = {}});
      }
    }

    void place_lasting(const B& /*backend*/, Arena& arena) {
      x_targets = arena.matrix<T>(2 * x_view_rows, x_width);
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (reads_part(part)) x_parts[part].buffers = KernelAlignmentBuffers<T>::take(arena, x_patches, x_width, x_width);
    }
    [[nodiscard]] bool reads_part(std::size_t part) const { return x_parts[part].globals > 0; }

    void teacher(const B& backend, const TeacherPass<KernelAlignment, T>& in) {
      backend.copy_rows(x_targets, {}, in.features.map.rows(0, x_targets.rows()), {});
    }

    void student(const B& backend, const StudentPass<KernelAlignment, T>& in) const {
      if (!reads_part(in.part)) return;
      const x_Part& part = x_parts[in.part];
      // A pass is one part, or its first part has the first view.
      if (in.part == 0) x_loss.clear(backend);
      for (Index v = 0; v < part.globals; ++v) {
        kernel_alignment_loss(backend, part.buffers, x_loss.value(), in.d_features.map.rows(v * x_view_rows, x_view_rows),
                              in.features.map.rows(v * x_view_rows, x_view_rows),
                              x_targets.rows((part.first + v) * x_view_rows, x_view_rows),
                              std::span<const Index>(x_tokens), {}, 0.5 * in.weight * x_share);
      }
    }

    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, 0.5 * x_share); }

   private:
    /// What belongs to one part of the student's pass.
    struct x_Part {
      Index first = 0;    // view
      Index globals = 0;  // global views that it has
      KernelAlignmentBuffers<T> buffers;
    };

    Index x_patches, x_view_rows, x_width;
    double x_share;
    std::vector<Index> x_tokens;  // (B)
    std::vector<x_Part> x_parts;
    MatrixView<T> x_targets;  // (2 B N,D)
    TermLoss<T> x_loss;       // of both views, added
  };
};

}  // namespace dssl
