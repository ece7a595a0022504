// Points that a teacher chooses, before there is a teacher: their numbers, words, places in a mixture, and
// weights.
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "thrown.hpp"

#include <dssl/concepts.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/points/salient_points.hpp>
#include <dssl/points/teacher_points.hpp>

using namespace dssl;
using dssl::test::contains;
using dssl::test::thrown_by;

static_assert(PointSampler<AttentionPoints<>> && AsksTeacher<AttentionPoints<>> && AsksTeacher<AnySampler>);
static_assert(!AsksTeacher<RandomPoints<>> && !AsksTeacher<MixedPoints<RandomPoints<>, SalientPoints<>>>);
static_assert(AsksTeacher<MixedPoints<SalientPoints<>, DisagreementPoints<>>>);
static_assert(MixedPoints<SalientPoints<>, DisagreementPoints<>>::asks.disagreement &&
              !MixedPoints<SalientPoints<>, DisagreementPoints<>>::asks.attention);
static_assert(!teacher_asked_by<AnySampler>.any() && !teacher_asked_by<MixedPoints<GridPoints<>>>.any());

TEST_CASE("a mixture says which of its points the teacher draws") {
  const TeacherPointsOptions sharp{.temperature = 0.5, .uniform = 0.1};
  const std::vector<TeacherDrawn> expected{
      {.first = 9, .count = 3, .by = TeacherSays::attention, .numbers = sharp},
      {.first = 14, .count = 4, .by = TeacherSays::disagreement, .numbers = {}}};
  const MixedPoints<GridPoints<>, AttentionPoints<>, SalientPoints<>, DisagreementPoints<4>> mixed(
      GridPoints<>(3), AttentionPoints<>(3, sharp), SalientPoints<>(2), DisagreementPoints<4>());
  CHECK((mixed.drawn_by_teacher() == expected));
  CHECK(mixed.words() ==
        "mixed (grid 9, attention (temperature 0.5, uniform 0.1) 3, salient 2, disagreement (temperature 1, "
        "uniform 0.25) 4)");
  const AnySampler any(std::vector<AnySampler>{GridPoints<>(3), AttentionPoints<>(3, sharp),
                                               SalientPoints<>(2), DisagreementPoints<4>()});
  CHECK((any.drawn_by_teacher() == expected));
  CHECK(any.words() == mixed.words());
  CHECK((AnySampler(mixed).drawn_by_teacher() == expected));
  CHECK(drawn_by_teacher(RandomPoints<>()).empty());
  CHECK(AnySampler().drawn_by_teacher().empty());
  CHECK((AnySampler(AttentionPoints<>(3, sharp)).drawn_by_teacher() ==
         std::vector<TeacherDrawn>{{.count = 3, .numbers = sharp}}));
}

TEST_CASE("before the teacher's pass its points are those of the uniform draw") {
  const RandomKey key = point_key({.seed = 3, .epoch = 1, .sample = 5}, 1, 2, 4);
  RandomStream one(key), other(key);
  std::vector<Point> found(6), expected(6);
  AttentionPoints<>(6).sample(found, one);
  RandomPoints<>(6).sample(expected, other);
  CHECK((found == expected));
  // And its own are of another stream.
  RandomStream own(teacher_point_key({.seed = 3, .epoch = 1, .sample = 5}, 1, 2, 4));
  AttentionPoints<>(6).sample(found, own);
  CHECK_FALSE((found == expected));
  CHECK(contains(thrown_by<ShapeError>([&] { AttentionPoints<>(5).sample(found, one); }),
                 "room for 6 points; expected 5"));
}

TEST_CASE("weights by a teacher are the uniform share and the rest by what it says, over its temperature") {
  const std::vector<double> said{0.1, 0.4, 0, 0.5, 0.6, 0.4};
  for (const TeacherPointsOptions numbers :
       {TeacherPointsOptions{}, TeacherPointsOptions{.temperature = 0.5, .uniform = 0},
        TeacherPointsOptions{.temperature = 3, .uniform = 0.6}}) {
    const PointWeights weights = weights_of_teacher(said, 2, 3, numbers);
    double sum = 0;
    for (const double s : said) sum += std::pow(s, 1 / numbers.temperature);
    double all = 0;
    for (Index i = 0; i < 6; ++i) {
      const double share = std::pow(said[static_cast<std::size_t>(i)], 1 / numbers.temperature) / sum;
      CHECK(weights(i / 3, i % 3) ==
            Approx(numbers.uniform + (1 - numbers.uniform) * 6 * share).epsilon(1e-12));
      CHECK(weights(i / 3, i % 3) >= numbers.uniform);
      all += weights(i / 3, i % 3);
    }
    CHECK(all == Approx(6).epsilon(1e-12));
  }
  // Where nothing is said, or nothing that can be: even.
  for (const double bad :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const PointWeights weights = weights_of_teacher(std::vector<double>{0, bad}, 1, 2, {});
    CHECK((weights(0, 0) == 1 && weights(0, 1) == 1));
  }
}

TEST_CASE("numbers of a teacher's points are checked") {
  const auto made = [](Index points, double temperature, double uniform) {
    return thrown_by<OptionError>(
        [&] { AttentionPoints<>(points, {.temperature = temperature, .uniform = uniform}); });
  };
  CHECK(contains(made(0, 1, 0), "'points' is 0; expected at least 1"));
  CHECK(contains(made(1, 0, 0), "'temperature' is 0; expected above 0 and finite"));
  CHECK(contains(made(1, std::numeric_limits<double>::infinity(), 0), "'temperature' is inf"));
  CHECK(contains(made(1, 1, 1.5), "'uniform' is 1.5; expected 0 to 1"));
  CHECK(contains(made(1, 1, std::nan("")), "'uniform' is nan"));
}
