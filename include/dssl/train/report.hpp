// What a training step tells: loss terms, signs of collapse, speed; and how a run ended.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/term.hpp>

namespace dssl {

/// Terms that an objective may have.
inline constexpr std::size_t most_terms = 8;

/// Signs that training is not learning.
enum class Collapse {
  none,
  uniform,  ///< loss at ln P with a flat teacher: every image looks alike
  peaked,   ///< teacher entropy near zero: all mass on one prototype
  together  ///< without prototypes: the features of all images point one way
};

/// Figures of one step.
struct StepReport {
  Index epoch = 0;         ///< from 0
  Index step = 0;          ///< from 0, over the whole run
  Index epoch_steps = 0;   ///< steps an epoch
  Index steps = 0;         ///< steps of the whole run
  Index images = 0;        ///< images seen since the run began
  double loss = 0;
  std::array<TermReport, most_terms> terms{};  ///< the first `term_count`, in the order of the objective
  std::size_t term_count = 0;
  double gradient_norm = 0;   ///< over all parameters, before clipping
  double valid_points = 1;    ///< share of the points of an update's pairs of views that are valid
  double feature_spread = 0;  ///< mean standard deviation of the unit class features; 1/sqrt(D) when spread evenly
  double learning_rate = 0;
  double weight_decay = 0;
  double teacher_momentum = 0;
  double teacher_temperature = 0;
  double seconds = 0;             ///< of this step, waiting included
  double data_wait_seconds = 0;   ///< part of it spent waiting for views (for images, while the device works, where
                                  ///< it makes the views)
  double images_per_second = 0;   ///< of this step
  Index unreadable = 0;           ///< images skipped so far
  Collapse collapse = Collapse::none;
  std::string advice{};  ///< what a collapse means and what to try; empty when there is none

  /// The terms that there are.
  [[nodiscard]] std::span<const TermReport> each_term() const { return std::span(terms).first(term_count); }
  /// A term by its name, or null.
  [[nodiscard]] const TermReport* find(std::string_view name) const {
    const auto all = each_term();
    const auto found = std::ranges::find(all, name, &TermReport::name);
    return found == all.end() ? nullptr : &*found;
  }
  /// A term by its name. Throws `Error` where the objective has none of that name.
  [[nodiscard]] const TermReport& term(std::string_view name) const {
    const TermReport* const found = find(name);
    if (found == nullptr) throw Error(join("the objective has no term '", name, "'"));
    return *found;
  }

