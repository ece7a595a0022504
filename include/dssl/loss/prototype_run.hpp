// What a term with prototypes does in a step: two heads, a centre, and the cross-entropy between them.
// Tests: tests/train/loss_parity.cpp.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/over_ranks.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/sinkhorn.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/view_pairs.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/prototype_loss.hpp>

namespace dssl {

/// Numbers of a level; defaults are the published ones.
struct LevelOptions {
  double student_temperature = 0.1;
  double centre_momentum = 0.9;
  bool all_views = true;  ///< student views that are compared: all, or the two global ones

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate(std::string_view prefix) const {
    if (!(student_temperature > 0)) throw OptionError(join(prefix, "student_temperature"), student_temperature, "above 0");
    if (!(centre_momentum >= 0 && centre_momentum < 1)) {
      throw OptionError(join(prefix, "centre_momentum"), centre_momentum, "at least 0 and below 1");
    }
  }
  /// Calls `f(name, value)` for each.
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "student_temperature"), student_temperature);
    f(join(prefix, "centre_momentum"), centre_momentum);
    f(join(prefix, "all_views"), all_views);
  }
};

/// Heads, centre and cross-entropy of one level (`ImageLevel`, `PointLevel` or `MaskedLevel`), with all their buffers.
///
/// In a step: `teacher` for the teacher's features, then `student` for those of each part of the student's pass,
/// forward and backward; over all forward passes of an update the centre's mean is gathered, and `update_centre` moves
/// the centre once. What a part is compared with, how much its terms weigh and what the centre is the mean of are the
/// whole level's: the parts' losses, gradients and centre sums add up to those of one part with all features.
///
/// Where points may not be valid, `set_valid` says which are: each row has a weight then, N / n where N pairs of points are
/// compared in a pass and n of them are valid, over all ranks, or 0. So loss and entropy are means over the pairs of valid
/// points, and the centre is moved by their teacher's rows alone; a pass without any has loss and gradients of 0, and moves
/// no centre. An update of several passes is the mean of these. In heads with batch norm all points have a part in the
/// statistics.
///
/// Where masked patches are compared, their number changes from pass to pass, and `set` says which they are. Buffers are
/// made for as many as there may be, rows beyond them have no target, and each row has a weight.
template <class Term, Backend B>
class PrototypeRun : public TermRun<B> {
 public:
  using T = typename B::Scalar;
  /// Whether the teacher's rows are assigned to prototypes by Sinkhorn-Knopp, which is a centre of each pass's own.
  static constexpr bool assigns = requires { Term::sinkhorn_rounds; };
  /// Whether the centre is a mean that moves. With neither it stays at 0: targets are the teacher's softmax alone.
  static constexpr bool moves_centre = !assigns && !requires { requires Term::uncentred; };
  static constexpr bool teacher_reads_numbers = assigns;
  /// Whether the rows that are compared change from pass to pass.
  static constexpr bool masked = Term::reads.student.masked;

  /// Throws `OptionError`.
  PrototypeRun(const TermSetting& setting, const LevelOptions& options)
      : x_options(options),
        x_pairs(Term::pairs(setting, options)),
        x_head(Term::head_of(setting.head)),
        x_width(setting.width),
        x_share(setting.share),
        x_checked(setting.checked_points && Term::reads.student.points),
        x_ranks(setting.ranks) {
    if (x_checked && assigns) {
      throw OptionError("views", "with points that may not be valid", "a moving centre of points, and no assignment of all of them");
    }
    x_host_centre.reserve(static_cast<std::size_t>(x_head.prototypes));
    x_centre_count = static_cast<Index>(x_pairs.centre_rows.size());
    x_centre_mean = static_cast<double>(x_centre_count);
    if constexpr (masked) {
      x_make_masked(setting);
    } else {
      std::vector<Index> features;
      Index all = 0;
      for (const PartViews& part : setting.parts) {
        features.push_back(Term::student_rows(setting, part.views));
        all += features.back();
      }
      if (x_head.batch_norm) add_uncompared_rows(x_pairs, all);
      for (PairsPart& own : split_pairs(x_pairs, features)) {
        x_Part part;
        const auto read = static_cast<Index>(own.teacher_rows.size());
        part.teacher_count = read > 0 || own.targets.empty() ? read : x_pairs.teacher_rows;
        part.host_row_loss.resize(own.targets.size());
        part.host_row_entropy.resize(static_cast<std::size_t>(part.teacher_count));
        part.first_view = setting.parts[x_parts.size()].first;
        if (x_checked) part.host_weights.resize(own.targets.size());
        part.pairs = std::move(own);
        x_parts.push_back(std::move(part));
      }
    }
  }

