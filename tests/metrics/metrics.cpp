// Ranking metrics against the reference numbers and against slow counts of pairs.
#include "catch.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <span>
#include <vector>

#include <dssl/io/safetensors.hpp>
#include <dssl/metrics/metrics.hpp>

#include "fixtures.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

struct Sample {
  std::vector<double> scores;
  std::vector<int> labels;
  [[nodiscard]] std::span<const double> s() const { return scores; }
  [[nodiscard]] std::span<const int> l() const { return labels; }
};

/// Few different scores, so that most are tied; both kinds at least once.
Sample drawn(std::size_t count, unsigned levels, unsigned seed) {
  std::mt19937 random(seed);
  Sample out;
  for (std::size_t i = 0; i < count; ++i) {
    out.labels.push_back(i == 0 || (i > 1 && random() % 4 == 0) ? 1 : 0);
    out.scores.push_back(static_cast<double>(random() % levels + (out.labels.back() != 0 ? levels / 3 : 0)) -
                         0.3 * levels);
  }
  return out;
}

/// Shares of positives and negatives that score at least t.
std::array<double, 2> shares(const Sample& sample, double t) {
  std::array<double, 2> alarms{};
  std::array<double, 2> all{};
  for (std::size_t i = 0; i < sample.scores.size(); ++i) {
    const std::size_t kind = sample.labels[i] != 0 ? 0 : 1;
    all[kind] += 1;
    if (sample.scores[i] >= t) alarms[kind] += 1;
  }
  return {alarms[0] / all[0], alarms[1] / all[1]};
}

/// The ROC curve by looking at every sample for every threshold, cut at the limit by a straight line.
double slow_partial_area(const Sample& sample, double limit) {
  const std::set<double, std::greater<>> thresholds(sample.scores.begin(), sample.scores.end());
  double area = 0;
  std::array<double, 2> before{0, 0};
  for (const double t : thresholds) {
    const auto now = shares(sample, t);
    if (now[1] > before[1]) {
      const double end = std::min(now[1], limit);
      if (end > before[1]) {
        const double at_end = before[0] + (now[0] - before[0]) * (end - before[1]) / (now[1] - before[1]);
        area += (end - before[1]) * (before[0] + at_end) / 2;
      }
    }
    before = now;
  }
  return area / limit;
}

}  // namespace

TEST_CASE("AUROC and average precision give the published numbers, ties included") {
  const auto file = SafetensorsFile::open(fixture_path("evaluation.safetensors"));
  const auto scores = file.read<double>("rank.scores");
  const auto labels = file.read<std::int64_t>("rank.labels");
  CHECK(auroc<double, std::int64_t>(scores, labels) ==
        Approx(file.read<double>("rank.auroc")[0]).epsilon(1e-12));
  // The reference sums in float32.
  CHECK(average_precision<double, std::int64_t>(scores, labels) ==
        Approx(file.read<double>("rank.average_precision")[0]).epsilon(1e-7));
}

TEST_CASE("AUROC equals the count of all pairs, and its parts the curve itself") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    const Sample sample = drawn(2 + seed % 40, 2 + seed % 9, seed);
    INFO("seed " << seed);
    double right = 0;
    double pairs = 0;
    for (std::size_t i = 0; i < sample.scores.size(); ++i) {
      for (std::size_t j = 0; j < sample.scores.size(); ++j) {
        if (sample.labels[i] == 0 || sample.labels[j] != 0) continue;
        pairs += 1;
        right += sample.scores[i] > sample.scores[j] ? 1.0 : sample.scores[i] == sample.scores[j] ? 0.5 : 0.0;
      }
    }
    CHECK(auroc(sample.s(), sample.l()) == Approx(right / pairs).epsilon(1e-12).margin(1e-15));
    for (const double limit : {1.0, 0.3, 0.07, 0.001}) {
      CHECK(auroc(sample.s(), sample.l(), limit) ==
            Approx(slow_partial_area(sample, limit)).epsilon(1e-11).margin(1e-15));
    }
  }
}

