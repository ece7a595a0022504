// Thresholds from normal scores keep their promise.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <dssl/metrics/calibration.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("the threshold stands just above the conformal quantile") {
  std::vector<double> scores(99);
  std::iota(scores.begin(), scores.end(), 1.0);
  std::shuffle(scores.begin(), scores.end(), std::mt19937(1));
  constexpr double infinity = std::numeric_limits<double>::infinity();
  // 99 scores: the ceil(100 (1 - rate))-th smallest.
  CHECK(alarm_threshold(scores, 0.01) == std::nextafter(99.0, infinity));
  CHECK(alarm_threshold(scores, 0.05) == std::nextafter(95.0, infinity));
  CHECK(alarm_threshold(scores, 0.055) == std::nextafter(95.0, infinity));
  CHECK(alarm_threshold(scores, 0.99) == std::nextafter(1.0, infinity));
  const std::vector<double> ties(200, 2.5);
  CHECK(alarm_threshold(ties, 0.1) > 2.5);  // equal scores are no alarm
}

TEST_CASE("the smallest calibration set is the smallest that a threshold can be taken from") {
  CHECK(calibration_size(0.01) == 99);
  CHECK(calibration_size(0.05) == 19);
  CHECK(calibration_size(0.3) == 3);
  CHECK(calibration_size(0.5) == 1);
  CHECK(calibration_size(0.9) == 1);
  CHECK(calibration_size(0.001) == 999);
  CHECK(calibration_size(std::nextafter(1.0, 0.0)) == 1);
  CHECK(calibration_size(1e-300) > 0);
  for (int n = 1; n <= 400; ++n) {
    for (const double rate : {1.0 / (n + 1), 0.999 / (n + 1), 1 - 0.5 / n}) {
      CAPTURE(n, rate);
      const auto least = static_cast<std::size_t>(calibration_size(rate));
      const std::vector<double> scores(least, 1.0);
      CHECK(alarm_threshold(scores, rate) > 1.0);
      // One fewer: the (n + 1)(1 - rate)-th of n scores would lie above the largest.
      CHECK(static_cast<double>(least) * rate < 1 + 1e-6);
      CHECK_THROWS_AS(alarm_threshold(std::span(scores).first(least - 1), rate), DataError);
    }
  }
  for (const double rate : {0.0, 1.0, -0.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(calibration_size(rate)); }), "'rate' is"));
}

TEST_CASE("on new normal scores the rate of alarms is what was promised, on average") {
  std::mt19937_64 random(7);
  std::exponential_distribution<double> draw;
  for (const double rate : {0.2, 0.05}) {
    double alarms = 0;
    constexpr int trials = 4000;
    for (int t = 0; t < trials; ++t) {
      std::vector<double> normal(39);
      for (double& s : normal) s = draw(random);
      const double threshold = alarm_threshold(normal, rate);
      for (int i = 0; i < 10; ++i) alarms += draw(random) >= threshold ? 1 : 0;
    }
    // (39 + 1) rate is whole: the promise is met exactly.
    CHECK(alarms / (10 * trials) == Approx(rate).epsilon(0.05));
  }
}

TEST_CASE("too few normal scores for a rate are an error that says how many it takes") {
  const std::vector<double> scores(98, 1.0);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(alarm_threshold(scores, 0.01)); }),
                 "98 normal scores are too few for a false-alarm rate of 0.01; at least 99"));
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(alarm_threshold({}, 0.5)); }), "at least 1 "));
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(alarm_threshold(scores, 0)); }),
                 "'rate' is 0"));
  auto broken = scores;
  broken[3] = std::numeric_limits<double>::quiet_NaN();
  CHECK(contains(thrown_by<NonFiniteError>([&] { static_cast<void>(alarm_threshold(broken, 0.5)); }),
                 "not finite"));
}