  /// Buffers that live from step to step, and the teacher's unit vectors, from which its targets come.
  void place_lasting(const B& backend, Arena& arena) {
    if constexpr (masked) x_all_rows = place_copy(backend, arena, x_pairs.centre_rows);
    for (x_Part& part : x_parts) {
      part.student_rows = place_copy(backend, arena, part.pairs.student_rows);
      if constexpr (masked) {
        part.set_targets = arena.vector<TargetRows>(part.compared());
        part.targets = part.set_targets;
        part.weights = arena.vector<T>(part.compared());
      } else {
        part.targets = place_copy(backend, arena, part.pairs.targets);
        if (x_checked) part.weights = arena.vector<T>(part.compared());
      }
      if (x_checked) {
        part.valid_centre_rows = arena.vector<std::int32_t>(static_cast<Index>(part.pairs.centre_rows.size()));
      } else {
        part.centre_rows = place_copy(backend, arena, part.pairs.centre_rows);
      }
      part.teacher_rows = place_copy(backend, arena, part.pairs.teacher_rows);
      part.row_loss = arena.vector<T>(part.compared());
      part.row_entropy = arena.vector<T>(part.teacher_count);
    }
    if (x_head.plain_prototypes) {
      std::vector<std::int32_t> each(static_cast<std::size_t>(x_head.prototypes));
      std::iota(each.begin(), each.end(), 0);
      x_each_prototype = place_copy(backend, arena, each);
    }
    x_centre = arena.vector<T>(x_head.prototypes);
    x_centre_sum = arena.vector<T>(x_head.prototypes);
    x_teacher_unit = arena.matrix<T>(x_pairs.teacher_rows, x_head.bottleneck);
  }

  /// Buffers of the teacher's head, which may be overwritten once its unit vectors are known.
  void place_teacher(const B& /*backend*/, Arena& arena) {
    if constexpr (assigns) {
      x_scores = arena.matrix<T>(x_pairs.teacher_rows, x_head.prototypes);
      x_row_sums = arena.vector<T>(x_pairs.teacher_rows);
      if (!x_head.plain_prototypes) {
        x_normalised = NormalisedPrototypes<T>::take(arena, x_head.prototypes, x_head.bottleneck);
      }
    }
    x_teacher = HeadActivations<T>::take(arena, x_head, x_width, x_teacher_unit, x_ranks);
  }

  /// Buffers of the student's head, of the loss and of their backward pass, which may be overwritten after `student` of
  /// that part.
  void place_student(const B& backend, Arena& arena, std::size_t number) {
    if (!reads_part(number)) return;
    x_Part& part = x_parts[number];
    const auto rows = static_cast<Index>(part.pairs.student_rows.size());
    part.head = HeadActivations<T>::take(arena, x_head, x_width, arena.matrix<T>(rows, x_head.bottleneck), x_ranks);
    part.gradients = HeadGradients<T>::take(arena, x_head, x_width, rows);
    part.teacher_unit = part.pairs.teacher_rows.empty() ? x_teacher_unit
                                                        : arena.matrix<T>(part.teacher_count, x_head.bottleneck);
    if (x_head.plain_prototypes) {
      part.directions = arena.matrix<T>(x_head.prototypes, x_head.bottleneck);
      part.norm = arena.vector<T>(x_head.prototypes);
      part.teacher_norm = arena.vector<T>(x_head.prototypes);
      part.d_norm = arena.vector<T>(x_head.prototypes);
    }
    part.workspace = arena.vector<std::byte>(static_cast<Index>(prototype_loss_workspace(
        backend, masked ? x_pairs.targets : part.pairs.targets, part.teacher_count, x_head.prototypes, x_head.bottleneck)));
  }

