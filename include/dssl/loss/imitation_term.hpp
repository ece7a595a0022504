// The term that holds class tokens or maps to those of a frozen teacher: distillation.
// Tests: tests/train/imitation_term.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/frozen.hpp>
#include <dssl/loss/imitation.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/resized_map.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

[[nodiscard]] constexpr std::string_view name_of(Likeness likeness) {
  switch (likeness) {
    case Likeness::squared: return "squared";
    case Likeness::cosine: return "cosine";
    case Likeness::smooth_l1: return "smooth-l1";
    case Likeness::unit_squared: return "unit-squared";
  }
  return "unknown";
}

/// Which features are held to the teacher's.
enum class Imitated : std::uint8_t { class_level, map };

/// What stands between the student's features and the teacher's.
enum class Adapter : std::uint8_t {
  linear,  ///< a linear layer of the student's own, from its width to the teacher's
  none     ///< nothing: both have one width
};

/// Options of `Imitate`.
struct ImitateOptions {
  Likeness likeness = Likeness::cosine;

  void validate(std::string_view /*prefix*/) const {}
  /// Calls `f(name, value)` for each.
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "likeness"), name_of(likeness));
  }
};

/// Parameters of a linear adapter, or their gradients.
template <class T>
struct AdapterParameters {
  MatrixView<T> weight{};  // (E,D)
  VectorView<T> bias{};    // (E)
};

/// The student's class tokens or patches of both global views, through an adapter, held to those of a frozen teacher in the
/// same place of the same view. Source: `imitation_loss`; the mean over both views of all images. The map of a teacher whose
/// patches are of another size is read at the centres of the student's first (`ResizedMap`, bicubic, antialiased).
///
/// `TeacherT` is `Frozen<Backbone>`; terms of one sum have the same. The adapter (`class_adapter.`, `map_adapter.`; weight
/// (E,D) and bias (E) from the student's width D to the teacher's E) is trained with the student and left behind with its
/// heads. Throws `OptionError` where there is none and widths differ. Memory: the teacher's rows, (2B,E) or (2BN,E).
template <Imitated What, class TeacherT, Adapter By = Adapter::linear>
struct Imitate {
  static_assert(is_frozen<TeacherT>, "Imitate: the teacher is Frozen<Backbone>, whose weights are given");

  static constexpr bool of_map = What == Imitated::map;
  static constexpr bool adapts = By == Adapter::linear;
  static constexpr std::string_view name = of_map ? "imitate-map" : "imitate-class";
  static constexpr Reads reads{{.class_level = !of_map, .global_map = of_map}, {.class_level = !of_map, .map = of_map}};
  static constexpr Whole whole = Whole::row;
  static constexpr bool spans_ranks = true;
  using Teacher = TeacherT;
  using Options = ImitateOptions;
  template <class T>
  using StudentParameters = AdapterParameters<T>;

  /// In words, for checkpoints; sizes that are the run's stand at the end of the recipe's (`describe_recipe`).
  static std::string words() {
    std::string out = "frozen teacher";
    if constexpr (Teacher::sized) out += join(" ", Teacher::Backbone::describe(Teacher::Backbone::config));
    return out + (adapts ? "; linear adapter" : "");
  }

  static constexpr void add_student_parameters(ParameterLayout& layout, const HeadConfig& /*head*/, Index width,
                                               Index teacher_width) {
    if (!adapts) return;
    layout.prefix(of_map ? "map_adapter." : "class_adapter.");
    layout.add("weight", {teacher_width, width}, {.initial = InitialValues::uniform, .fan_in = width});
    layout.add("bias", {teacher_width}, {.initial = InitialValues::uniform, .fan_in = width});
    layout.prefix("");
  }
  template <class T>
  static AdapterParameters<T> bind_student(ParameterCursor<T>& next, const HeadConfig& /*head*/) {
    AdapterParameters<T> out;
    if (!adapts) return out;
    out.weight = next.matrix();
    out.bias = next.vector();
    return out;
  }

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;

