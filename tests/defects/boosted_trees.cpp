// Boosted trees: by hand, as they learn, the same for any threads.
#include "catch.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/defects/boosted_trees.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Rows of five numbers, of which the second and the fourth say together which label is likelier.
struct Checkers {
  std::vector<float> rows;
  std::vector<std::uint8_t> labels;
  explicit Checkers(Index count, std::uint64_t seed) {
    RandomStream random({.seed = seed});
    for (Index i = 0; i < count; ++i) {
      for (Index d = 0; d < 5; ++d) rows.push_back(static_cast<float>(random.uniform(-1, 1)));
      const float* const row = rows.data() + 5 * i;
      const bool even = (row[1] > 0.1F) == (row[3] > -0.2F);
      labels.push_back(random.bernoulli(even ? 0.95 : 0.05) ? 1 : 0);
    }
  }
  [[nodiscard]] double right(const BoostedTrees& trees) const {
    double out = 0;
    for (std::size_t i = 0; i < labels.size(); ++i)
      out += (trees.logit(std::span(rows).subspan(5 * i, 5)) > 0) == (labels[i] != 0) ? 1 : 0;
    return out / static_cast<double>(labels.size());
  }
};

}  // namespace

TEST_CASE("a tree is the one that is found by hand") {
  // Half of the rows are ones: p = 1/2, G = +-1/2 and H = 1/4 a row. Of the three thresholds of the first column the middle one
  // parts the labels: each side has G = +-1, H = 1/2. The second column is the same number in every row.
  const std::vector<float> rows{1, 7, 2, 7, 4, 7, 8, 7};
  const std::vector<std::uint8_t> labels{0, 0, 1, 1};
  const BoostedTrees one = BoostedTrees::train(rows, 2, labels, {}, {.trees = 1, .depth = 1, .shrinkage = 0.3, .ridge = 1, .least = 0});
  CHECK(one.numbers().start == 0);
  CHECK(one.numbers().columns == std::vector<std::int32_t>{0});
  CHECK(one.numbers().thresholds == std::vector<float>{3});
  CHECK(one.numbers().values[0] == Approx(-0.3 * 1 / (0.5 + 1)));
  CHECK(one.numbers().values[1] == Approx(0.3 * 1 / (0.5 + 1)));
  CHECK(one.logit(std::vector<float>{3, 0}) == static_cast<double>(one.numbers().values[0]));  // up to the threshold: yes
  CHECK(one.logit(std::vector<float>{3.001F, 0}) == static_cast<double>(one.numbers().values[1]));

  // The next tree sees p = 1 / (1 + e^0.2) of the zeros: G = p, H = p (1 - p) each.
  const BoostedTrees two = BoostedTrees::train(rows, 2, labels, {}, {.trees = 2, .depth = 1, .shrinkage = 0.3, .ridge = 1, .least = 0});
  const double p = 1 / (1 + std::exp(0.2));
  CHECK(two.numbers().values[0] == one.numbers().values[0]);
  CHECK(two.numbers().values[2] == Approx(-0.3 * 2 * p / (2 * p * (1 - p) + 1)));
  CHECK(two.logit(std::vector<float>{8, 0}) == Approx(0.2 + 0.3 * 2 * p / (2 * p * (1 - p) + 1)));
  CHECK(two.logit(std::vector<float>{8, 0}, 1) == one.logit(std::vector<float>{8, 0}));
  std::vector<double> logits(3);
  two.logits(logits, std::vector<float>{1, 0});
  CHECK(logits == std::vector<double>{0, one.logit(std::vector<float>{1, 0}), two.logit(std::vector<float>{1, 0})});
  BoostedTrees kept = two;
  kept.keep(1);
  CHECK(kept.numbers() == one.numbers());

  // Weights: three times as much of the zeros, scaled to a mean of 1, is a start of log(1 / 3) and p = 1/4.
  const BoostedTrees weighed = BoostedTrees::train(rows, 2, labels, std::vector<double>{6, 6, 2, 2},
                                                   {.trees = 1, .depth = 1, .shrinkage = 1, .ridge = 1, .least = 0});
  CHECK(weighed.numbers().start == Approx(std::log(1.0 / 3)));
  CHECK(weighed.numbers().values[0] == Approx(-(2 * 1.5 * 0.25) / (2 * 1.5 * 3 / 16 + 1)));
  CHECK(weighed.numbers().values[1] == Approx(2 * 0.5 * 0.75 / (2 * 0.5 * 3 / 16 + 1)));

  // Where neither side may have less than that, nothing is asked: every row falls in the first leaf, whose G is 0.
  const BoostedTrees none = BoostedTrees::train(rows, 2, labels, {}, {.trees = 1, .depth = 2, .least = 0.6});
  CHECK(none.numbers().columns == std::vector<std::int32_t>{-1, -1, -1});
  CHECK(none.logit(std::vector<float>{8, 7}) == 0);
}