  /// Whether a part has features that are compared with the teacher's.
  [[nodiscard]] bool reads_part(std::size_t number) const {
    return number < x_parts.size() && x_parts[number].compared() > 0;
  }

  void begin(const B& backend) { backend.fill(x_centre_sum, T{0}); }

  /// The patches that are masked in the pass that comes. Of the centre's mean a part adds its own patches' share; where
  /// it is that of all patches, the first part adds it.
  void set(const B& backend, std::size_t number, const MaskedRows& rows)
    requires masked
  {
    if (!reads_part(number)) return;
    x_Part& part = x_parts[number];
    constexpr bool all_patches = Term::reads.teacher.map;
    const auto count = static_cast<Index>(rows.patches.size());
    const Index offset = all_patches ? part.first_view * (x_pairs.teacher_rows / 2) : rows.first;
    for (std::size_t i = 0; i < part.pairs.targets.size(); ++i) {
      const bool there = i < rows.patches.size();
      const Index row = offset + (there && all_patches ? rows.patches[i] : static_cast<Index>(i));
      part.pairs.targets[i] = {there ? static_cast<std::int32_t>(row) : -1, -1};
      part.host_weights[i] = there ? static_cast<T>(1.0 / static_cast<double>(rows.each[i])) : T{0};
    }
    backend.upload(part.set_targets.data(), std::span<const TargetRows>(part.pairs.targets));
    backend.upload(part.weights.data(), std::span<const T>(part.host_weights));
    x_centre_count = all_patches ? x_pairs.teacher_rows : rows.all;
    const bool first = part.first_view == 0;
    if constexpr (moves_centre) {
      if (first) x_centre_mean = static_cast<double>(x_centre_count);
      if (first && !all_patches) {  // ranks have different numbers of them
        x_ranks.all_sum(std::span<double>(&x_centre_mean, 1));
        x_centre_mean /= static_cast<double>(x_ranks.size());
      }
    }
    part.centre_rows = all_patches ? RowIndex(x_all_rows.data(), first ? x_centre_count : 0)
                                   : RowIndex(x_all_rows.data() + rows.first, count);
  }

  /// The points that are valid in the pass that comes, by the teacher's rows.
  void set_valid(const B& backend, std::span<const std::uint8_t> valid) {
    if (!x_checked) return;
    const auto holds = [&](const x_Part& part, std::int32_t row) {
      const std::vector<std::int32_t>& rows = part.pairs.teacher_rows;
      return valid.empty() || valid[static_cast<std::size_t>(rows.empty() ? row : rows[static_cast<std::size_t>(row)])] != 0;
    };
    std::array<double, 2> counts{};  // pairs, and rows of the centre
    double compared = 0;  // the same on every rank
    for (x_Part& part : x_parts) {
      part.host_centre_rows.clear();
      for (const std::int32_t row : part.pairs.centre_rows) {
        if (holds(part, row)) part.host_centre_rows.push_back(row);
      }
      backend.upload(part.valid_centre_rows.data(), std::span<const std::int32_t>(part.host_centre_rows));
      part.centre_rows = RowIndex(part.valid_centre_rows.data(), static_cast<Index>(part.host_centre_rows.size()));
      for (std::size_t i = 0; i < part.pairs.targets.size(); ++i) {
        part.host_weights[i] = holds(part, part.pairs.targets[i][0]) ? T{1} : T{0};
        counts[0] += static_cast<double>(part.host_weights[i]);
      }
      compared += static_cast<double>(part.compared());
      counts[1] += static_cast<double>(part.host_centre_rows.size());
    }
    x_ranks.all_sum(std::span<double>(counts));
    for (double& count : counts) count /= static_cast<double>(x_ranks.size());
    x_centre_mean = counts[1];
    x_any_valid = counts[0] > 0;
    const double weight = x_any_valid ? compared / counts[0] : 0;
    for (x_Part& part : x_parts) {
      for (T& own : part.host_weights) own = static_cast<T>(static_cast<double>(own) * weight);
      backend.upload(part.weights.data(), std::span<const T>(part.host_weights));
    }
  }
  /// Where points may not be valid, others are in every pass.
  [[nodiscard]] bool repeats() const { return !x_checked; }

