// Terms that compare the class tokens of both global views behind a projector: what a step does for each of them.
// Tests: tests/train/two_view_terms.cpp, tests/train/two_view_parity.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/gathered_rows.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/step_mlp.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/nn/mlp.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// An MLP whose widths of 0 are those of the recipe's head: `hidden` between layers, `bottleneck` at the end.
[[nodiscard]] constexpr MlpConfig sized_by(const HeadConfig& head, MlpConfig config) {
  if (config.hidden == 0) config.hidden = head.hidden;
  if (config.out == 0) config.out = head.bottleneck;
  return config;
}

/// The parts of an MLP in words; its widths show in its tensors.
[[nodiscard]] inline std::string describe(const MlpConfig& c) {
  return join(c.layers, " layers, bias ", static_cast<int>(c.hidden_bias), static_cast<int>(c.last_bias), ", norm ",
              static_cast<int>(c.hidden_norm), static_cast<int>(c.last_norm), ", activation ",
              static_cast<int>(c.activation));
}

/// A name for the head of a term, so that a sum may have several terms whose heads would have one name: at most 16 small
/// letters, digits and '_'. What `NtXent<projector>` keeps as `projector.0.weight` is `views_projector.0.weight` of
/// `NtXent<projector, "views">`, and so is what lasts of it. Test: tests/train/two_view_terms.cpp.
struct HeadName {
  std::uint64_t first = 0, second = 0;  ///< eight characters each: nvcc takes no class with an array as template argument

  /// As nvcc writes it.
  constexpr HeadName(std::uint64_t first_word, std::uint64_t second_word) : first(first_word), second(second_word) {}
  template <std::size_t Length>
  consteval HeadName(const char (&text)[Length]) {
    static_assert(Length <= 17, "HeadName: at most 16 characters");
    for (std::size_t i = 0; i + 1 < Length; ++i) {
      const char c = text[i];
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) throw "HeadName: small letters, digits and '_'";
      (i < 8 ? first : second) |= static_cast<std::uint64_t>(c) << (8 * (i % 8));
    }
  }

  /// What goes by `part` where the head has no name of its own.
  [[nodiscard]] constexpr ParameterName of(std::string_view part) const {
    return first == 0 ? ParameterName(part) : x_text().append("_").append(part);
  }
  /// For checkpoints; nothing where there is none.
  [[nodiscard]] std::string words() const { return first == 0 ? "" : join("; head named ", x_text().view()); }

 private:
  [[nodiscard]] constexpr ParameterName x_text() const {
    ParameterName out;
    for (const std::uint64_t word : {first, second}) {
      for (std::uint64_t rest = word; rest != 0; rest >>= 8U) {
        const char c = static_cast<char>(rest & 0xffU);
        out.append(std::string_view(&c, 1));
      }
    }
    return out;
  }
};

/// What the comparison of a term is made for.
struct CompareSize {
  Index batch = 0;  ///< B, of all ranks
  Index points = 1; ///< K: rows of a view of an image
  Index width = 0;  ///< of the rows that are compared
  std::uint64_t seed = 0;
};

/// A comparison that keeps nothing from step to step.
struct KeepsNothing {
  template <Backend B, class Options>
  void place_lasting(const B& /*backend*/, Arena& /*arena*/, const CompareSize& /*size*/, const Options& /*options*/) {}
  template <Backend B>
  void update(const B& /*backend*/, MatrixView<const typename B::Scalar> /*targets*/) {}
  template <class F>
  void for_each_state(F&& /*f*/) const {}
};

/// Class tokens of the two global views, (2B,D) view-major, through a projector, and through a predictor where the term
/// has one, to the term's comparison; and the way back. Of a term `at_points` the features of the points that both views
/// share: (K 2 B,D), the rows of the first point of all images in both views, view-major, then those of the second; where
/// points may not be valid those that are, and where none is, no loss.
///
/// Targets are the projections of the teacher (`Ema`), the student's own without gradient (`StopGradient`), or none. Batch
/// norms see each view by itself, or both as one (`Term::views_together`); their running statistics move in `update`
/// alone, by the last pass of an update.
template <class Term, Backend B>
class ProjectedRun : public TermRun<B> {
 public:
  using T = typename B::Scalar;
  using Compare = typename Term::template Compare<T>;
  static constexpr bool teaches = Term::Teacher::pass;
  static constexpr bool own_targets = std::is_same_v<typename Term::Teacher, StopGradient>;
  static_assert(!Term::at_points || (!teaches && Term::views_together && Term::predictor.layers == 0),
                "terms of points read the student's alone, both views as one, without a predictor");

