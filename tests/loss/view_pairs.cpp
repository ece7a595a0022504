// Which views are compared: counts, weights, symmetry, and the rows of the centre.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"

#include <dssl/loss/objective.hpp>
#include <dssl/loss/view_pairs.hpp>

using namespace dssl;

namespace {

/// A row number taken apart: teacher (q, b) or (q, b, v, k); student (v, b) or (v, b, q, k).
struct Row {
  Index first, b, second, k;
};

Row row_of(std::int32_t row, Index batch, Index seconds, Index points) {
  const auto r = static_cast<Index>(row);
  return {r / (points * seconds * batch), r / (points * seconds) % batch, r / points % seconds, r % points};
}

/// Checks one level; image level: points 0.
void check(Index views, Index batch, Index points, bool all_views) {
  INFO(views << " views, batch " << batch << ", " << points << " points, all views " << all_views);
  const bool image = points == 0;
  const LevelPairs pairs =
      image ? image_pairs(views, batch, all_views) : point_pairs(views, batch, points, all_views);
  const Index each = image ? 1 : points;
  const Index teacher_seconds = image ? 1 : views;
  const Index student_seconds = image ? 1 : 2;
  const Index student_views = all_views ? views : 2;

  CHECK(pairs.teacher_rows == 2 * batch * teacher_seconds * each);
  CHECK(pairs.pairs == 2 * student_views - 2);
  CHECK(pairs.scale == Approx(1.0 / static_cast<double>(batch * each) /
                              (static_cast<double>(pairs.pairs) + 1e-5)).epsilon(1e-14));
  REQUIRE(pairs.student_rows.size() == pairs.targets.size());

  // (q, v, b, k): how often each term is in the loss.
  std::map<std::vector<Index>, int> terms;
  std::set<std::int32_t> students;
  for (std::size_t i = 0; i < pairs.targets.size(); ++i) {
    const Row s = row_of(pairs.student_rows[i], batch, student_seconds, each);
    CHECK(students.insert(pairs.student_rows[i]).second);
    CHECK(s.first < student_views);
    int count = 0;
    for (const std::int32_t target : pairs.targets[i]) {
      if (target < 0) continue;
      ++count;
      REQUIRE(target < pairs.teacher_rows);
      const Row t = row_of(target, batch, teacher_seconds, each);
      CHECK(t.b == s.b);
      CHECK(t.k == s.k);
      CHECK(t.first != s.first);
      if (!image) {
        CHECK(t.second == s.first);
        CHECK(s.second == t.first);
      }
      ++terms[{t.first, s.first, t.b, t.k}];
    }
    CHECK(count >= 1);
  }
  CHECK(static_cast<Index>(terms.size()) == pairs.pairs * batch * each);
  for (const auto& [term, count] : terms) CHECK(count == 1);
  // The two global views teach each other.
  for (Index b = 0; b < batch; ++b) {
    CHECK(terms.contains({0, 1, b, 0}));
    CHECK(terms.contains({1, 0, b, 0}));
  }

  const std::set<std::int32_t> centre(pairs.centre_rows.begin(), pairs.centre_rows.end());
  CHECK(centre.size() == pairs.centre_rows.size());
  CHECK(static_cast<Index>(centre.size()) == 2 * batch * (image ? 1 : 2) * each);
  for (const std::int32_t row : centre) {
    CHECK(row < pairs.teacher_rows);
    if (!image) CHECK(row_of(row, batch, teacher_seconds, each).second < 2);
  }
}

}  // namespace

TEST_CASE("pairs of views are counted, weighed and matched by their contract") {
  for (const bool all_views : {false, true}) {
    for (const Index views : {2, 3, 6}) {
      for (const Index batch : {1, 3}) {
        for (const Index points : {0, 1, 4}) check(views, batch, points, all_views);
      }
    }
  }
}

TEST_CASE("features that are not compared come after those that are, each once") {
  for (const bool all_views : {false, true}) {
    for (const Index points : {0, 2}) {
      INFO(points << " points, all views " << all_views);
      const LevelPairs compared = points == 0 ? image_pairs(4, 3, all_views) : point_pairs(4, 3, points, all_views);
      const Index count = points == 0 ? 4 * 3 : 4 * 3 * 2 * points;
      LevelPairs whole = compared;
      add_uncompared_rows(whole, count);
      CHECK(whole.targets == compared.targets);
      REQUIRE(static_cast<Index>(whole.student_rows.size()) == count);
      CHECK(std::equal(compared.student_rows.begin(), compared.student_rows.end(), whole.student_rows.begin()));
      const std::set<std::int32_t> rows(whole.student_rows.begin(), whole.student_rows.end());
      CHECK(static_cast<Index>(rows.size()) == count);
      CHECK(*rows.begin() == 0);
      CHECK(*rows.rbegin() == count - 1);
    }
  }
}

TEST_CASE("with two views, all views are the two global ones") {
  const LevelPairs all = point_pairs(2, 3, 2, true);
  const LevelPairs two = point_pairs(2, 3, 2, false);
  CHECK(all.student_rows == two.student_rows);
  CHECK(all.targets == two.targets);
  CHECK(all.centre_rows == two.centre_rows);
  CHECK(all.scale == two.scale);
}

TEST_CASE("weights of the levels") {
  const LossOptions options{.alpha = 0.3};
  CHECK(image_weight<ImageAndPointLoss>(options) == 0.3);
  CHECK(point_weight<ImageAndPointLoss>(options) == 0.7);
  CHECK(image_weight<ImageLoss>(options) == 1);
  CHECK(point_weight<ImageLoss>(options) == 0);
  CHECK(image_weight<PointLoss>(options) == 0);
  CHECK(point_weight<PointLoss>(options) == 1);
}

TEST_CASE("impossible numbers of the objective are refused by name") {
  const auto message_for = [](const LossOptions& options) {
    return test::thrown_by<OptionError>([&] { options.validate(); });
  };
  CHECK(message_for({}) == "(nothing was thrown)");
  CHECK(message_for({.alpha = 0}) == "(nothing was thrown)");
  CHECK(test::contains(message_for({.alpha = 1.5}), "'loss.alpha' is 1.5"));
  CHECK(test::contains(message_for({.alpha = -0.1}), "'loss.alpha' is -0.1"));
  CHECK(test::contains(message_for({.alpha = std::numeric_limits<double>::quiet_NaN()}), "'loss.alpha'"));
  CHECK(test::contains(message_for({.student_temperature = 0}), "'loss.student_temperature' is 0"));
  CHECK(test::contains(message_for({.centre_momentum = 1}), "'loss.centre_momentum' is 1"));
  CHECK(test::contains(message_for({.centre_momentum = -0.5}), "'loss.centre_momentum' is -0.5"));
}
