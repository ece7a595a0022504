// Clusters named after classes, and what they then score.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <dssl/metrics/cluster_counts.hpp>
#include <dssl/metrics/confusion.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

struct Drawn {
  std::vector<std::int32_t> clusters;
  std::vector<std::uint8_t> labels;
};

Drawn drawn(unsigned seed, unsigned clusters, unsigned classes) {
  std::mt19937 random(seed);
  Drawn out;
  for (int i = 0; i < 300; ++i) {
    out.labels.push_back(static_cast<std::uint8_t>(random() % (classes + 1)));  // the last is void
    // Clusters prefer a class each.
    out.clusters.push_back(static_cast<std::int32_t>(
        random() % 2 == 0 ? (out.labels.back() * 7U + 3U) % clusters : random() % clusters));
  }
  return out;
}

/// What the confusion matrix says of the same pixels under their clusters' names.
double confusion_mean(const Drawn& d, std::span<const Index> match, Index classes) {
  ConfusionMatrix confusion(classes);
  std::vector<std::uint8_t> named;
  for (const auto k : d.clusters)
    named.push_back(static_cast<std::uint8_t>(match[static_cast<std::size_t>(k)]));
  confusion.add(std::span<const std::uint8_t>(d.labels), std::span<const std::uint8_t>(named));
  return confusion.scores().mean_iou;
}

}  // namespace

TEST_CASE("the Hungarian match has the most pixels of all one-to-one matches") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    const unsigned classes = 2 + seed % 4;
    const Drawn d = drawn(seed, classes, classes);
    ClusterCounts counts(classes, classes);
    counts.add(std::span<const std::int32_t>(d.clusters), std::span<const std::uint8_t>(d.labels));
    std::vector<Index> order(classes);
    std::iota(order.begin(), order.end(), Index{0});
    std::int64_t most = -1;
    do {
      std::int64_t sum = 0;
      for (std::size_t k = 0; k < order.size(); ++k) sum += counts(static_cast<Index>(k), order[k]);
      most = std::max(most, sum);
    } while (std::next_permutation(order.begin(), order.end()));
    const auto match = hungarian_match(counts);
    std::int64_t sum = 0;
    for (std::size_t k = 0; k < match.size(); ++k) sum += counts(static_cast<Index>(k), match[k]);
    CHECK(sum == most);
    CHECK(matched_scores(counts, match).mean_iou == Approx(confusion_mean(d, match, classes)));
    const auto majority = majority_match(counts);
    CHECK(matched_scores(counts, majority).mean_iou == Approx(confusion_mean(d, majority, classes)));
    CHECK(matched_scores(counts, majority).pixel_accuracy >= matched_scores(counts, match).pixel_accuracy);
  }
}

TEST_CASE("cluster scores by hand: empty, unmatched and absent ones") {
  // Clusters 0..3, classes 0..2; class 2 never occurs.
  ClusterCounts counts(4, 3);
  const std::vector<std::int32_t> clusters{0, 0, 0, 1, 1, 2, 2, 2};
  const std::vector<std::uint8_t> labels{0, 0, 1, 1, 255, 1, 1, 1};
  counts.add(std::span<const std::int32_t>(clusters), std::span<const std::uint8_t>(labels));
  CHECK(majority_match(counts) == std::vector<Index>{0, 1, 1, -1});
  const auto majority = matched_scores(counts, majority_match(counts));
  CHECK(majority.iou[0] == Approx(2.0 / 3));
  CHECK(majority.iou[1] == Approx(4.0 / 5));
  CHECK(std::isnan(majority.iou[2]));
  CHECK(majority.absent == 1);
  CHECK(majority.mean_iou == Approx((2.0 / 3 + 4.0 / 5) / 2));
  CHECK(majority.pixel_accuracy == Approx(6.0 / 7));
  CHECK(matched_scores(counts, majority_match(counts), AbsentClasses::zero).mean_iou ==
        Approx((2.0 / 3 + 4.0 / 5) / 3));
  // One to one: cluster 2 takes class 1, cluster 0 class 0; cluster 1 is left over, or takes the absent
  // class.
  const auto match = hungarian_match(counts);
  CHECK(match[0] == 0);
  CHECK(match[2] == 1);
  CHECK(matched_scores(counts, match).iou[1] == Approx(3.0 / 5));
  CHECK(matched_scores(counts, match).pixel_accuracy == Approx(5.0 / 7));
  const std::vector<Index> none(4, -1);
  CHECK(matched_scores(counts, none).mean_iou == 0);
}

TEST_CASE("the pixels of an image count with their patch's cluster") {
  ClusterCounts counts(5, 2);
  const std::vector<std::int32_t> clusters{4, 1, 0, 2};
  const std::vector<std::uint8_t> labels{0, 0, 1, 1,  //
                                         0, 0, 1, 1,  //
                                         1, 1, 9, 0};
  counts.add(std::span<const std::int32_t>(clusters), {2, 2}, std::span<const std::uint8_t>(labels), 3, 4);
  // Rows 0 and 1 of three lie in the upper row of patches (floor(y 2 / 3)).
  CHECK(counts(4, 0) == 4);
  CHECK(counts(1, 1) == 4);
  CHECK(counts(0, 1) == 2);
  CHECK(counts(2, 0) == 1);
  CHECK(contains(thrown_by<ShapeError>([&] {
                   counts.add(std::span<const std::int32_t>(clusters).first(3), {2, 2},
                              std::span<const std::uint8_t>(labels), 3, 4);
                 }),
                 "3 patches"));
  const std::vector<std::int32_t> wrong{5, 0, 0, 0};
  CHECK(contains(
      thrown_by<ShapeError>([&] {
        counts.add(std::span<const std::int32_t>(wrong), {2, 2}, std::span<const std::uint8_t>(labels), 3, 4);
      }),
      "cluster 5"));
}
