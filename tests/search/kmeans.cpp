// K-means: Lloyd's iteration written out, k-means++ by its distribution, and the same bits for any threads.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <span>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/search/kmeans.hpp>
#include <dssl/search/row_sample.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Groups around distant corners.
template <class T>
std::vector<T> groups(Index count, Index width, Index groups, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<T> out;
  for (Index i = 0; i < count; ++i) {
    for (Index d = 0; d < width; ++d)
      out.push_back(
          static_cast<T>((i % groups) % width == d ? 10.0 + 5.0 * static_cast<double>(i % groups) : 0.0) +
          static_cast<T>(0.3 * normal(random)));
  }
  return out;
}

double squared_distance(const double* a, const double* b, Index width) {
  double sum = 0;
  for (Index d = 0; d < width; ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  const auto rows = groups<T>(200, 4, 5, 1);
  KMeans<B> means(backend, {.width = 4, .clusters = 5, .seed = 2, .rows_at_once = 64});
  const auto result = means.fit(MatrixView<const T>(rows.data(), 200, 4));
  CHECK(result.converged);
  std::vector<std::int32_t> cluster(200);
  means.assign(cluster, MatrixView<const T>(rows.data(), 200, 4));
  // Each group is one cluster.
  for (std::size_t i = 5; i < 200; ++i) CHECK(cluster[i] == cluster[i % 5]);
  CHECK(std::set<std::int32_t>(cluster.begin(), cluster.begin() + 5).size() == 5);
  CHECK(result.inertia == Approx(200 * 4 * 0.09).epsilon(0.2));
}

}  // namespace

TEST_CASE("blocks are of neighbours, all there is, and alike in size") {
  for (const Index folds : {2, 3, 4}) {
    Index last = 0, smallest = 11, largest = 0;
    for (Index fold = 0; fold < folds; ++fold) {
      Index count = 0;
      for (Index i = 0; i < 11; ++i) {
        if (!in_block(i, 11, fold, folds)) continue;
        CHECK(i == last++);
        ++count;
      }
      smallest = std::min(smallest, count);
      largest = std::max(largest, count);
    }
    CHECK(last == 11);
    CHECK(largest - smallest <= 1);
  }
}

TEST_CASE("k-means finds groups that lie apart, on every backend") {
  check(Reference<double>());
  check(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 2}));
#endif
}

TEST_CASE("a converged clustering is a fixed point: nearest centres, centres the means, inertia their sum") {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  constexpr Index n = 400;
  constexpr Index width = 3;
  std::vector<double> rows(n * width);
  for (double& v : rows) v = normal(random);
  for (const Index clusters : {1, 2, 7, 40, 400}) {
    KMeans<Reference<double>> means(Reference<double>(),
                                    {.width = width, .clusters = clusters, .iterations = 300, .seed = 4});
    const auto result = means.fit(MatrixView<const double>(rows.data(), n, width));
    INFO(clusters << " clusters, " << result.iterations << " iterations");
    REQUIRE(result.converged);
    std::vector<std::int32_t> cluster(n);
    means.assign(cluster, MatrixView<const double>(rows.data(), n, width));
    const auto centres = means.centres();
    double inertia = 0;
    std::vector<double> mean(static_cast<std::size_t>(clusters * width), 0.0);
    std::vector<double> size(static_cast<std::size_t>(clusters), 0.0);
    for (Index i = 0; i < n; ++i) {
      const Index own = cluster[static_cast<std::size_t>(i)];
      const double distance = squared_distance(rows.data() + i * width, centres.row(own), width);
      inertia += distance;
      for (Index k = 0; k < clusters; ++k)
        CHECK(squared_distance(rows.data() + i * width, centres.row(k), width) >= distance - 1e-12);
      size[static_cast<std::size_t>(own)] += 1;
      for (Index d = 0; d < width; ++d)
        mean[static_cast<std::size_t>(own * width + d)] += rows[static_cast<std::size_t>(i * width + d)];
    }
    CHECK(result.inertia == Approx(inertia).margin(1e-9));
    CHECK(*std::min_element(size.begin(), size.end()) > 0);
    for (Index k = 0; k < clusters; ++k) {
      for (Index d = 0; d < width; ++d)
        CHECK(centres(k, d) ==
              Approx(mean[static_cast<std::size_t>(k * width + d)] / size[static_cast<std::size_t>(k)])
                  .margin(1e-12));
    }
  }
}

