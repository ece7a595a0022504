// Points that the teacher chooses: drawn between the teacher's pass and the student's, where the teacher
// attends, or where its features of the two global views disagree.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/concepts.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/points/weighted_points.hpp>

namespace dssl {

/// What of the teacher says where points are worth drawing.
enum class TeacherSays : std::uint8_t {
  attention,    ///< its class token's attention to each patch in its last block, the mean over the heads
  disagreement  ///< 1 - cos of each patch's feature and the other global view's at the same place of the
                ///< scene
};

[[nodiscard]] constexpr std::string_view name_of(TeacherSays by) {
  return by == TeacherSays::attention ? "attention" : "disagreement";
}

/// Numbers of points that a teacher chooses. In a view of N patches, of which the teacher says s, a place of
/// patch n has the density uniform + (1 - uniform) N s[n]^(1/temperature) / sum s^(1/temperature), over that
/// of the uniform draw.
struct TeacherPointsOptions {
  double temperature = 1;  ///< above 1 evens out what the teacher says, below 1 sharpens it
  double uniform = 0.25;  ///< share of the density that the teacher has no say in: no place of a view starves

  [[nodiscard]] bool operator==(const TeacherPointsOptions&) const = default;

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const {
    if (!(temperature > 0) || !std::isfinite(temperature))
      throw OptionError("temperature", temperature, "above 0 and finite");
    if (!(uniform >= 0 && uniform <= 1)) throw OptionError("uniform", uniform, "0 to 1");
  }
};

/// Some of the K points of each pair of views, which the step draws anew once its teacher has seen the views.
struct TeacherDrawn {
  Index first = 0;  ///< of the pair's points
  Index count = 0;
  TeacherSays by{};
  TeacherPointsOptions numbers{};

  [[nodiscard]] bool operator==(const TeacherDrawn&) const = default;
};

/// K points a pair of views (q, v), each drawn alone in what both show, with a density that teacher view q
/// says patch by patch (`TeacherPointsOptions`); uniform where it says nothing.
///
/// `sample` draws what loaders have, before there is a teacher's pass: uniform points, whose places are taken
/// in the step by those of the teacher's choice (dssl/train/teacher_draws.hpp), keyed by seed, epoch, image
/// and pair as all points are. So a run asks for a backbone and views that can say where
/// (docs/policies/points.md). Two numbers of the stream a point. No publication is its reference; the method
/// leaves the choice of points open. Tests: tests/points/teacher_points.cpp, tests/train/teacher_draws.cpp.
template <TeacherSays By, Index K = 2>
class TeacherPoints {
  static_assert(K >= 1, "TeacherPoints<By, K> needs at least one point a view pair");

 public:
  static constexpr Index default_count = K;
  static constexpr TeacherAsked asks{.attention = By == TeacherSays::attention,
                                     .disagreement = By == TeacherSays::disagreement};

  /// K points a view pair, or another number given at run time. Throws `OptionError` unless `points` is at
  /// least 1, and as `TeacherPointsOptions::validate`.
  explicit TeacherPoints(Index points = K, const TeacherPointsOptions& numbers = {})
      : x_before(points), x_numbers(numbers) {
    numbers.validate();
  }

  [[nodiscard]] Index count() const noexcept { return x_before.count(); }
  /// "attention (temperature 1, uniform 0.25)".
  [[nodiscard]] std::string words() const {
    return join(name_of(By), " (temperature ", x_numbers.temperature, ", uniform ", x_numbers.uniform, ")");
  }
  [[nodiscard]] std::vector<TeacherDrawn> drawn_by_teacher() const {
    return {{.first = 0, .count = count(), .by = By, .numbers = x_numbers}};
  }

  /// Relative points of one view pair before the teacher's pass: `out` (K), uniform.
  /// Throws `ShapeError` unless `out` has `count()` elements.
  void sample(std::span<Point> out, RandomStream& random) const { x_before.sample(out, random); }

 private:
  RandomPoints<K> x_before;
  TeacherPointsOptions x_numbers;
};

/// Points where the teacher's class token attends.
template <Index K = 2>
using AttentionPoints = TeacherPoints<TeacherSays::attention, K>;
/// Points where the teacher's features of the two global views disagree.
template <Index K = 2>
using DisagreementPoints = TeacherPoints<TeacherSays::disagreement, K>;

/// Those of a sampler's points that the teacher chooses, in order; none where the sampler asks no teacher.
template <PointSampler Sampler>
[[nodiscard]] std::vector<TeacherDrawn> drawn_by_teacher(const Sampler& sampler) {
  if constexpr (AsksTeacher<Sampler>) {
    return sampler.drawn_by_teacher();
  } else {
    return {};
  }
}

/// The map of weights of a view's patches (h,w), row by row, of what its teacher says of them, `said` (h,w):
/// the density of `TeacherPointsOptions`. 1 each where what is said is not finite, below 0 or 0 all over.
/// Throws `ShapeError` unless there are h * w. Test: tests/points/teacher_points.cpp.
[[nodiscard]] inline PointWeights weights_of_teacher(std::span<const double> said, Index rows, Index columns,
                                                     const TeacherPointsOptions& numbers) {
  std::vector<double> weights(said.begin(), said.end());
  const bool sound = std::ranges::all_of(weights, [](double s) { return std::isfinite(s) && s >= 0; });
  const double largest = weights.empty() ? 0 : *std::ranges::max_element(weights);
  double sum = 0;
  for (double& s : weights)
    sum += s = sound && largest > 0 ? std::pow(s / largest, 1 / numbers.temperature) : 1;
  const double scale = (1 - numbers.uniform) * static_cast<double>(weights.size()) / sum;
  for (double& s : weights) s = numbers.uniform + scale * s;
  return {rows, columns, std::move(weights)};
}

}  // namespace dssl
