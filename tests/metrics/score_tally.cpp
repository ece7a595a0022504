// Scores in bounded memory: exact while they fit, within a bound that is told where they do not.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <span>
#include <tuple>
#include <vector>

#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/score_tally.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

struct Sample {
  std::vector<double> scores;
  std::vector<int> labels;
};

/// Scores of both signs and many magnitudes; positives tend to be higher.
Sample drawn(std::size_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Sample out;
  for (std::size_t i = 0; i < count; ++i) {
    out.labels.push_back(random() % 3 == 0 ? 1 : 0);
    out.scores.push_back(normal(random) * std::exp(normal(random)) + 0.7 * out.labels.back());
  }
  return out;
}

using Group = std::tuple<double, double, double>;

std::vector<Group> groups_of(const ScoreTally& tally) {
  std::vector<Group> out;
  tally.each_group([&](double score, double p, double n) { out.emplace_back(score, p, n); });
  return out;
}

}  // namespace

TEST_CASE("a tally gives every score back, highest first, equal ones together") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  ScoreTally tally;
  for (const double score : {0.0, -0.0, 3.5, -infinity, 1e-310, -2.0, infinity, 3.5, -1e300}) {
    tally.add(score, score > 0);
  }
  CHECK(tally.exact());
  CHECK(tally.distinct() == 7);
  CHECK(groups_of(tally) == std::vector<Group>{{infinity, 1, 0},
                                               {3.5, 2, 0},
                                               {1e-310, 1, 0},
                                               {0.0, 0, 2},
                                               {-2.0, 0, 1},
                                               {-1e300, 0, 1},
                                               {-infinity, 0, 1}});
  CHECK(tally.positives() == 4);
  CHECK(tally.negatives() == 5);
}

TEST_CASE("a tally of few different scores is exact however many there are, and equals a map of counts") {
  std::mt19937 random(3);
  ScoreTally tally({.distinct = 4096});
  std::map<double, std::array<double, 2>, std::greater<>> expected;
  for (int i = 0; i < 200'000; ++i) {
    const double score = static_cast<double>(random() % 4001) / 7.0 - 200.0;
    const bool positive = random() % 5 == 0;
    tally.add(score, positive);
    expected[score][positive ? 0 : 1] += 1;
  }
  CHECK(tally.exact());
  std::vector<Group> groups;
  for (const auto& [score, counts] : expected) groups.emplace_back(score, counts[0], counts[1]);
  CHECK(groups_of(tally) == groups);
}

TEST_CASE("a tally that overflows stays within its bound, which bounds the true error") {
  for (const unsigned seed : {1U, 2U, 3U}) {
    const Sample sample = drawn(60'000, seed);
    ScoreTally exact;
    ScoreTally bounded({.distinct = 4096});
    exact.add(std::span<const double>(sample.scores), std::span<const int>(sample.labels));
    bounded.add(std::span<const double>(sample.scores), std::span<const int>(sample.labels));
    CHECK(exact.exact());
    CHECK_FALSE(bounded.exact());
    CHECK(bounded.distinct() <= 4096);
    CHECK(bounded.distinct() > 1024);
    CHECK(bounded.positives() == exact.positives());
    CHECK(auroc_error(exact) == 0);
    for (const double limit : {1.0, 0.3, 0.01, 0.0003}) {
      INFO("limit " << limit);
      const double difference = std::abs(auroc(bounded, limit) - auroc(exact, limit));
      CHECK(difference <= auroc_error(bounded, limit) + 1e-12);
      CHECK(auroc_error(bounded, limit) < (limit < 0.01 ? 0.2 : 0.01));
    }
    // A threshold of the bounded tally does what it says when it is put to the scores.
    for (const double rate : {0.01, 0.05, 0.5}) {
      const OperatingPoint point = at_false_alarms(bounded, rate);
      double alarms = 0;
      double recalled = 0;
      for (std::size_t i = 0; i < sample.scores.size(); ++i) {
        if (sample.scores[i] >= point.threshold) (sample.labels[i] != 0 ? recalled : alarms) += 1;
      }
      CHECK(alarms / bounded.negatives() == Approx(point.false_alarms).margin(1e-12));
      CHECK(recalled / bounded.positives() == Approx(point.recall).margin(1e-12));
      CHECK(point.false_alarms <= rate);
    }
  }
}

TEST_CASE("the bound of the error is reached where all that cannot be told apart stood in one order") {
  ScoreTally exact;
  ScoreTally bounded({.distinct = 4096});
  for (int i = 0; i < 4000; ++i) {
    const double score = 1.0 + i / 4096.0;
    for (ScoreTally* tally : {&exact, &bounded}) {
      tally->add(score, false);
      tally->add(std::nextafter(score, 2.0), true);
    }
  }
  CHECK_FALSE(bounded.exact());
  CHECK(bounded.distinct() == 4000);
  for (const double limit : {1.0, 0.1, 2.5 / 4000}) {
    INFO("limit " << limit);
    // The limit cuts no group, or half of one: there the bound is an eighth of a pair too large.
    const double slack = limit > 0.001 ? 0.0 : 0.125 / (2.5 * 4000);
    CHECK(auroc(exact, limit) - auroc(bounded, limit) ==
          Approx(auroc_error(bounded, limit) - slack).epsilon(1e-9));
  }
}

TEST_CASE("what a tally holds does not depend on the order of the scores or on how they were handed over") {
  Sample sample = drawn(30'000, 7);
  ScoreTally forward({.distinct = 4096});
  forward.add(std::span<const double>(sample.scores), std::span<const int>(sample.labels));
  std::vector<std::size_t> order(sample.scores.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(5));
  ScoreTally shuffled({.distinct = 4096});
  std::array<ScoreTally, 2> parts{ScoreTally({.distinct = 4096}), ScoreTally({.distinct = 4096})};
  for (std::size_t n = 0; n < order.size(); ++n) {
    const bool positive = sample.labels[order[n]] != 0;
    shuffled.add(sample.scores[order[n]], positive);
    if (n % 1000 == 0) CHECK(shuffled.distinct() <= 4096);  // merges at other places
    parts[n % 2].add(sample.scores[order[n]], positive);
  }
  parts[0].add(parts[1]);
  CHECK(groups_of(shuffled) == groups_of(forward));
  CHECK(groups_of(parts[0]) == groups_of(forward));
  CHECK(parts[0].negatives() == forward.negatives());
}

TEST_CASE("infinite scores keep their place in a tally that overflows") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Sample sample = drawn(20'000, 9);
  ScoreTally tally({.distinct = 4096});
  tally.add(std::span<const double>(sample.scores), std::span<const int>(sample.labels));
  tally.add(infinity, true);
  tally.add(-infinity, false);
  const auto groups = groups_of(tally);
  CHECK_FALSE(tally.exact());
  CHECK(groups.front() == Group{infinity, 1, 0});
  CHECK(groups.back() == Group{-infinity, 0, 1});
}

TEST_CASE("a tally says what is wrong with what it is given") {
  ScoreTally tally;
  CHECK(
      contains(thrown_by<NonFiniteError>([&] { tally.add(std::numeric_limits<double>::quiet_NaN(), true); }),
               "not a number"));
  CHECK(contains(thrown_by<OptionError>([&] { tally.add(1.0, true, 0.0); }), "'mass' is 0"));
  CHECK(contains(thrown_by<OptionError>([] { ScoreTally({.distinct = 100}); }), "'distinct' is 100"));
  CHECK(contains(thrown_by<DataError>([&] { tally.require_both(); }), "no scores"));
}