  /// Throws `OptionError` for a batch of one image. Over ranks every one does the work of the whole batch (`GatheredRows`).
  ProjectedRun(const TermSetting& setting, const typename Term::Options& options)
      : x_options(options),
        x_points(Term::at_points ? setting.points : 1),
        x_views(setting.views),
        x_own_batch(setting.batch),
        x_checked(Term::at_points && setting.checked_points),
        x_ranks(setting.ranks),
        x_gathered(setting.ranks, 2 * x_points, setting.batch),
        x_rows(x_gathered.rows()),
        x_width(setting.width),
        x_share(setting.share),
        x_projector(sized_by(setting.head, Term::projector), Term::views_together ? 1 : 2),
        x_predictor(Term::predictor.layers > 0 ? sized_by(setting.head, Term::predictor) : no_mlp,
                    Term::views_together ? 1 : 2),
        x_teacher(sized_by(setting.head, Term::projector), Term::views_together ? 1 : 2),
        x_size{x_rows / (2 * x_points), x_points, x_projector.width(), setting.seed} {
    if constexpr (Term::at_points) {
      for (Index k = 0; k < x_points; ++k) {
        for (Index view = 0; view < 2; ++view) {
          for (Index b = 0; b < setting.batch; ++b) {
            const Index partner = 1 - view;
            x_numbers.push_back(static_cast<std::int32_t>(((view * setting.batch + b) * 2 + partner) * x_points + k));
          }
        }
      }
    }
    if (x_size.batch < 2) {
      throw OptionError("batch", x_size.batch,
                        join("at least 2: the term '", Term::name, "' compares the images of a batch"));
    }
  }

  void place_lasting(const B& backend, Arena& arena) {
    x_gathered.place_lasting(backend, arena);
    if constexpr (Term::at_points) x_read = place_copy(backend, arena, x_numbers);
    if (x_checked) x_set_kept = arena.vector<std::int32_t>(x_rows);
    x_projector.place_lasting(backend, arena);
    x_predictor.place_lasting(backend, arena);
    if constexpr (teaches) {
      x_teacher.place_lasting(backend, arena);
      x_targets = arena.matrix<T>(x_rows, x_projector.width());
    }
    x_loss.place(arena);
    x_compare.place_lasting(backend, arena, x_size, x_options);
  }
  void place_teacher(const B& /*backend*/, Arena& arena) {
    x_teacher_features = arena.matrix<T>(x_rows, x_width);
    x_teacher.place(arena, x_teacher_features, x_targets);
  }
  void place_student(const B& backend, Arena& arena, std::size_t part) {
    if (!reads_part(part)) return;
    const Index out = x_projector.width();
    if constexpr (Term::at_points) x_own = arena.matrix<T>(x_gathered.own_rows(), x_width);
    if (x_checked) x_all = arena.matrix<T>(x_rows, x_width);
    x_features = arena.matrix<T>(x_rows, x_width);
    x_d_features = arena.matrix<T>(x_rows, x_width);
    x_d_out = arena.matrix<T>(x_rows, out);
    x_projector.place(arena, x_features, arena.matrix<T>(x_rows, out));
    if (x_predictor.there()) {
      x_predictor.place(arena, x_projector.out(), arena.matrix<T>(x_rows, out));
      const MatrixView<T> d_projected = arena.matrix<T>(x_rows, out);
      x_predictor.place_back(arena, x_d_out, d_projected);
      x_projector.place_back(arena, d_projected, x_d_features);
    } else {
      x_projector.place_back(arena, x_d_out, x_d_features);
    }
    x_compare.place(backend, arena, x_size, x_options);
    x_gathered.place_gradients(arena, x_width);
  }

