// The Hungarian method against all permutations.
#include "catch.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include <dssl/metrics/assignment.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

double brute_force(MatrixView<const double> cost) {
  const Index large = std::max(cost.rows(), cost.cols());
  const Index small = std::min(cost.rows(), cost.cols());
  std::vector<Index> order(static_cast<std::size_t>(large));
  std::iota(order.begin(), order.end(), Index{0});
  double least = std::numeric_limits<double>::infinity();
  do {
    double sum = 0;
    for (Index i = 0; i < small; ++i) {
      const Index other = order[static_cast<std::size_t>(i)];
      sum += cost.rows() <= cost.cols() ? cost(i, other) : cost(other, i);
    }
    least = std::min(least, sum);
  } while (std::next_permutation(order.begin(), order.end()));
  return least;
}

}  // namespace

TEST_CASE("the assignment costs as little as the best of all permutations") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto rows = static_cast<Index>(1 + random() % 6);
    const auto cols = static_cast<Index>(1 + random() % 6);
    const unsigned span = seed % 3 == 0 ? 4 : 1000;  // many ties, or few
    std::vector<double> values;
    for (Index i = 0; i < rows * cols; ++i) values.push_back(static_cast<double>(random() % span) - span / 2);
    const MatrixView<const double> cost(values.data(), rows, cols);
    const auto match = minimum_assignment(cost);
    REQUIRE(static_cast<Index>(match.size()) == rows);
    double sum = 0;
    std::set<Index> used;
    for (Index r = 0; r < rows; ++r) {
      const Index c = match[static_cast<std::size_t>(r)];
      if (c < 0) continue;
      CHECK(c < cols);
      CHECK(used.insert(c).second);
      sum += cost(r, c);
    }
    INFO("seed " << seed << ", " << rows << " x " << cols);
    CHECK(static_cast<Index>(used.size()) == std::min(rows, cols));
    CHECK(sum == brute_force(cost));
  }
}

TEST_CASE("a large assignment finds the hidden permutation, and costs must be finite") {
  constexpr Index n = 150;
  std::mt19937 random(1);
  std::vector<Index> hidden(n);
  std::iota(hidden.begin(), hidden.end(), Index{0});
  std::shuffle(hidden.begin(), hidden.end(), random);
  // cost(r, c) = u(r) + v(c) + something positive but for the hidden pairs.
  std::vector<double> values(n * n);
  std::vector<double> of_column(n);
  for (double& v : of_column) v = static_cast<double>(random() % 1000);
  for (Index r = 0; r < n; ++r) {
    const double u = static_cast<double>(random() % 1000);
    for (Index c = 0; c < n; ++c)
      values[static_cast<std::size_t>(r * n + c)] =
          u + of_column[static_cast<std::size_t>(c)] +
          (hidden[static_cast<std::size_t>(r)] == c ? 0.0 : 1.0 + static_cast<double>(random() % 9));
  }
  CHECK(minimum_assignment(MatrixView<const double>(values.data(), n, n)) == hidden);
  values[7] = std::numeric_limits<double>::infinity();
  CHECK(contains(thrown_by<NonFiniteError>([&] {
                   static_cast<void>(minimum_assignment(MatrixView<const double>(values.data(), n, n)));
                 }),
                 "not finite"));
}
