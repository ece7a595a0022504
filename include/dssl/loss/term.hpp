// What a term of an objective says of itself, and what a step gives it.
// Tests: tests/loss/objective.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Kinds of feature that a backbone's pass gives.
struct FeatureKinds {
  bool class_level = false;  ///< one row a sequence: the class token
  bool points = false;       ///< a row a point: reference tokens, or reads of the map
  bool map = false;          ///< a row a patch
  bool masked = false;       ///< a row a patch of the global views that is masked in this step's student
  bool global_map = false;   ///< a row a patch of the two global views: the first rows of `Features::map`

  [[nodiscard]] constexpr bool any() const { return class_level || points || map || masked || global_map; }
  [[nodiscard]] constexpr bool operator==(const FeatureKinds&) const = default;
};

[[nodiscard]] constexpr FeatureKinds operator|(FeatureKinds a, FeatureKinds b) {
  return {a.class_level || b.class_level, a.points || b.points, a.map || b.map, a.masked || b.masked, a.global_map || b.global_map};
}

/// What a term reads of each network's pass.
struct Reads {
  FeatureKinds student{};
  FeatureKinds teacher{};
};

/// The least of the student's pass that must be there at once for a term's gradients.
enum class Whole : std::uint8_t {
  row,       ///< one row after the other
  sequence,  ///< all rows of one view of one image
  view,      ///< a view of all images
  batch      ///< everything
};

/// A moving average of the student, on the two global views.
struct Ema {
  static constexpr bool weights = true;  ///< a second set of weights
  static constexpr bool pass = true;     ///< a forward pass of its own
};
/// The student itself, whose features serve as targets without gradient: no second set of weights, no second pass.
struct StopGradient {
  static constexpr bool weights = false;
  static constexpr bool pass = false;
};
/// None: the term compares the student's features with each other.
struct NoTeacher {
  static constexpr bool weights = false;
  static constexpr bool pass = false;
};

/// A copy of an EMA teacher's weights, taken now and then (`SnapshotOptions`) and the same in between, on the two global
/// views. The teacher that it is a copy of is another term's of the sum.
template <class Of>
struct Snapshot {
  static_assert(std::is_same_v<Of, Ema>, "Snapshot: of Ema, whose weights are copied");
  static constexpr bool weights = false;
  static constexpr bool pass = false;
  static constexpr bool snapshot = true;
};
/// Whether a teacher is a copy that is taken now and then.
template <class Teacher>
inline constexpr bool is_snapshot = requires { requires Teacher::snapshot; };

/// When copies of the teacher are taken: after update n (1 the first) where n >= `first` is a multiple of `every`, at most
/// `most` times (0: no limit). Before the first the copy is the teacher that the run begins with. Source: DINOv3's
/// `gram.it_first_update`, `update_frequency`, `max_updates`; the paper's is every 10 000 updates.
struct SnapshotOptions {
  Index first = 0;
  Index every = 10'000;
  Index most = 0;

  /// Whether one is taken after an update that so many came before.
  [[nodiscard]] constexpr bool due(Index updates) const {
    const Index n = updates + 1;
    const Index before = (n - 1) / every - (std::max(first, Index{1}) - 1) / every;
    return n >= first && n % every == 0 && (most == 0 || before < most);
  }
  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate(std::string_view prefix) const {
    if (first < 0) throw OptionError(join(prefix, "first"), first, "at least 0");
    if (every < 1) throw OptionError(join(prefix, "every"), every, "at least 1");
    if (most < 0) throw OptionError(join(prefix, "most"), most, "at least 0");
  }
  /// Calls `f(name, value)` for each.
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "first"), first);
    f(join(prefix, "every"), every);
    f(join(prefix, "most"), most);
  }
};

/// Some views of the student's pass that follow one another: a part.
struct PartViews {
  Index first = 0;
  Index views = 0;

  /// How many of them are global views, which come first.
  [[nodiscard]] constexpr Index globals() const { return std::clamp(2 - first, Index{0}, views); }
};

/// What a term is made for: the same for every step.
///
/// Rows of features: of class level (view, image); of points, the student's (view, image, partner, point) with the two
/// global views as partners, the teacher's with all V views, those of the global views before others, which a term that reads
/// the global views' alone (`reads_global_points`) must not count on; of the map (view, image, patch), of which a term that reads the
/// map of the global views alone counts on their rows and no others; masked patches in the same order, and as many rows as may
/// be masked, of which those behind the last one are 0.
struct TermSetting {
  Index batch = 0;                 ///< B images a pass
  Index views = 0;                 ///< V views of each, the first two of them global
  Index points = 0;                ///< K points a pair of views
  bool checked_points = false;     ///< whether some of them may not be valid: `set_valid` says which
  std::vector<GridSize> grids{};   ///< (V) patches a view
  std::vector<PartViews> parts{};  ///< of the student's pass, one after the other
  HeadConfig head{};               ///< the recipe's
  Index width = 0;                 ///< D of the backbone's features
  double share = 1;                ///< part of an update that this rank's pass is: 1 / (accumulate * ranks)
  std::uint64_t seed = 0;          ///< of the run
  Index masked = 0;                ///< patches that may be masked in a pass
  GridSize snapshot{};             ///< patches of a global view as a snapshot sees it; 0 x 0: those of the student's
  GridSize frozen{};               ///< patches of a global view as a frozen teacher sees it, where there is one
  Index frozen_width = 0;          ///< E of its features
  /// The ranks that a pass is cut over: `batch` is of this one, image i of it number rank + size * i of the whole batch.
  Communicator ranks{};
};