  /// Teacher features (rows as in LevelPairs) -> unit vectors.
  void teacher(const B& backend, const TeacherPass<Term, T>& in) {
    backend.copy_rows(x_teacher.x, {}, Term::of_teacher(in.features), {});
    const HeadParameters<const T>& p = in.parameters.head;
    head_forward(backend, x_teacher, p);
    if constexpr (assigns) {
      const Index rows = masked ? x_centre_count : x_pairs.teacher_rows;
      if (rows == 0 && x_ranks.alone()) return;
      const MatrixView<T> scores = x_scores.rows(0, rows);
      const MatrixView<T> unit = x_teacher_unit.rows(0, rows);
      if (rows == 0) {  // of this rank: others have some
      } else if (x_head.plain_prototypes) {
        backend.linear_forward(scores, unit, p.prototypes, {});
      } else {
        prototype_logits(backend, scores, x_normalised, PrototypeRows<T>{unit, p.prototypes, p.prototype_norm});
      }
      sinkhorn_centre(backend, x_centre, VectorView<T>(x_row_sums.data(), rows), scores, in.numbers.teacher_temperature,
                      Term::sinkhorn_rounds, x_ranks);
    }
  }

  /// A part's student features -> cross-entropy with the teacher's targets, and its gradients times the weight and this
  /// pass's share of the update; adds the part's share of the centre's mean.
  void student(const B& backend, const StudentPass<Term, T>& in) const {
    if (!reads_part(in.part)) return;
    const x_Part& part = x_parts[in.part];
    const HeadParameters<T>& d_p = in.d_parameters.head;
    const HeadParameters<const T>& p = in.parameters.head;
    const HeadParameters<const T>& teacher = in.teacher.head;
    backend.copy_rows(part.head.x, {}, Term::of(in.features), part.student_rows);
    head_forward(backend, part.head, p);
    const Index compared = part.compared();
    const MatrixView<T> d_unit = part.gradients.d_unit.rows(0, compared);
    if (compared < part.gradients.d_unit.rows()) {
      const MatrixView<T> rest = part.gradients.d_unit.rows(compared, part.gradients.d_unit.rows() - compared);
      backend.fill(VectorView<T>(rest.data(), rest.size()), T{0});
    }
    if (!part.teacher_rows.empty()) backend.copy_rows(part.teacher_unit, {}, x_teacher_unit, part.teacher_rows);
    // No rows would be all of them: a part without any has no share.
    const double averaged = part.centre_rows.empty() ? 0 : x_share / x_centre_mean;
    if constexpr (moves_centre) {  // a pass without masks, or valid points, has no say in the mean, and leaves the centre where it is
      if (x_centre_mean == 0 && part.first_view == 0) backend.add_scaled(x_centre_sum, x_centre, x_share);
    }
    VectorView<const T> norm = p.prototype_norm, teacher_norm = teacher.prototype_norm;
    VectorView<T> d_norm = x_head.learned_norm ? d_p.prototype_norm : VectorView<T>{};
    if (x_head.plain_prototypes) {  // v itself is g v / |v| with g = |v|
      backend.l2_normalise_forward(part.directions, part.teacher_norm, teacher.prototypes, normalise_epsilon);
      backend.l2_normalise_forward(part.directions, part.norm, p.prototypes, normalise_epsilon);
      backend.fill(part.d_norm, T{0});
      norm = part.norm;
      teacher_norm = part.teacher_norm;
      d_norm = part.d_norm;
    }
    prototype_loss(backend,
                   PrototypeLossResult<T>{.loss = part.row_loss,
                                          .entropy = part.row_entropy,
                                          .d_unit = d_unit,
                                          .d_v = d_p.prototypes,
                                          .d_g = d_norm,
                                          .centre_sum = x_centre_sum},
                   PrototypeRows<T>{part.head.unit.rows(0, compared), p.prototypes, norm},
                   PrototypeRows<T>{part.teacher_unit, teacher.prototypes, teacher_norm},
                   PrototypeTargets<T>{x_centre, part.targets, part.centre_rows, part.weights},
                   PrototypeLossNumbers{.teacher_temperature = in.numbers.teacher_temperature,
                                        .student_temperature = x_options.student_temperature,
                                        .scale = in.weight * x_share * x_pairs.scale,
                                        .centre_share = averaged},
                   part.workspace);
    if (x_head.plain_prototypes) {  // and its gradient that of the direction and, along it, that of the norm
      backend.residual_forward(d_p.prototypes, d_p.prototypes, part.directions, d_norm, x_each_prototype);
    }
    head_backward(backend, part.gradients, d_p, part.head, p);
    put_gradients(backend, Term::of(in.d_features), part.student_rows, part.gradients.d_x, Term::of_kind(in.d_features.adds));
  }