TEST_CASE("the first centres are drawn by squared distance") {
  // Three rows at 0, one at 1, one at 3: one iteration of one step shows the second centre's draw.
  // From a first centre at 0 the second is 1 with chance 1/10 and 3 with chance 9/10, never 0.
  const std::vector<double> rows{0, 0, 0, 1, 3};
  std::array<int, 2> second{};
  int zero_first = 0;
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    KMeans<Reference<double>> means(Reference<double>(),
                                    {.width = 1, .clusters = 2, .iterations = 1, .seed = seed});
    const MatrixView<const double> view(rows.data(), 5, 1);
    const std::stop_source stop = [] {
      std::stop_source s;
      s.request_stop();
      return s;
    }();
    means.fit(view, stop.get_token());  // stopped before the centres move
    const auto centres = means.centres();
    if (centres(0, 0) != 0) continue;
    ++zero_first;
    REQUIRE(centres(1, 0) != 0);
    ++second[centres(1, 0) == 1 ? 0 : 1];
  }
  CHECK(zero_first == Approx(3000 * 0.6).epsilon(0.06));
  CHECK(second[0] == Approx(zero_first * 0.1).epsilon(0.25));
}

TEST_CASE("a cluster that has no rows takes the farthest one") {
  // The first centres are drawn from three rows, which are all alike for most seeds.
  std::vector<double> rows(32, 0.0);
  rows[7] = 10;
  rows[20] = 20;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    KMeans<Reference<double>> means(Reference<double>(),
                                    {.width = 1, .clusters = 3, .seeding = 3, .seed = seed});
    const auto result = means.fit(MatrixView<const double>(rows.data(), 32, 1));
    CHECK(result.converged);
    CHECK(result.inertia == 0);
  }
}

TEST_CASE("rows that are all alike still make as many clusters as asked for, and too few rows are refused") {
  const std::vector<double> rows(12, 1.0);
  KMeans<Reference<double>> means(Reference<double>(), {.width = 2, .clusters = 3});
  const auto result = means.fit(MatrixView<const double>(rows.data(), 6, 2));
  CHECK(result.inertia == 0);
  CHECK(contains(thrown_by<DataError>([&] { means.fit(MatrixView<const double>(rows.data(), 2, 2)); }),
                 "2 rows are too few for 3 clusters"));
  CHECK(contains(thrown_by<OptionError>(
                     [] { KMeans<Reference<double>>(Reference<double>(), {.width = 2, .clusters = 0}); }),
                 "'clusters' is 0"));
}

#if __has_include(<dssl/backend/cpu.hpp>)
TEST_CASE("k-means gives the same bits for any number of threads") {
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  std::vector<float> rows(3000 * 32);
  for (float& v : rows) v = normal(random);
  std::vector<std::vector<float>> centres;
  std::vector<double> inertia;
  for (const int threads : {1, 2}) {
    KMeans<Cpu> means(Cpu({.threads = threads}),
                      {.width = 32, .clusters = 20, .iterations = 10, .seeding = 500, .seed = 1});
    inertia.push_back(means.fit(MatrixView<const float>(rows.data(), 3000, 32)).inertia);
    centres.emplace_back(means.centres().data(), means.centres().data() + means.centres().size());
  }
  CHECK(centres[0] == centres[1]);
  CHECK(inertia[0] == inertia[1]);
}
#endif

TEST_CASE("a shuffle holds every number once, and all orders come about equally often") {
  std::map<std::vector<Index>, int> orders;
  for (std::uint64_t seed = 0; seed < 2400; ++seed) ++orders[shuffled(4, {.seed = seed})];
  CHECK(orders.size() == 24);
  for (const auto& [order, count] : orders) {
    CHECK(std::set<Index>(order.begin(), order.end()) == std::set<Index>{0, 1, 2, 3});
    CHECK(count > 50);  // expected 100
    CHECK(count < 150);
  }
  CHECK(shuffled(0, {}).empty());
}

TEST_CASE("a sample of rows has no repeats, grows with its size, and takes all alike") {
  std::vector<int> taken(50, 0);
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const auto ten = sample_rows(50, 10, {.seed = seed});
    const auto twenty = sample_rows(50, 20, {.seed = seed});
    REQUIRE(ten.size() == 10);
    CHECK(std::adjacent_find(ten.begin(), ten.end(), std::greater_equal<>()) == ten.end());
    CHECK(std::includes(twenty.begin(), twenty.end(), ten.begin(), ten.end()));
    for (const auto i : ten) ++taken[static_cast<std::size_t>(i)];
  }
  CHECK(*std::min_element(taken.begin(), taken.end()) > 140);  // expected 200
  CHECK(*std::max_element(taken.begin(), taken.end()) < 260);
  CHECK(sample_rows(3, 10, {}) == std::vector<std::int32_t>{0, 1, 2});
  Index sum = 0;
  for (Index i = 0; i < 7; ++i) {
    CHECK((row_quota(i, 7, 24) == 3 || row_quota(i, 7, 24) == 4));
    sum += row_quota(i, 7, 24);
  }
  CHECK(sum == 24);
}