  /// Of all ranks: a point counts where it is valid in both views.
  void set_valid(const B& backend, std::span<const std::uint8_t> valid) {
    if constexpr (Term::at_points) {
      const auto at = [&](Index view, Index b, Index k) {
        return valid.empty() || valid[static_cast<std::size_t>(((view * x_own_batch + b) * x_views + 1 - view) * x_points + k)] != 0;
      };
      x_own_valid.clear();
      for (Index k = 0; k < x_points; ++k) {
        for (Index b = 0; b < x_own_batch; ++b) x_own_valid.push_back(at(0, b, k) && at(1, b, k) ? 1 : 0);
      }
      x_valid.resize(x_own_valid.size() * static_cast<std::size_t>(x_ranks.size()));
      x_ranks.all_gather(std::span<std::uint8_t>(x_valid), std::span<const std::uint8_t>(x_own_valid));
      x_kept.clear();
      for (Index row = 0; row < x_rows; ++row) {  // (K,2,B), image b of a rank after that of the one before it
        const Index k = row / (2 * x_size.batch), b = row % x_size.batch;
        const Index said = (b % x_ranks.size() * x_points + k) * x_own_batch + b / x_ranks.size();
        if (x_valid[static_cast<std::size_t>(said)] != 0) x_kept.push_back(static_cast<std::int32_t>(row));
      }
      backend.upload(x_set_kept.data(), std::span<const std::int32_t>(x_kept));
      x_compare.set_rows(backend, x_kept);
      x_projector.use_rows(x_compared());
    }
  }
  [[nodiscard]] bool repeats() const { return !x_checked; }

  /// All views are one part.
  [[nodiscard]] bool reads_part(std::size_t part) const { return part == 0; }

  void teacher(const B& backend, const TeacherPass<Term, T>& in) {
    x_gathered.gather(backend, x_teacher_features, in.features.class_level);
    x_teacher.forward(backend, in.parameters.head);
  }

  void student(const B& backend, const StudentPass<Term, T>& in) const {
    if (!reads_part(in.part)) return;
    if constexpr (Term::at_points) {
      backend.copy_rows(x_own, {}, in.features.points, x_read);
      x_gathered.gather(backend, x_checked ? x_all : x_features, x_own);
      if (x_checked) backend.copy_rows(x_features.rows(0, x_compared()), {}, x_all, RowIndex(x_set_kept.data(), x_compared()));
    } else {
      x_gathered.gather(backend, x_features, in.features.class_level.rows(0, x_gathered.own_rows()));
    }
    x_loss.clear(backend);
    if (x_compared() > 0) x_compare_rows(backend, in);
    if constexpr (Term::at_points) {
      if (x_checked) {
        backend.fill(numbers_of(x_all), T{0});
        if (x_compared() > 0) backend.copy_rows(x_all, RowIndex(x_set_kept.data(), x_compared()), x_d_features.rows(0, x_compared()), {});
      }
      x_gathered.put_gradients(backend, in.d_features.points, x_read, x_checked ? x_all : x_d_features, in.d_features.adds.points);
    } else {
      x_gathered.put_gradients(backend, in.d_features.class_level.rows(0, x_gathered.own_rows()), {}, x_d_features,
                               in.d_features.adds.class_level);
    }
  }

  void start(TermReport& report) const {
    if (x_checked) report.counted = 0;
  }
  void add_to(const B& backend, TermReport& report) const {
    x_loss.add_to(backend, report, x_share);
    if (x_checked && x_compared() > 0) report.counted += x_share;
  }

  void update(const B& backend) {
    if (x_compared() > 0) x_projector.update(backend);
    x_predictor.update(backend);
    if constexpr (teaches) {
      x_teacher.update(backend);
      x_compare.update(backend, x_targets);
    }
  }

  template <class F>
  void for_each_state(F&& f) const {
    const ParameterName of_projector = Term::head_name.of("projector."), of_predictor = Term::head_name.of("predictor.");
    x_projector.for_each_state(join("statistics.", of_projector.view()), f);
    x_predictor.for_each_state(join("statistics.", of_predictor.view()), f);
    if constexpr (teaches) x_teacher.for_each_state(join("teacher_statistics.", of_projector.view()), f);
    x_compare.for_each_state(f);
  }