  void start(TermReport& report) const {
    report.teacher_entropy = report.divergence = report.centre_norm = 0;
    if (masked || x_checked) report.counted = 0;
  }

  /// Adds this pass's share of the level's figures to a report.
  void add_to(const B& backend, TermReport& report) {
    double loss = 0;
    double entropy = 0;
    double counted = 0;
    for (x_Part& part : x_parts) {
      if (part.compared() == 0) continue;
      backend.download(std::span<T>(part.host_row_loss), static_cast<const T*>(part.row_loss.data()));
      backend.download(std::span<T>(part.host_row_entropy), static_cast<const T*>(part.row_entropy.data()));
      for (std::size_t i = 0; i < part.host_row_loss.size(); ++i) {
        const double weight = masked || x_checked ? static_cast<double>(part.host_weights[i]) : 1.0;
        counted += weight;
        loss += weight * static_cast<double>(part.host_row_loss[i]);
        for (const std::int32_t target : part.pairs.targets[i]) {
          if (target >= 0) entropy += weight * static_cast<double>(part.host_row_entropy[static_cast<std::size_t>(target)]);
        }
      }
    }
    report.loss += x_share * x_pairs.scale * loss;
    if (masked) report.counted += x_share * x_pairs.scale * counted;
    if (x_checked && x_any_valid) report.counted += x_share;
    report.teacher_entropy += x_share * x_pairs.scale * entropy;
    report.divergence = report.loss - report.teacher_entropy;
    if (!std::isfinite(report.loss)) {
      throw NonFiniteError(join("the ", Term::name, "-level loss is ", report.loss,
                                "; lower the learning rate, clip gradients, or look for images without any contrast"));
    }
  }

  /// centre = m centre + (1 - m) mean of the update's teacher rows; one that is assigned anew in each pass does not last, and
  /// where there is none nothing moves.
  void update(const B& backend) {
    if constexpr (moves_centre) {
      sum_over_ranks(backend, x_ranks, x_centre_sum);
      backend.lerp(x_centre, x_centre_sum, x_options.centre_momentum);
    }
  }