TEST_CASE("average precision, best F1 and missed defects equal a search over all thresholds") {
  for (unsigned seed = 100; seed < 160; ++seed) {
    const Sample sample = drawn(2 + seed % 50, 2 + seed % 11, seed);
    INFO("seed " << seed);
    const std::set<double, std::greater<>> thresholds(sample.scores.begin(), sample.scores.end());
    double area = 0;
    double recall_before = 0;
    double most = 0;
    double most_at = std::numeric_limits<double>::infinity();
    for (const double t : thresholds) {
      double hits = 0;
      double alarms = 0;
      double positives = 0;
      for (std::size_t i = 0; i < sample.scores.size(); ++i) {
        positives += sample.labels[i];
        if (sample.scores[i] < t) continue;
        alarms += 1;
        hits += sample.labels[i];
      }
      area += (hits / positives - recall_before) * hits / alarms;
      recall_before = hits / positives;
      // F1 = 2 TP / (2 TP + FP + FN)
      const double f1 = 2 * hits / (alarms + positives);
      if (f1 > most + 1e-12) {
        most = f1;
        most_at = t;
      }
    }
    CHECK(average_precision(sample.s(), sample.l()) == Approx(area).epsilon(1e-12));
    const OperatingPoint best = best_f1(sample.s(), sample.l());
    CHECK(best.f1() == Approx(most).epsilon(1e-12));
    CHECK(shares(sample, best.threshold)[0] == Approx(best.recall));
    CHECK(shares(sample, most_at)[0] == Approx(best.recall));  // the highest threshold of that F1
    for (const double rate : {0.0, 0.01, 0.1, 0.25, 1.0}) {
      double missed = 1;
      for (const double t : thresholds) {
        const auto at = shares(sample, t);
        if (at[1] <= rate) missed = std::min(missed, 1 - at[0]);
      }
      const OperatingPoint point = at_false_alarms(sample.s(), sample.l(), rate);
      CHECK(point.missed() == Approx(missed).margin(1e-12));
      CHECK(point.false_alarms <= rate);
      CHECK(shares(sample, point.threshold)[1] == Approx(point.false_alarms).margin(1e-12));
    }
  }
}

TEST_CASE("what few false alarms find is a mean over four shares of them") {
  ScoreTally tally;
  for (int i = 0; i < 10; ++i) tally.add(i, false);
  tally.add(20, true);
  tally.add(8.5, true);  // beside one false alarm of ten
  CHECK(found_at_few_alarms(tally) == Approx(0.75));
  tally.add(7.5, true);
  tally.add(3, true);  // beside more than a fifth
  CHECK(found_at_few_alarms(tally) == Approx((0.25 + 0.25 + 0.5 + 0.75) / 4));
}

TEST_CASE("ranking by hand") {
  const std::array<double, 4> scores{0.9, 0.5, 0.5, 0.1};
  const std::array<int, 4> labels{1, 1, 0, 0};
  const std::span<const double> s(scores);
  const std::span<const int> l(labels);
  // Pairs: (.9 > .5, .1), (.5 = .5 half, .5 > .1): 3.5 of 4.
  CHECK(auroc(s, l) == Approx(3.5 / 4));
  // Recall 1/2 at precision 1, then 1/2 more at precision 2/3.
  CHECK(average_precision(s, l) == Approx(0.5 + 0.5 * 2 / 3));
  // At the threshold 0.5: precision 2/3, recall 1.
  CHECK(best_f1(s, l).threshold == 0.5);
  CHECK(best_f1(s, l).f1() == Approx(0.8));
  CHECK(at_false_alarms(s, l, 0.49).missed() == Approx(0.5));
  CHECK(at_false_alarms(s, l, 0.5).missed() == 0);
  // All scores the same: chance, and nothing can be had for less than all false alarms.
  const std::array<double, 4> same{2, 2, 2, 2};
  CHECK(auroc(std::span<const double>(same), l) == 0.5);
  CHECK(at_false_alarms(std::span<const double>(same), l, 0.9).missed() == 1);
  CHECK(at_false_alarms(std::span<const double>(same), l, 0.9).threshold ==
        std::numeric_limits<double>::infinity());
  // The points from no alarm to all.
  ScoreTally tally;
  tally.add(s, l);
  const auto points = operating_points(tally);
  REQUIRE(points.size() == 4);
  CHECK(points[0].recall == 0);
  CHECK(points[0].precision == 1);
  CHECK(points[2].precision == Approx(2.0 / 3));
  CHECK(points[3].false_alarms == 1);
}

TEST_CASE("a set of one kind is an error that says so, and so is a score that is not a number") {
  const std::array<double, 4> scores{0.9, 0.5, 0.5, 0.1};
  const std::array<int, 4> ones{1, 1, 1, 1};
  const std::array<int, 4> zeros{};
  const std::span<const double> s(scores);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(auroc(s, std::span<const int>(ones))); }),
                 "all scores are of positives; negatives are needed"));
  CHECK(contains(
      thrown_by<DataError>([&] { static_cast<void>(average_precision(s, std::span<const int>(zeros))); }),
      "all scores are of negatives; positives are needed"));
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(best_f1(s, std::span<const int>(zeros))); }),
                 "positives are needed"));
  CHECK(contains(
      thrown_by<DataError>([&] { static_cast<void>(at_false_alarms(s, std::span<const int>(ones), 0.1)); }),
      "negatives are needed"));
  const std::array<int, 4> labels{1, 1, 0, 0};
  const std::span<const int> l(labels);
  auto broken = scores;
  broken[2] = std::numeric_limits<double>::quiet_NaN();
  CHECK(contains(
      thrown_by<NonFiniteError>([&] { static_cast<void>(auroc(std::span<const double>(broken), l)); }),
      "not a number"));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(auroc(s, l.first(3))); }),
                 "4 scores for 3 labels"));
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(auroc(s, l, 0.0)); }), "'limit' is 0"));
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(at_false_alarms(s, l, 1.5)); }),
                 "'rate' is 1.5"));
}