  /// Whether an `every`-th epoch, or the run, ends with this step: when it is time for a look at the features.
  [[nodiscard]] bool ends_epoch(Index every) const {
    const Index done = step + 1;
    return done == steps || (done % epoch_steps == 0 && done / epoch_steps % every == 0);
  }
};

/// How a run ended.
struct RunSummary {
  Index steps = 0;        ///< updates made since the run began, resumed ones included
  bool finished = false;  ///< false: a callback or a stop token ended it
  double seconds = 0;     ///< of this call
  /// Of the last step of this call; not a number where it made none.
  double loss = std::numeric_limits<double>::quiet_NaN();
  Index unreadable = 0;   ///< times an image was skipped
};

/// Mean over D of the standard deviation of the rows' unit vectors: 0 when all rows point one way,
/// about 1/sqrt(D) when they are spread evenly. x (M,D) in host memory is overwritten with the unit vectors. `ranks`: each
/// has as many rows, and the spread is that of all of them.
/// Test: tests/train/trainer.cpp, tests/monitor/feature_monitor.cpp, tests/train/ranks.cpp.
template <class T>
[[nodiscard]] double spread_of(MatrixView<T> x, const Communicator& ranks = {}) {
  for (Index m = 0; m < x.rows(); ++m) {
    double squares = 0;
    for (Index d = 0; d < x.cols(); ++d) squares += static_cast<double>(x(m, d)) * static_cast<double>(x(m, d));
    const double scale = squares > 0 ? 1.0 / std::sqrt(squares) : 0.0;
    for (Index d = 0; d < x.cols(); ++d) x(m, d) = static_cast<T>(scale * static_cast<double>(x(m, d)));
  }
  const auto sum = [&](Index d) {
    double out = 0;
    for (Index m = 0; m < x.rows(); ++m) out += static_cast<double>(x(m, d));
    return out;
  };
  const auto squares_off = [&](Index d, double mean) {
    double out = 0;
    for (Index m = 0; m < x.rows(); ++m) out += (static_cast<double>(x(m, d)) - mean) * (static_cast<double>(x(m, d)) - mean);
    return out;
  };
  const auto rows = static_cast<double>(x.rows() * ranks.size());
  double spread = 0;
  if (ranks.alone()) {
    for (Index d = 0; d < x.cols(); ++d) spread += std::sqrt(squares_off(d, sum(d) / rows) / rows);
  } else {
    const std::span<double> sums = ranks.room<double>(static_cast<std::size_t>(x.cols()));
    for (Index d = 0; d < x.cols(); ++d) sums[static_cast<std::size_t>(d)] = sum(d);
    ranks.all_sum(sums);
    for (Index d = 0; d < x.cols(); ++d) {
      double& of_column = sums[static_cast<std::size_t>(d)];
      of_column = squares_off(d, of_column / rows);
    }
    ranks.all_sum(sums);
    for (const double squares : sums) spread += std::sqrt(squares / rows);
  }
  return spread / static_cast<double>(x.cols());
}

/// Whether the figures of a term with P prototypes show a collapse. One without prototypes never does: see
/// `feature_spread`.
///
/// Both are means of which the share `counted` is not 0, and ln P stands for that share of it.
/// Uniform: the loss lies within 0.1 % of ln P and so does the teacher's entropy. Peaked: the teacher's entropy is
/// below 0.1 % of ln P and the loss below 1 % of it (a confident teacher that the student cannot yet follow is no
/// collapse), and so is the entropy of the teacher's mean where the term tells it (images that are told apart, each
/// assigned to a prototype of its own, are none either).
[[nodiscard]] inline Collapse collapse_of(const TermReport& level, Index prototypes) {
  if (!std::isfinite(level.teacher_entropy) || !(level.counted > 0)) return Collapse::none;
  const double flat = level.counted * std::log(static_cast<double>(prototypes));
  if (level.teacher_entropy > 0.999 * flat && std::abs(level.loss - flat) < 0.001 * flat) return Collapse::uniform;
  const bool apart = level.mean_entropy > 0.01 * flat;
  if (level.teacher_entropy < 0.001 * flat && level.loss < 0.01 * flat && !apart) return Collapse::peaked;
  return Collapse::none;
}

/// Whether features of width D that spread so much (`StepReport::feature_spread`) show a collapse: less than a fiftieth of
/// an even spread, 1/sqrt(D). For objectives without prototypes; a network that has not learned yet looks so too.
[[nodiscard]] inline Collapse collapse_of_spread(double spread, Index width) {
  return spread * std::sqrt(static_cast<double>(width)) < 0.02 ? Collapse::together : Collapse::none;
}

/// What to tell the user about a collapse.
[[nodiscard]] inline std::string advice_for(Collapse collapse) {
  switch (collapse) {
    case Collapse::uniform:
      return "collapse: the loss stays at ln P with a flat teacher, so all images look alike to it; try a lower "
             "teacher temperature (of SwAV a smaller epsilon), a lower learning rate, a longer warm-up, or more varied views";
    case Collapse::peaked:
      return "collapse: the teacher's entropy is near zero, so all images fall on one prototype; try a higher teacher "
             "temperature or a lower centre momentum, and freeze the prototypes for longer";
    case Collapse::together:
      return "collapse: the features of all images point one way; try a lower learning rate, a larger batch, more varied "
             "views, or a term that keeps images apart";
    default: return {};
  }
}

/// The same of a collapse that a term with P prototypes shows, with the figures that it is told by.
[[nodiscard]] inline std::string advice_for(Collapse collapse, const TermReport& term, Index prototypes) {
  std::string out = join(advice_for(collapse), " (term '", term.name, "': loss ", term.loss, ", entropy of targets ", term.teacher_entropy);
  if (std::isfinite(term.mean_entropy)) out += join(", of their mean ", term.mean_entropy);
  return out + join("; ln P ", std::log(static_cast<double>(prototypes)), ")");
}

/// What a step callback answers.
enum class Continue { proceed, stop };
inline constexpr Continue proceed = Continue::proceed;
inline constexpr Continue stop = Continue::stop;

}  // namespace dssl
