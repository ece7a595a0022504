// Terms that keep the class tokens of a batch apart, without a head and without a teacher: KoLeo.
// Tests: tests/train/two_view_terms.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/gathered_rows.hpp>
#include <dssl/loss/koleo.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>

namespace dssl {

/// Numbers of `KoLeo`.
struct KoLeoOptions {
  bool all_ranks = false;  ///< an image's neighbour is looked for among those of all ranks; published: of its own

  void validate(std::string_view /*prefix*/) const {}
  /// Calls `f(name, value)` for each.
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "all_ranks"), all_ranks);
  }
};

/// KoLeo of the backbone's class tokens, of each global view by itself, the two added, at DINOv2's weight where nothing
/// else is said. Over ranks each compares its own images, as published, and the loss is the mean over ranks: other numbers
/// than those of the batch as one. With `KoLeoOptions::all_ranks` it is that of the batch as one: class tokens are gathered,
/// and every rank compares all of them (`GatheredRows`). Source: `koleo_loss`.
struct KoLeo {
  static constexpr std::string_view name = "koleo";
  static constexpr Reads reads{{.class_level = true}, {}};
  static constexpr Whole whole = Whole::view;
  static constexpr bool spans_ranks = true;
  static constexpr double published_weight = 0.1;
  using Teacher = NoTeacher;
  using Options = KoLeoOptions;

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    /// Throws `OptionError` for a batch of one image, which has no neighbour.
    Run(const TermSetting& setting, const Options& options)
        : x_ranks(options.all_ranks ? setting.ranks : Communicator()),
          x_images(setting.batch * x_ranks.size()),
          x_width(setting.width),
          x_share(setting.share) {
      if (x_images < 2) {
        throw OptionError("batch", x_images, join("at least 2", options.all_ranks ? "" : ", on each rank",
                                                  ": the term 'koleo' compares the images of a batch"));
      }
      for (const PartViews& part : setting.parts) {
        x_parts.push_back({.globals = part.globals(), .gathered = {x_ranks, part.globals(), setting.batch}});
      }
    }

    void place_lasting(const B& backend, Arena& arena) {
      x_own = arena.vector<std::int32_t>(x_images);
      number_rows(backend, x_own, 0, x_images);
      for (x_Part& part : x_parts) {
        if (part.globals > 0) part.gathered.place_lasting(backend, arena);
      }
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (!reads_part(part)) return;
      x_Part& own = x_parts[part];
      own.buffers = KoLeoBuffers<T>::take(arena, x_own, x_width);
      own.d = arena.matrix<T>(own.globals * x_images, x_width);
      if (!x_ranks.alone()) own.all = arena.matrix<T>(own.globals * x_images, x_width);
      own.gathered.place_gradients(arena, x_width);
    }
    [[nodiscard]] bool reads_part(std::size_t part) const { return x_parts[part].globals > 0; }

    void student(const B& backend, const StudentPass<KoLeo, T>& in) const {
      if (!reads_part(in.part)) return;
      const x_Part& part = x_parts[in.part];
      // A pass is one part, or its first part has the first view.
      if (in.part == 0) x_loss.clear(backend);
      MatrixView<const T> rows = in.features.class_level.rows(0, part.gathered.own_rows());
      if (!x_ranks.alone()) {
        part.gathered.gather(backend, part.all, rows);
        rows = part.all;
      }
      backend.fill(numbers_of(part.d), T{0});
      for (Index v = 0; v < part.globals; ++v) {
        koleo_loss(backend, part.buffers, x_loss.value(), part.d.rows(v * x_images, x_images), rows.rows(v * x_images, x_images), {},
                   in.weight * x_share);
      }
      part.gathered.put_gradients(backend, in.d_features.class_level.rows(0, part.gathered.own_rows()), {}, part.d,
                                  in.d_features.adds.class_level);
    }

    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }

   private:
    /// What belongs to one part of the student's pass.
    struct x_Part {
      Index globals = 0;  // global views that it has
      GatheredRows<T> gathered;
      KoLeoBuffers<T> buffers{};
      MatrixView<T> d{}, all{};  // (globals B,D), of all ranks where they are compared
    };

    Communicator x_ranks;  // whose images are compared
    Index x_images, x_width;
    double x_share;
    std::vector<x_Part> x_parts;
    VectorView<std::int32_t> x_own;
    TermLoss<T> x_loss;
  };
};

}  // namespace dssl