/// The patches that are masked in a pass, of the global views that a part of the student's pass has, in their order.
struct MaskedRows {
  std::vector<std::int32_t> patches{};  ///< their numbers among the map's rows of the part
  std::vector<std::int32_t> each{};     ///< how many are masked of the view of an image that each lies in
  Index first = 0;                      ///< number of the first of them among those of the whole pass, as the teacher's rows
  Index all = 0;                        ///< those of the whole pass
};

/// Rows of each kind of feature that a term reads; the others are empty.
template <class T>
struct Features {
  MatrixView<T> class_level{}, points{}, map{}, masked{};
};

/// Where a term's gradients go. Rows that no earlier term reads hold zeros; `adds` says which do not.
template <class T>
struct FeatureGradients {
  MatrixView<T> class_level{}, points{}, map{}, masked{};
  FeatureKinds adds{};
};

/// Gradients of the rows of a kind that a term has read, to where they go: written, or added where another term was
/// before. Rows that are not named keep what they hold.
template <Backend B, class T = typename B::Scalar>
void put_gradients(const B& backend, MatrixView<T> to, RowIndex rows, MatrixView<const std::type_identity_t<T>> from,
                   bool adds) {
  if (adds) {
    backend.add_rows(to, rows, from, {});
  } else {
    backend.copy_rows(to, rows, from, {});
  }
}

/// Numbers of a pass that change over a run.
struct PassNumbers {
  double teacher_temperature = 0.04;
  Index epoch = 0;  ///< of the run, from 0; a term whose student's pass follows it says so by `repeats`, its teacher's may not read it
};

/// Figures of one term in one step. Losses and entropies in nats where they are cross-entropies.
struct TermReport {
  std::string_view name{};  ///< the term's, of static storage
  double weight = 1;        ///< in the total
  double loss = 0;          ///< before its weight
  /// Of terms with prototypes, else not a number: mean entropy of the teacher's rows that the loss reads; mean
  /// KL(teacher, student), which is cross-entropy less entropy; Euclidean norm of the centre.
  double teacher_entropy = std::numeric_limits<double>::quiet_NaN();
  double divergence = std::numeric_limits<double>::quiet_NaN();
  double centre_norm = std::numeric_limits<double>::quiet_NaN();
  /// Of terms that assign a batch's rows to prototypes, else not a number: entropy of the mean of these rows over a pass.
  /// Near that of each row where all are assigned alike, near ln P where prototypes have equal shares.
  double mean_entropy = std::numeric_limits<double>::quiet_NaN();
  /// Share of what the means are over that had anything to compare: below 1 where views are not masked, or a pass has no point
  /// that is valid.
  double counted = 1;
};

/// Throws `NonFiniteError` where a term's loss is not finite.
inline void require_finite_loss(const TermReport& report) {
  if (std::isfinite(report.loss)) return;
  throw NonFiniteError(join("the loss of the term '", report.name, "' is ", report.loss,
                            "; lower the learning rate, clip gradients, or look for images without any contrast"));
}

/// Options of a term that has no numbers of its own.
struct NoOptions {
  void validate(std::string_view /*prefix*/) const {}
  template <class F>
  void for_each(std::string_view /*prefix*/, F&& /*f*/) const {}
};

/// Parameters of a term that has none.
struct NoParameters {};

namespace detail {

template <class Term, class T>
struct SharedParameters {
  using type = NoParameters;
};
template <class Term, class T>
  requires requires { typename Term::template Parameters<T>; }
struct SharedParameters<Term, T> {
  using type = typename Term::template Parameters<T>;
};
template <class Term, class T>
struct OwnParameters {
  using type = NoParameters;
};
template <class Term, class T>
  requires requires { typename Term::template StudentParameters<T>; }
struct OwnParameters<Term, T> {
  using type = typename Term::template StudentParameters<T>;
};

}  // namespace detail

/// A term that trains another term's head, `Term::HeadOf`, in the place of one of its own.
template <class Term>
concept SharesHead = requires { typename Term::HeadOf; };

namespace detail {

/// The term whose head a term trains.
template <class Term>
struct HeadOwner {
  using type = Term;
};
template <SharesHead Term>
struct HeadOwner<Term> {
  using type = typename Term::HeadOf;
};
template <class Term, class... Terms>
inline constexpr bool is_one_of = (std::is_same_v<Term, Terms> || ...);

}  // namespace detail

