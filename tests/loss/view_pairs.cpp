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

namespace {

/// The parts of a level together are the level; every row of the teacher that a part reads is read for a reason.
void check_split(const LevelPairs& level, const std::vector<Index>& features) {
  const auto parts = split_pairs(level, features);
  REQUIRE(parts.size() == features.size());
  std::map<std::int32_t, TargetRows> targets;  // of a feature of the level
  std::set<std::int32_t> is_target, averaged;
  for (const TargetRows& rows : level.targets) is_target.insert(rows.begin(), rows.end());
  std::vector<std::int32_t> students;
  Index begin = 0;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    INFO("part " << p);
    const PairsPart& part = parts[p];
    const auto row_of_level = [&](std::int32_t row) {
      if (row < 0) return row;
      REQUIRE(static_cast<std::size_t>(row) < part.teacher_rows.size());
      return part.teacher_rows[static_cast<std::size_t>(row)];
    };
    REQUIRE(part.targets.size() <= part.student_rows.size());
    std::set<std::int32_t> needed;
    for (std::size_t i = 0; i < part.student_rows.size(); ++i) {
      CHECK(part.student_rows[i] >= 0);
      CHECK(part.student_rows[i] < features[p]);
      const auto feature = static_cast<std::int32_t>(begin + part.student_rows[i]);
      students.push_back(feature);
      if (i >= part.targets.size()) continue;
      CHECK(targets.emplace(feature, TargetRows{row_of_level(part.targets[i][0]), row_of_level(part.targets[i][1])})
                .second);
      for (const std::int32_t row : part.targets[i]) {
        if (row >= 0) needed.insert(row_of_level(row));
      }
    }
    for (const std::int32_t row : part.centre_rows) {
      const std::int32_t of_level = row_of_level(row);
      CHECK(averaged.insert(of_level).second);
      CHECK((needed.contains(of_level) || (p == 0 && !is_target.contains(of_level))));
    }
    for (const std::int32_t row : part.centre_rows) needed.insert(row_of_level(row));
    CHECK(std::set<std::int32_t>(part.teacher_rows.begin(), part.teacher_rows.end()) == needed);
    CHECK(part.teacher_rows.size() == needed.size());
    begin += features[p];
  }
  CHECK(averaged == std::set<std::int32_t>(level.centre_rows.begin(), level.centre_rows.end()));
  REQUIRE(targets.size() == level.targets.size());
  for (std::size_t i = 0; i < level.targets.size(); ++i) CHECK(targets.at(level.student_rows[i]) == level.targets[i]);
  std::vector<std::int32_t> expected = level.student_rows;
  std::ranges::sort(expected);
  std::ranges::sort(students);
  CHECK(students == expected);
}

}  // namespace

TEST_CASE("a level in parts has each of its pairs, and each row of its centre, once") {
  for (const bool all_views : {false, true}) {
    for (const bool uncompared : {false, true}) {
      INFO("all views " << all_views << ", uncompared rows " << uncompared);
      LevelPairs image = image_pairs(5, 3, all_views);
      LevelPairs point = point_pairs(5, 3, 2, all_views);
      if (uncompared) add_uncompared_rows(image, 5 * 3);
      if (uncompared) add_uncompared_rows(point, 5 * 3 * 2 * 2);
      check_split(image, std::vector<Index>(5, 3));
      check_split(point, std::vector<Index>(5, 3 * 2 * 2));
      check_split(image, {2 * 3, 3 * 3});
      check_split(point, {12, 2 * 12, 2 * 12});
    }
  }
}

TEST_CASE("a level in one part is the level as it is") {
  const LevelPairs level = point_pairs(4, 3, 2, true);
  const auto parts = split_pairs(level, std::vector<Index>{4 * 3 * 2 * 2});
  REQUIRE(parts.size() == 1);
  CHECK(parts[0].student_rows == level.student_rows);
  CHECK(parts[0].targets == level.targets);
  CHECK(parts[0].centre_rows == level.centre_rows);
  CHECK(parts[0].teacher_rows.empty());
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
  CHECK(ImageAndPointLoss::weight<ImageLevel>(options) == 0.3);
  CHECK(ImageAndPointLoss::weight<PointLevel>(options) == 0.7);
  CHECK(ImageLoss::weight<ImageLevel>(options) == 1);
  CHECK(PointLoss::weight<PointLevel>(options) == 1);
}
