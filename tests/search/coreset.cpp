// Greedy k-centre against the plain algorithm.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <stop_token>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/search/coreset.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <class T>
double squared(const std::vector<T>& rows, Index width, Index a, Index b) {
  double sum = 0;
  for (Index d = 0; d < width; ++d) {
    const double apart = static_cast<double>(rows[static_cast<std::size_t>(a * width + d)]) -
                         static_cast<double>(rows[static_cast<std::size_t>(b * width + d)]);
    sum += apart * apart;
  }
  return sum;
}

/// The farthest row from all chosen, again and again, from the given first one.
template <class T>
std::vector<std::int32_t> plain(const std::vector<T>& rows, Index width, Index size, std::int32_t first) {
  const auto n = static_cast<Index>(rows.size()) / width;
  std::vector<double> least(static_cast<std::size_t>(n), std::numeric_limits<double>::infinity());
  std::vector<std::int32_t> chosen{first};
  while (true) {
    for (Index i = 0; i < n; ++i)
      least[static_cast<std::size_t>(i)] =
          std::min(least[static_cast<std::size_t>(i)], squared(rows, width, i, chosen.back()));
    const auto farthest = std::max_element(least.begin(), least.end());
    if (static_cast<Index>(chosen.size()) == size || *farthest == 0) return chosen;
    chosen.push_back(static_cast<std::int32_t>(farthest - least.begin()));
  }
}

/// Small integers: products are exact, and many distances equal.
template <class T>
std::vector<T> integers(Index count, unsigned span, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> out;
  for (Index i = 0; i < count; ++i) out.push_back(static_cast<T>(random() % span));
  return out;
}

template <Backend B>
void check(const B& backend, Index n, Index width, unsigned span, Index size) {
  using T = typename B::Scalar;
  INFO(backend.describe() << ", " << n << " rows of width " << width << ", " << size << " chosen");
  const auto rows = integers<T>(n * width, span, static_cast<unsigned>(n));
  const MatrixView<const T> view(rows.data(), n, width);
  const Coreset found = greedy_coreset(backend, view, {.size = size, .seed = 3});
  REQUIRE(!found.rows.empty());
  const auto expected = plain(rows, width, size, found.rows.front());
  CHECK(found.rows == expected);
  double radius = 0;
  for (Index i = 0; i < n; ++i) {
    double least = std::numeric_limits<double>::infinity();
    for (const auto c : expected) least = std::min(least, squared(rows, width, i, c));
    radius = std::max(radius, least);
  }
  CHECK(found.radius == Approx(std::sqrt(radius)).margin(1e-12));
}

}  // namespace

TEST_CASE("the greedy coreset is that of the plain algorithm, ties included") {
  // Fewer rows than candidates, more of them than pending choices, more rows than candidates; few and many
  // ties.
  for (const unsigned span : {3U, 50U}) {
    check(Reference<double>(), 50, 2, span, 20);
    check(Reference<double>(), 3000, 3, span, 150);
#if __has_include(<dssl/backend/cpu.hpp>)
    check(Cpu({.threads = 1}), 9000, 4, span, 300);
    check(Cpu({.threads = 2}), 5000, 9, span, 100);
    check(BasicCpu<double>({.threads = 2}), 2000, 5, span, 2000);
#endif
  }
}

TEST_CASE("a coreset of all rows, of repeated rows, of one row, and with a stop") {
  const auto rows = integers<double>(300, 3, 1);  // 300 rows of one number: three different ones
  const MatrixView<const double> view(rows.data(), 300, 1);
  const Coreset three = greedy_coreset(Reference<double>(), view, {.size = 50});
  CHECK(three.rows.size() == 3);
  CHECK(three.radius == 0);
  CHECK(greedy_coreset(Reference<double>(), view, {.size = 1}).rows.size() == 1);
  std::stop_source stop;
  stop.request_stop();
  CHECK(greedy_coreset(Reference<double>(), view, {.size = 3}, stop.get_token()).rows.size() == 1);
  CHECK(contains(thrown_by<DataError>([&] {
                   static_cast<void>(greedy_coreset(Reference<double>(), view.rows(0, 0), {.size = 3}));
                 }),
                 "no rows"));
  CHECK(contains(thrown_by<OptionError>(
                     [&] { static_cast<void>(greedy_coreset(Reference<double>(), view, {.size = 0})); }),
                 "'size' is 0"));
}

#if __has_include(<dssl/backend/cpu.hpp>)
TEST_CASE("a projected coreset covers the rows almost as well, with the same bits for any threads") {
  constexpr Index width = 96;
  constexpr Index n = 3000;
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  // Clusters of different spreads in a few directions.
  std::vector<float> rows(n * width);
  for (Index i = 0; i < n; ++i) {
    for (Index d = 0; d < width; ++d)
      rows[static_cast<std::size_t>(i * width + d)] =
          normal(random) * (d < 6 ? 3.0F : 0.1F) + (i % 5 == d ? 8.0F : 0.0F);
  }
  const MatrixView<const float> view(rows.data(), n, width);
  const auto radius_of = [&](const std::vector<std::int32_t>& chosen) {
    double radius = 0;
    for (Index i = 0; i < n; ++i) {
      double least = std::numeric_limits<double>::infinity();
      for (const auto c : chosen) least = std::min(least, squared(rows, width, i, c));
      radius = std::max(radius, least);
    }
    return std::sqrt(radius);
  };
  const Coreset whole = greedy_coreset(Cpu({.threads = 1}), view, {.size = 200});
  const Coreset projected = greedy_coreset(Cpu({.threads = 1}), view, {.size = 200, .projection = 48});
  const Coreset again = greedy_coreset(Cpu({.threads = 2}), view, {.size = 200, .projection = 48});
  CHECK(projected.rows == again.rows);
  CHECK(projected.radius == again.radius);
  CHECK(std::set<std::int32_t>(projected.rows.begin(), projected.rows.end()).size() == 200);
  CHECK(radius_of(whole.rows) == Approx(whole.radius).epsilon(1e-4));
  CHECK(radius_of(projected.rows) < 1.3 * whole.radius);
  std::vector<std::int32_t> first(200);
  for (std::size_t i = 0; i < first.size(); ++i) first[i] = static_cast<std::int32_t>(i);
  CHECK(radius_of(first) > 1.3 * whole.radius);  // what no choice at all gives
}
#endif