/// A term's parameters (or their gradients), as views into a network's flat buffer: a head, which the teacher has too,
/// and what only the student's are read of, as a predictor.
template <class Term, class T>
struct TermParameters {
  typename detail::SharedParameters<Term, T>::type head;
  typename detail::OwnParameters<Term, T>::type predictor;
};

/// What a term gets of the pass of its teacher, a snapshot too; `parameters` are the EMA teacher's.
template <class Term, class T>
struct TeacherPass {
  Features<const T> features;
  const TermParameters<Term, const T>& parameters;
  PassNumbers numbers{};
};

/// What a term gets of a part of the student's pass, and where its gradients go: `d_features` as said there,
/// `d_parameters` +=.
template <class Term, class T>
struct StudentPass {
  std::size_t part = 0;
  FeatureGradients<T> d_features;
  const TermParameters<Term, T>& d_parameters;
  Features<const T> features;
  const TermParameters<Term, const T>& parameters;
  const TermParameters<Term, const T>& teacher;  ///< the teacher's, or the student's where there is none
  PassNumbers numbers;
  double weight = 1;  ///< of the term in the total
};

/// Whether a term's losses, gradients and state are those of the whole batch where its images lie on several ranks: each
/// rank's add up, by `TermSetting::share`, or the term exchanges what it needs through `TermSetting::ranks`, all ranks
/// alike. A term says so by `spans_ranks`; a run over ranks refuses the others.
template <class Term>
inline constexpr bool spans_ranks = requires { requires Term::spans_ranks; };

/// Whether a term that reads points leaves out the pairs of those that are not valid (`TermRun::set_valid`): it says so by
/// `skips_points`. A run whose points may not be valid refuses the others.
template <class Term>
inline constexpr bool skips_points = requires { requires Term::skips_points; };

/// Whether a term reads the student's points of the two global views alone; it says so by `points_of_globals`. Where no term
/// reads those of other views, these have no references, and their patches are not read for them.
template <class Term>
inline constexpr bool reads_global_points = requires { requires Term::points_of_globals; };

/// Whether a term asks where the views lie (`TermRun::set_frames`), and so needs views that are boxes of the scene: it says so
/// by `reads_frames`.
template <class Term>
inline constexpr bool reads_frames = requires { requires Term::reads_frames; };

/// A term's run that keeps nothing and has nothing to do between passes; what one does, it says anew.
///
/// Life: `place_lasting`, `place_teacher`, `place_student` for each part, more than once, in arenas that measure and in one
/// that is live; then in every update `begin`, for each pass `set_frames`, `set_valid`, `set` for each part, `teacher`, and `student`
/// for each part, `add_to`, and last
/// `update`, the only place where what lasts may move.
template <Backend B>
struct TermRun {
  using T = typename B::Scalar;
  /// Whether `teacher` reads numbers of a pass, which else may be played back as it was recorded with others.
  static constexpr bool teacher_reads_numbers = false;

  /// Buffers that live from step to step, and those that must outlive the teacher's pass.
  void place_lasting(const B& /*backend*/, Arena& /*arena*/) {}
  /// Buffers that the student's may overwrite.
  void place_teacher(const B& /*backend*/, Arena& /*arena*/) {}
  /// Whether a part of the student's pass has anything that the term reads.
  [[nodiscard]] bool reads_part(std::size_t /*part*/) const { return true; }
  /// Before each pass, where the term reads masked patches: which these are.
  void set(const B& /*backend*/, std::size_t /*part*/, const MaskedRows& /*rows*/) {}
  /// Before each pass: where its views lie, (V,B).
  void set_frames(const B& /*backend*/, std::span<const ViewFrame> /*frames*/) {}
  /// Before each pass, where points may not be valid: which are, (2,B,V,K) as the teacher's rows; empty: all. A mean is over
  /// the pairs of valid points of the pass, of all ranks.
  void set_valid(const B& /*backend*/, std::span<const std::uint8_t> /*valid*/) {}
  /// Forgets what passes have gathered for an update.
  void begin(const B& /*backend*/) {}
  /// After `begin`: whether the student's passes of the update are, to the backend, the work of those of earlier updates in
  /// which they were too, with the same teacher's temperature: what repeats may be played back as it was recorded.
  [[nodiscard]] bool repeats() const { return true; }
  /// After a pass's losses are known: state moves.
  void update(const B& /*backend*/) {}
  /// Sets the figures that the term has of those that are not a number else to 0.
  void start(TermReport& /*report*/) const {}
  /// Figures that need a look at what lasts. Throws `NonFiniteError`.
  void inspect(const B& /*backend*/, TermReport& /*report*/) {}
  /// Calls `f(name, view, shape)` for every lasting tensor, by its name in checkpoints.
  template <class F>
  void for_each_state(F&& /*f*/) const {}
};

}  // namespace dssl