  /// The centre's norm. Throws `NonFiniteError`.
  void inspect(const B& backend, TermReport& report) {
    x_host_centre.resize(static_cast<std::size_t>(x_centre.size()));
    backend.download(std::span<T>(x_host_centre), static_cast<const T*>(x_centre.data()));
    double squares = 0;
    for (const T v : x_host_centre) squares += static_cast<double>(v) * static_cast<double>(v);
    if (!std::isfinite(squares)) throw NonFiniteError(join("the ", Term::name, " level's centre is not finite"));
    report.centre_norm = std::sqrt(squares);
  }

  template <class F>
  void for_each_state(F&& f) const {
    if constexpr (moves_centre) f(Term::centre_name, x_centre, std::vector<Index>{x_centre.size()});
  }

 private:
  /// What belongs to one part of the student's pass.
  struct x_Part {
    PairsPart pairs;
    Index first_view = 0;
    Index teacher_count = 0;  // rows of the teacher that it reads
    RowIndex student_rows;
    VectorView<const TargetRows> targets;
    RowIndex centre_rows;
    RowIndex teacher_rows;  // empty: all
    MatrixView<T> directions;  // plain prototypes only: (P,bottleneck) v / |v| of the student's
    VectorView<T> norm, teacher_norm, d_norm;  // plain prototypes only: (P) |v| of both, and the student's gradient
    VectorView<T> row_loss;
    VectorView<T> row_entropy;
    std::vector<T> host_row_loss;
    std::vector<T> host_row_entropy;
    VectorView<TargetRows> set_targets;  // masked patches only: `targets`
    VectorView<T> weights;               // masked patches, or where points may not be valid
    std::vector<T> host_weights;
    VectorView<std::int32_t> valid_centre_rows;  // where points may not be valid: `centre_rows`
    std::vector<std::int32_t> host_centre_rows;
    HeadActivations<T> head;
    HeadGradients<T> gradients;
    MatrixView<T> teacher_unit;  // (rows that it reads,256)
    VectorView<std::byte> workspace;

    /// Student rows that the loss compares; with batch norm, others go through the head after them.
    [[nodiscard]] Index compared() const { return static_cast<Index>(pairs.targets.size()); }
  };

  /// Parts with global views, each with room for all patches that may be masked.
  void x_make_masked(const TermSetting& setting) {
    if (x_head.batch_norm) {
      throw OptionError("head.batch_norm", "true", "false for masked patches, whose number is another one in each pass");
    }
    for (const PartViews& views : setting.parts) {
      x_Part& part = x_parts.emplace_back();
      part.first_view = views.first;
      if (views.first >= 2) continue;
      part.pairs = {x_pairs.student_rows, std::vector<TargetRows>(x_pairs.targets.size(), {-1, -1}), {}, {}};
      part.teacher_count = x_pairs.teacher_rows;
      part.host_row_loss.resize(x_pairs.targets.size());
      part.host_row_entropy.resize(static_cast<std::size_t>(part.teacher_count));
      part.host_weights.resize(x_pairs.targets.size());
    }
  }

  LevelOptions x_options;
  LevelPairs x_pairs;
  HeadConfig x_head;
  Index x_width = 0;
  double x_share = 1;
  bool x_checked = false;     // whether points may not be valid
  bool x_any_valid = true;    // in a pass, on any rank
  Communicator x_ranks;
  Index x_centre_count = 0;  // rows of a pass that the centre is the mean of; masked patches: those that are there
  double x_centre_mean = 0;  // the mean of their number over ranks
  RowIndex x_all_rows;       // masked patches only
  RowIndex x_each_prototype; // plain prototypes only: 0, 1, ... P - 1
  std::vector<x_Part> x_parts;
  VectorView<T> x_centre;
  VectorView<T> x_centre_sum;
  MatrixView<T> x_teacher_unit;  // (teacher rows,256)
  HeadActivations<T> x_teacher;
  MatrixView<T> x_scores;    // (teacher rows,P) where they are assigned
  VectorView<T> x_row_sums;
  NormalisedPrototypes<T> x_normalised;
  std::vector<T> x_host_centre;
};

}  // namespace dssl
