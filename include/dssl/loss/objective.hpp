// Objectives: sums of terms, and the three published ones.
// Tests: tests/loss/objective.cpp, tests/train/loss_parity.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include <dssl/concepts.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/frozen.hpp>
#include <dssl/loss/prototype_level.hpp>
#include <dssl/loss/term.hpp>

namespace dssl {

/// Types, in order.
template <class... Ts>
struct TypeList {
  static constexpr std::size_t size = sizeof...(Ts);
};

/// A term whose snapshot may see views of another size: it reads the map for the student's patches.
template <class Term>
concept ResizesSnapshot = requires { requires Term::resizes_snapshot; };

/// What is known of the terms of an objective at compile time.
template <class... Ts>
struct TermList {
  using Terms = TypeList<Ts...>;

  /// What any of them reads of either network.
  static constexpr FeatureKinds reads = (Ts::reads.student | ...) | (Ts::reads.teacher | ...);
  /// What any of them reads of each.
  static constexpr FeatureKinds student_reads = (Ts::reads.student | ...);
  static constexpr FeatureKinds teacher_reads =
      ((is_snapshot<typename Ts::Teacher> || is_frozen<typename Ts::Teacher> ? FeatureKinds{} : Ts::reads.teacher) | ...);
  /// What is read of a snapshot of the teacher, and how many terms have one.
  static constexpr FeatureKinds snapshot_reads = ((is_snapshot<typename Ts::Teacher> ? Ts::reads.teacher : FeatureKinds{}) | ...);
  static constexpr std::size_t snapshots = (std::size_t{is_snapshot<typename Ts::Teacher>} + ...);
  /// Whether those with a Snapshot say that its map may be of another size than the student's.
  static constexpr bool resizes_snapshots =
      ((!is_snapshot<typename Ts::Teacher> || ResizesSnapshot<Ts>) && ...);
  /// `Frozen<Backbone>` of the terms that have it, or void; and what they read of it.
  using FrozenTeacher = typename detail::FirstFrozen<typename Ts::Teacher...>::type;
  static constexpr FeatureKinds frozen_reads = ((is_frozen<typename Ts::Teacher> ? Ts::reads.teacher : FeatureKinds{}) | ...);
  static constexpr bool has_frozen = (is_frozen<typename Ts::Teacher> || ...);
  /// Sizes of it that are numbers of the run: `NetworkConfig::teacher`.
  using FrozenSizes = typename detail::SizesOfRun<FrozenTeacher>::type;
  static constexpr bool one_frozen =
      ((!is_frozen<typename Ts::Teacher> || std::is_same_v<typename Ts::Teacher, FrozenTeacher>) && ...);
  /// Whether those that read a teacher's features have one that gives them: not the student itself, and not none.
  static constexpr bool teachers_give =
      ((!Ts::reads.teacher.any() || Ts::Teacher::pass || is_snapshot<typename Ts::Teacher> || is_frozen<typename Ts::Teacher>) && ...);
  /// Whether a second set of weights follows the student.
  static constexpr bool teacher_weights = (Ts::Teacher::weights || ...);
  /// Whether the global views go through a teacher.
  static constexpr bool teacher_pass = (Ts::Teacher::pass || ...);
  /// The least that must be there at once for all of them.
  static constexpr Whole whole = std::max({Ts::whole...});

  /// The first term that sees the images of one rank alone, however many there are; empty where there is none.
  static constexpr std::string_view within_rank = [] {
    std::string_view out;
    ((out = out.empty() && !spans_ranks<Ts> ? std::string_view(Ts::name) : out), ...);
    return out;
  }();

  /// The first term that compares every point, valid or not; empty where there is none.
  static constexpr std::string_view takes_all_points = [] {
    std::string_view out;
    ((out = out.empty() && (Ts::reads.student | Ts::reads.teacher).points && !skips_points<Ts> ? std::string_view(Ts::name) : out), ...);
    return out;
  }();