TEST_CASE("more trees leave less of the loss, and tell what one question cannot") {
  const Checkers seen(600, 1), other(600, 2);
  std::vector<double> losses;
  const BoostedTrees trees = BoostedTrees::train(seen.rows, 5, seen.labels, {}, {.trees = 60, .depth = 3}, [&](Index tree, double loss) {
    CHECK(tree == static_cast<Index>(losses.size()) + 1);
    losses.push_back(loss);
    return true;
  });
  CHECK(trees.size() == 60);
  CHECK(losses.front() < std::log(2.0));
  for (std::size_t t = 1; t < losses.size(); ++t) CHECK(losses[t] < losses[t - 1]);
  double loss = 0;
  for (std::size_t i = 0; i < seen.labels.size(); ++i) {
    const double logit = trees.logit(std::span(seen.rows).subspan(5 * i, 5));
    loss += std::log1p(std::exp(seen.labels[i] != 0 ? -logit : logit)) / 600;
  }
  CHECK(losses.back() == Approx(loss).epsilon(1e-6));
  CHECK(other.right(trees) > 0.88);  // 95 % is all there is to know
  const BoostedTrees flat = BoostedTrees::train(seen.rows, 5, seen.labels, {}, {.trees = 60, .depth = 1});
  CHECK(other.right(flat) < 0.7);
  const BoostedTrees stopped = BoostedTrees::train(seen.rows, 5, seen.labels, {}, {.trees = 60, .depth = 3},
                                                   [](Index tree, double) { return tree < 7; });
  CHECK(stopped.size() == 7);
  BoostedTrees kept = trees;
  kept.keep(7);
  CHECK(stopped.numbers() == kept.numbers());
}

TEST_CASE("trees are the same for any number of threads, and of a seed where columns are drawn") {
  const Checkers seen(500, 3);
  const auto with = [&](int threads, std::uint64_t seed, double columns) {
    return BoostedTrees::train(seen.rows, 5, seen.labels, {}, {.trees = 12, .bins = 16, .columns = columns, .seed = seed, .threads = threads}).numbers();
  };
  const TreeNumbers one = with(1, 0, 1);
  CHECK(with(2, 0, 1) == one);
  CHECK(with(4, 0, 1) == one);
  CHECK(with(4, 1, 1) == one);  // nothing is drawn
  CHECK(with(4, 1, 0.4) == with(1, 1, 0.4));
  CHECK(!(with(1, 1, 0.4) == with(1, 2, 0.4)));
  // Two of five columns a tree.
  const TreeNumbers some = with(1, 1, 0.4);
  for (std::size_t tree = 0; tree < 12; ++tree) {
    std::vector<bool> asked(5);
    for (std::size_t k = 0; k < 7; ++k) {
      if (some.columns[7 * tree + k] >= 0) asked[static_cast<std::size_t>(some.columns[7 * tree + k])] = true;
    }
    CHECK(std::count(asked.begin(), asked.end(), true) <= 2);
  }
}

TEST_CASE("what trees cannot be trained on is said") {
  const std::vector<float> rows{1, 2, 3};
  const std::vector<std::uint8_t> labels{0, 1, 1};
  const auto said = [&]<class E>(const std::vector<float>& values, const std::vector<std::uint8_t>& own, const std::vector<double>& weights, const E*) {
    return thrown_by<E>([&] { static_cast<void>(BoostedTrees::train(values, 1, own, weights, {.trees = 1})); });
  };
  const DataError* data = nullptr;
  CHECK(contains(said(rows, {1, 1, 1}, {}, data), "all 3 labels to train trees on are the same"));
  CHECK(contains(said(rows, {0, 2, 1}, {}, data), "row 1 has the label 2; expected 0 or 1"));
  CHECK(contains(said(rows, labels, {1, 1, 0}, data), "row 2 has the weight 0; expected one above 0"));
  const ShapeError* shape = nullptr;
  CHECK(contains(said({1, 2}, labels, {}, shape), "2 values of width 1 with 3 labels"));
  CHECK(contains(said(rows, labels, {1}, shape), "1 weights"));
  const NonFiniteError* finite = nullptr;
  CHECK(contains(said({1, std::numeric_limits<float>::infinity(), 3}, labels, {}, finite), "row 1 to train trees on has inf in column 0"));
  const auto refused = [&](const BoostedTreesOptions& options) {
    return thrown_by<OptionError>([&] { static_cast<void>(BoostedTrees::train(rows, 1, labels, {}, options)); });
  };
  CHECK(contains(refused({.trees = 0}), "'trees' is 0"));
  CHECK(contains(refused({.depth = 13}), "'depth' is 13"));
  CHECK(contains(refused({.bins = 257}), "'bins' is 257"));
  CHECK(contains(refused({.shrinkage = 0}), "'shrinkage' is 0"));
  CHECK(contains(refused({.ridge = 0}), "'ridge' is 0"));
  CHECK(contains(refused({.least = -1}), "'least' is -1"));
  CHECK(contains(refused({.columns = 0}), "'columns' is 0"));
  CHECK(contains(refused({.threads = -1}), "'threads' is -1"));

  TreeNumbers good{.width = 2, .depth = 1, .columns = {1}, .thresholds = {0.5F}, .values = {-1, 1}};
  CHECK(BoostedTrees(good).logit(std::vector<float>{9, 0.5F}) == -1);
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(BoostedTrees(good).logit(std::vector<float>{1})); }), "a row of 1 values"));
  TreeNumbers bad = good;
  bad.columns = {2};
  CHECK(contains(thrown_by<DataError>([&] { BoostedTrees{bad}; }), "asks for column 2; expected -1 to 1"));
  bad = good;
  bad.values[1] = std::numeric_limits<float>::quiet_NaN();
  CHECK(contains(thrown_by<DataError>([&] { BoostedTrees{bad}; }), "not finite"));
  bad = good;
  bad.values.push_back(0);
  CHECK(contains(thrown_by<ShapeError>([&] { BoostedTrees{bad}; }), "3 leaves, 1 columns and 1 thresholds"));
}
