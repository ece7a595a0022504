// The term of similarities between patches held to an earlier teacher's: Gram anchoring of DINOv3.
// Tests: tests/train/gram_term.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/gram.hpp>
#include <dssl/loss/resized_map.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Options of `Gram`.
struct GramOptions {
  GramNumbers numbers{};
  SnapshotOptions snapshot{};  ///< of a teacher that is one
  /// How its map is read for the student's patches where it saw views of another size. Source: DINOv3's
  /// `gram.global_teacher_resize_*`, bicubic and not antialiased.
  PositionRule resize = PositionRule::size;

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate(std::string_view prefix) const { snapshot.validate(join(prefix, "snapshot.")); }
  /// Calls `f(name, value)` for each.
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "normalised"), numbers.normalised);
    f(join(prefix, "negative"), static_cast<Index>(numbers.negative));
    snapshot.for_each(join(prefix, "snapshot."), f);
    f(join(prefix, "resize"), static_cast<Index>(resize));
  }
};

/// Cosines between the patches of each global view held to those of a teacher: a snapshot of the EMA, or `Gram<Ema>`, the EMA
/// itself. The mean over both views of all images.
///
/// Memory: the teacher's map of both global views, (2BN,D), and (N,N) similarities twice. A snapshot may see the views at
/// another size (`BatchShape::snapshot_view`; published: 768 pixels for the student's 256); its map is resized to the
/// student's patches (`GramOptions::resize`) before rows are made unit vectors. Source: `gram_loss`; DINOv3's
/// `get_gram_teacher_output`. Tests: tests/train/gram_term.cpp, snapshot_views.cpp, dinov3_parity.cpp.
template <class TeacherT = Snapshot<Ema>>
struct Gram {
  static constexpr std::string_view name = "gram";
  static constexpr Reads reads{{.global_map = true}, {.map = true}};
  static constexpr Whole whole = Whole::sequence;
  static constexpr bool spans_ranks = true;
  static constexpr bool resizes_snapshot = true;  ///< its map to the student's patches
  using Teacher = TeacherT;
  using Options = GramOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    Run(const TermSetting& setting, const Options& options)
        : x_options(options),
          x_view(setting.batch * setting.grids[0].size()),
          x_patches(setting.grids[0].size()),
          x_width(setting.width),
          x_resize(setting.grids[0], is_snapshot<Teacher> && setting.snapshot.size() > 0 ? setting.snapshot : setting.grids[0],
                   options.resize, 2 * setting.batch) {
      for (const PartViews& part : setting.parts) {
        x_parts.push_back({.first = part.first, .globals = part.globals(), .buffers = {}});
      }
      x_share = setting.share * static_cast<double>(x_parts.front().globals) / 2;  // of what a part adds
    }

    void place_lasting(const B& backend, Arena& arena) {
      x_teacher = arena.matrix<T>(2 * x_view, x_width);
      x_resize.place(backend, arena, x_width);
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (reads_part(part)) x_parts[part].buffers = GramBuffers<T>::take(arena, x_patches, x_width, x_width);
    }
    [[nodiscard]] bool reads_part(std::size_t part) const { return x_parts[part].globals > 0; }

    void teacher(const B& backend, const TeacherPass<Gram, T>& in) const {
      x_resize.read(backend, x_teacher, in.features.map);
    }
    void student(const B& backend, const StudentPass<Gram, T>& in) const {
      if (!reads_part(in.part)) return;
      const x_Part& part = x_parts[in.part];
      if (in.part == 0) x_loss.clear(backend);
      const Index rows = part.globals * x_view;
      gram_loss(backend, part.buffers, x_loss.value(), in.d_features.map.rows(0, rows), in.features.map.rows(0, rows),
                x_teacher.rows(part.first * x_view, rows), x_options.numbers, in.weight * x_share);
    }

    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }

   private:
    /// What belongs to one part of the student's pass.
    struct x_Part {
      Index first = 0;    // view
      Index globals = 0;  // global views that it has
      GramBuffers<T> buffers;
    };

    Options x_options;
    Index x_view, x_patches, x_width;  // patches of a view of all images, and of one
    double x_share = 1;
    std::vector<x_Part> x_parts;
    MatrixView<T> x_teacher;  // (2BN,D)
    ResizedMap<B> x_resize;   // of a teacher that sees other sizes
    TermLoss<T> x_loss;
  };
};

}  // namespace dssl