 private:
  /// Rows that are compared in this pass, of all ranks.
  [[nodiscard]] Index x_compared() const { return x_checked ? static_cast<Index>(x_kept.size()) : x_rows; }
  void x_compare_rows(const B& backend, const StudentPass<Term, T>& in) const {
    x_projector.forward(backend, in.parameters.head);
    if (x_predictor.there()) x_predictor.forward(backend, in.parameters.predictor);
    const MatrixView<T> d_out = x_d_out.rows(0, x_compared());
    backend.fill(numbers_of(d_out), T{0});
    MatrixView<const T> targets;
    if constexpr (teaches) targets = x_targets;
    if constexpr (own_targets) targets = x_projector.out();
    x_compare.run(backend, x_loss.value(), d_out, x_predictor.there() ? x_predictor.out() : x_projector.out(), targets, x_options,
                  in.weight * x_share);
    if (x_predictor.there()) x_predictor.backward(backend, in.d_parameters.predictor, in.parameters.predictor);
    x_projector.backward(backend, in.d_parameters.head, in.parameters.head);
  }

  typename Term::Options x_options;
  Index x_points, x_views, x_own_batch;
  bool x_checked;  // whether points may not be valid
  Communicator x_ranks;
  GatheredRows<T> x_gathered;
  Index x_rows, x_width;
  double x_share;
  StepMlp<T> x_projector, x_predictor, x_teacher;
  CompareSize x_size;
  Compare x_compare;
  std::vector<std::int32_t> x_numbers;  // of the rows of points that are read
  RowIndex x_read;
  std::vector<std::uint8_t> x_own_valid, x_valid;  // (K,B) pairs of this rank's points, and of each rank's
  std::vector<std::int32_t> x_kept;                // rows of all ranks that are compared, where some may not be
  VectorView<std::int32_t> x_set_kept;
  MatrixView<T> x_own;  // (2KB of this rank,D) these rows
  MatrixView<T> x_all;  // (2KB,D) where some may not be compared: all rows, then their gradients
  MatrixView<T> x_features, x_d_features, x_teacher_features;  // (2B,D), at points (2KB,D)
  MatrixView<T> x_d_out, x_targets;        // (2B,O), likewise
  TermLoss<T, Term::values> x_loss;
};

/// What such terms have in common. `Projector` and `Predictor`: an `MlpConfig` each, `no_mlp` for none. `Name`: of both.
template <class Self, class TeacherT, MlpConfig Projector, MlpConfig Predictor = no_mlp, HeadName Name = "">
struct ProjectedTerm {
  static constexpr Reads reads{{.class_level = true}, {.class_level = TeacherT::pass}};
  static constexpr Whole whole = Whole::batch;
  static constexpr bool spans_ranks = true;
  static constexpr MlpConfig projector = Projector;
  static constexpr MlpConfig predictor = Predictor;
  static constexpr HeadName head_name = Name;
  static constexpr bool views_together = false;
  static constexpr bool at_points = false;  ///< of shared points, not of class tokens
  static constexpr std::size_t values = 1;  ///< numbers that the loss is the sum of
  using Teacher = TeacherT;
  template <class T>
  using Parameters = MlpParameters<T>;
  template <class T>
  using StudentParameters = MlpParameters<T>;
  template <Backend B>
  using Run = ProjectedRun<Self, B>;

  static_assert(Projector.layers > 0, "a term that compares projections needs a projector");

  /// In words, for checkpoints: a run is not resumed with another teacher, projector or predictor.
  static std::string words() {
    std::string out = join(TeacherT::weights ? "teacher" : std::is_same_v<TeacherT, StopGradient> ? "own targets" : "no targets",
                           "; projector ", describe(Projector));
    if (Predictor.layers > 0) out += join("; predictor ", describe(Predictor));
    return out + Name.words();
  }

  static constexpr void add_parameters(ParameterLayout& layout, const HeadConfig& head, Index width) {
    add_mlp_parameters(layout, sized_by(head, Projector), width, Name.of("projector.").view());
  }
  static constexpr void add_student_parameters(ParameterLayout& layout, const HeadConfig& head, Index /*width*/) {
    if (Predictor.layers == 0) return;
    add_mlp_parameters(layout, sized_by(head, Predictor), sized_by(head, Projector).out, Name.of("predictor.").view());
  }
  template <class T>
  static MlpParameters<T> bind(ParameterCursor<T>& next, const HeadConfig& head) {
    return MlpParameters<T>::bind(next, sized_by(head, Projector));
  }
  template <class T>
  static MlpParameters<T> bind_student(ParameterCursor<T>& next, const HeadConfig& head) {
    return Predictor.layers == 0 ? MlpParameters<T>{} : MlpParameters<T>::bind(next, sized_by(head, Predictor));
  }
};

}  // namespace dssl