  /// Whether a term reads the student's points of other views than the two global ones.
  static constexpr bool reads_local_points = ((Ts::reads.student.points && !reads_global_points<Ts>) || ...);

  /// The first term that asks where the views lie; empty where there is none.
  static constexpr std::string_view asks_frames = [] {
    std::string_view out;
    ((out = out.empty() && reads_frames<Ts> ? std::string_view(Ts::name) : out), ...);
    return out;
  }();

  template <class Term>
  static constexpr bool has = (std::is_same_v<Term, Ts> || ...);
  /// Kinds that terms before this one put gradients to.
  template <class Term>
  static constexpr FeatureKinds read_before = [] {
    FeatureKinds out;
    bool before = true;
    ((before = before && !std::is_same_v<Term, Ts>, out = before ? out | Ts::reads.student : out), ...);
    return out;
  }();
  /// Whether no term after this one reads points.
  template <class Term>
  static constexpr bool last_of_points = [] {
    bool last = false;
    ((last = Ts::reads.student.points ? std::is_same_v<Term, Ts> : last), ...);
    return last;
  }();
  /// The same of masked patches.
  template <class Term>
  static constexpr bool last_of_masked = [] {
    bool last = false;
    ((last = Ts::reads.student.masked ? std::is_same_v<Term, Ts> : last), ...);
    return last;
  }();
};

/// Whether no two terms go by one name.
template <class... Ts>
inline constexpr bool names_differ = [] {
  const std::array<std::string_view, sizeof...(Ts)> names{Ts::name...};
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (names[i] == names[j]) return false;
    }
  }
  return true;
}();

/// Whether an objective has a term.
template <class Loss, class Term>
inline constexpr bool has_term = Loss::template has<Term>;

/// A term's weight where nothing else is said: `Term::published_weight`, or 1.
template <class Term>
[[nodiscard]] constexpr double published_weight() {
  if constexpr (requires { Term::published_weight; }) return Term::published_weight;
  return 1;
}

/// A term of a sum: its weight and its own numbers.
template <class Term>
struct Slot {
  double weight = published_weight<Term>();
  typename Term::Options options{};
};

/// Options of a sum: `options.loss.of<KoLeo>().weight = 0.1`.
template <class... Ts>
struct TermOptions : Slot<Ts>... {
  template <class Term>
  [[nodiscard]] constexpr Slot<Term>& of() {
    return *this;
  }
  template <class Term>
  [[nodiscard]] constexpr const Slot<Term>& of() const {
    return *this;
  }

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const { (x_validate<Ts>(), ...); }
  /// Calls `f(name, value)` for each number of each term, in order.
  template <class F>
  void for_each(F&& f) const {
    (x_for_each<Ts>(f), ...);
  }

 private:
  template <class Term>
  void x_validate() const {
    const std::string prefix = join("loss.", Term::name, ".");
    if (!(of<Term>().weight >= 0)) throw OptionError(prefix + "weight", of<Term>().weight, "at least 0");
    of<Term>().options.validate(prefix);
  }
  template <class Term, class F>
  void x_for_each(F& f) const {
    const std::string prefix = join("loss.", Term::name, ".");
    f(prefix + "weight", of<Term>().weight);
    of<Term>().options.for_each(prefix, f);
  }
};