    Run(const TermSetting& setting, const Options& options)
        : x_options(options),
          x_view(setting.batch * (of_map ? setting.grids.at(0).size() : 1)),
          x_width(setting.width),
          x_teacher_width(setting.frozen_width),
          x_resize(of_map ? ResizedMap<B>(setting.grids.at(0), setting.frozen, PositionRule::size_antialiased, 2 * setting.batch)
                          : ResizedMap<B>()) {
      if (!adapts && x_width != x_teacher_width) {
        throw OptionError("width", x_width, join(x_teacher_width, ", the frozen teacher's: the term '", name, "' has no adapter"));
      }
      for (const PartViews& part : setting.parts) {
        x_parts.push_back({.first = part.first, .globals = part.globals()});
      }
      x_share = setting.share * static_cast<double>(x_parts.front().globals) / 2;  // of what a part adds
    }

    void place_lasting(const B& backend, Arena& arena) {
      x_targets = arena.matrix<T>(2 * x_view, x_teacher_width);
      x_resize.place(backend, arena, x_teacher_width);
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t number) {
      if (!reads_part(number)) return;
      x_Part& part = x_parts[number];
      const Index rows = part.globals * x_view;
      part.buffers = ImitationBuffers<T>::take(arena, rows, x_teacher_width);
      if (!adapts) return;
      part.adapted = arena.matrix<T>(rows, x_teacher_width);
      part.d_adapted = arena.matrix<T>(rows, x_teacher_width);
      part.d = arena.matrix<T>(rows, x_width);
    }
    [[nodiscard]] bool reads_part(std::size_t part) const { return x_parts[part].globals > 0; }

    void teacher(const B& backend, const TeacherPass<Imitate, T>& in) const {
      x_resize.read(backend, x_targets, x_of(in.features));
    }
    void student(const B& backend, const StudentPass<Imitate, T>& in) const {
      if (!reads_part(in.part)) return;
      if (in.part == 0) x_loss.clear(backend);
      const x_Part& part = x_parts[in.part];
      const Index rows = part.globals * x_view;
      const MatrixView<const T> features = x_of(in.features).rows(0, rows);
      const MatrixView<T> d_features = x_of(in.d_features).rows(0, rows);
      const MatrixView<const T> targets = x_targets.rows(part.first * x_view, rows);
      const double weight = in.weight * x_share;
      if constexpr (adapts) {
        backend.linear_forward(part.adapted, features, in.parameters.predictor.weight, in.parameters.predictor.bias);
        backend.fill(numbers_of(part.d_adapted), T{0});
        imitation_loss(backend, part.buffers, x_loss.value(), part.d_adapted, part.adapted, targets, x_options.likeness,
                       weight);
        backend.linear_backward_weight(in.d_parameters.predictor.weight, in.d_parameters.predictor.bias, part.d_adapted,
                                       features);
        backend.linear_backward_input(part.d, part.d_adapted, in.parameters.predictor.weight);
        put_gradients(backend, d_features, {}, part.d, of_map ? in.d_features.adds.map : in.d_features.adds.class_level);
      } else {
        imitation_loss(backend, part.buffers, x_loss.value(), d_features, features, targets, x_options.likeness, weight);
      }
    }

    void add_to(const B& backend, TermReport& report) const { x_loss.add_to(backend, report, x_share); }

   private:
    /// What belongs to one part of the student's pass.
    struct x_Part {
      Index first = 0;    // view
      Index globals = 0;  // global views that it has
      ImitationBuffers<T> buffers{};
      MatrixView<T> adapted{}, d_adapted{};  // (rows,E)
      MatrixView<T> d{};                     // (rows,D)
    };

    template <class Kinds>
    [[nodiscard]] static auto x_of(const Kinds& features) {
      return of_map ? features.map : features.class_level;
    }

    Options x_options;
    Index x_view;  // rows of a global view of all images
    Index x_width, x_teacher_width;
    ResizedMap<B> x_resize;
    double x_share = 1;
    std::vector<x_Part> x_parts;
    MatrixView<T> x_targets;  // (2B,E) or (2BN,E)
    TermLoss<T> x_loss;
  };
};

}  // namespace dssl