/// A sum of terms, each with a weight: total = sum weight_t loss_t. Their gradients add up in the order of the terms, so
/// the bits do not depend on threads.
template <class... Ts>
struct WeightedSum : TermList<Ts...> {
  static_assert(sizeof...(Ts) > 0, "WeightedSum: a sum of no terms trains nothing");
  static_assert((LossTerm<Ts> && ...), "WeightedSum: not a term, see LossTerm in dssl/concepts.hpp");
  static_assert(TermList<Ts...>::teachers_give,
                "WeightedSum: a term reads a teacher's features, but its Teacher gives none; use Ema, Snapshot<Ema> or "
                "Frozen<Backbone>");
  static_assert((detail::is_one_of<typename detail::HeadOwner<Ts>::type, Ts...> && ...),
                "WeightedSum: a term that shares another term's head stands in one sum with it (HeadOf)");
  static_assert(TermList<Ts...>::snapshots == 0 || TermList<Ts...>::teacher_weights,
                "WeightedSum: a term with a Snapshot<Ema> needs a term with Ema in the sum, whose weights are copied");
  static_assert(TermList<Ts...>::snapshots <= 1, "WeightedSum: more than one term with a Snapshot<Ema>, of which a run has one");
  static_assert(TermList<Ts...>::one_frozen, "WeightedSum: two frozen teachers in one sum, of which a run has one");
  static_assert(names_differ<Ts...>, "WeightedSum: two terms of one name; each is told by its name in reports and checkpoints");

  using Options = TermOptions<Ts...>;
  /// The same with further terms.
  template <class... More>
  using plus = WeightedSum<Ts..., More...>;

  template <class Term>
  [[nodiscard]] static constexpr double weight(const Options& options) {
    return options.template of<Term>().weight;
  }
  template <class Term>
  [[nodiscard]] static constexpr const typename Term::Options& options_of(const Options& options) {
    return options.template of<Term>().options;
  }
  /// In words, for checkpoints: each term's name, and what else it says of its parts (`words`).
  [[nodiscard]] static std::string describe() {
    std::string out;
    const auto add = [&out]<class Term>(std::type_identity<Term>) {
      out += join(out.empty() ? "" : " + ", Term::name);
      if constexpr (requires { Term::words(); }) out += join(" (", Term::words(), ")");
    };
    (add(std::type_identity<Ts>{}), ...);
    return out;
  }
};

/// Numbers of the published objectives; defaults are the published ones.
struct LossOptions {
  double alpha = 0.5;                ///< weight of the image level where both levels are on
  double student_temperature = 0.1;
  double centre_momentum = 0.9;
  bool image_all_views = false;      ///< student views of the image level: all, or the two global ones
  bool point_all_views = true;       ///< the same for the point level

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const {
    if (!(alpha >= 0 && alpha <= 1)) throw OptionError("loss.alpha", alpha, "0 to 1");
    LevelOptions{student_temperature, centre_momentum, image_all_views}.validate("loss.");
  }
  /// Calls `f(name, value)` for each.
  template <class F>
  void for_each(F&& f) const {
    f("loss.alpha", alpha);
    f("loss.student_temperature", student_temperature);
    f("loss.centre_momentum", centre_momentum);
    f("loss.image_all_views", image_all_views);
    f("loss.point_all_views", point_all_views);
  }
};

/// One or both published levels: total = alpha image + (1 - alpha) point where there are both. Numbers that both have
/// are said once, in `LossOptions`.
template <class... Levels>
struct PublishedLoss : TermList<Levels...> {
  using Options = LossOptions;

  template <class Level>
  [[nodiscard]] static constexpr double weight(const LossOptions& options) {
    if constexpr (sizeof...(Levels) == 1) return 1.0;
    return std::is_same_v<Level, ImageLevel> ? options.alpha : 1.0 - options.alpha;
  }
  template <class Level>
  [[nodiscard]] static constexpr LevelOptions options_of(const LossOptions& options) {
    return {options.student_temperature, options.centre_momentum,
            std::is_same_v<Level, ImageLevel> ? options.image_all_views : options.point_all_views};
  }
  [[nodiscard]] static std::string describe() {
    return join("image ", (std::is_same_v<Levels, ImageLevel> || ...), ", point ",
                (std::is_same_v<Levels, PointLevel> || ...));
  }
};

/// Image and point level: total = alpha image + (1 - alpha) point.
struct ImageAndPointLoss : PublishedLoss<ImageLevel, PointLevel> {};
/// Class tokens only: total = image.
struct ImageLoss : PublishedLoss<ImageLevel> {};
/// Points only: total = point.
struct PointLoss : PublishedLoss<PointLevel> {};

}  // namespace dssl
