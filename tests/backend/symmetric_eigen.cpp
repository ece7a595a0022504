// Eigenvectors: exact small cases, and what makes them eigenvectors on large ones.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <dssl/backend/symmetric_eigen.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

double product(const double* a, const double* b, Index n) {
  double sum = 0;
  for (Index i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// Residuals, lengths and angles, relative to the largest eigenvalue.
void check(const std::vector<double>& matrix, Index n, Index count) {
  const SymmetricEigen eigen = symmetric_eigen(matrix, n, count);
  REQUIRE(static_cast<Index>(eigen.values.size()) == n);
  REQUIRE(static_cast<Index>(eigen.vectors.size()) == n * count);
  double scale = 0, trace = 0, sum = 0;
  for (Index i = 0; i < n; ++i) {
    const double value = eigen.values[static_cast<std::size_t>(i)];
    if (i > 0) CHECK(value <= eigen.values[static_cast<std::size_t>(i - 1)]);
    scale = std::max(scale, std::abs(value));
    trace += matrix[static_cast<std::size_t>(i * n + i)];
    sum += value;
  }
  const double tolerance = 1e-13 * static_cast<double>(n) * (scale > 0 ? scale : 1);
  CHECK(std::abs(sum - trace) < tolerance);
  for (Index k = 0; k < count; ++k) {
    const double* const v = eigen.vectors.data() + k * n;
    double residual = 0, largest = 0;
    for (Index i = 0; i < n; ++i) {
      residual = std::max(residual, std::abs(product(matrix.data() + i * n, v, n) -
                                             eigen.values[static_cast<std::size_t>(k)] * v[i]));
      if (std::abs(v[i]) > std::abs(largest)) largest = v[i];
    }
    CHECK(residual < tolerance);
    CHECK(largest > 0);
    for (Index other = 0; other <= k; ++other) {
      CHECK(std::abs(product(v, eigen.vectors.data() + other * n, n) - (other == k ? 1 : 0)) <
            1e-13 * static_cast<double>(n));
    }
  }
}

}  // namespace

TEST_CASE("eigenvectors of small matrices that are known") {
  const SymmetricEigen one = symmetric_eigen(std::vector<double>{-3}, 1, 1);
  CHECK(one.values == std::vector<double>{-3});
  CHECK(one.vectors == std::vector<double>{1});
  const SymmetricEigen two = symmetric_eigen(std::vector<double>{2, 1, 1, 2}, 2, 2);
  CHECK(two.values[0] == Approx(3));
  CHECK(two.values[1] == Approx(1));
  CHECK(two.vectors[0] == Approx(std::sqrt(0.5)));
  CHECK(two.vectors[1] == Approx(std::sqrt(0.5)));
  CHECK(two.vectors[2] == Approx(-two.vectors[3]));
  const SymmetricEigen diagonal = symmetric_eigen(std::vector<double>{1, 0, 0, 0, 5, 0, 0, 0, 2}, 3, 3);
  CHECK(diagonal.values == std::vector<double>{5, 2, 1});
  CHECK(diagonal.vectors == std::vector<double>{0, 1, 0, 0, 0, 1, 1, 0, 0});
  check(std::vector<double>(16, 0.0), 4, 4);
  check(std::vector<double>(25, 1.0), 5, 5);  // rank one
}

TEST_CASE("eigenvectors of drawn matrices: equal, tiny and negative eigenvalues among them") {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  for (const Index n : {Index{2}, Index{3}, Index{7}, Index{40}, Index{120}}) {
    const auto size = static_cast<std::size_t>(n);
    std::vector<double> matrix(size * size);
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = 0; j <= i; ++j) matrix[i * size + j] = matrix[j * size + i] = normal(random);
    }
    check(matrix, n, n);
    // A covariance of few rows: most eigenvalues are zero; and one graded over twelve orders of magnitude.
    std::vector<double> low(size * size, 0.0), graded(size * size);
    for (int row = 0; row < 2; ++row) {
      std::vector<double> x(size);
      for (double& v : x) v = normal(random);
      for (std::size_t i = 0; i < size; ++i) {
        for (std::size_t j = 0; j < size; ++j) low[i * size + j] += x[i] * x[j];
      }
    }
    check(low, n, n);
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = 0; j < size; ++j)
        graded[i * size + j] = matrix[i * size + j] * std::pow(10.0, -12.0 * static_cast<double>(i + j) /
                                                                         (2.0 * static_cast<double>(size)));
    }
    check(graded, n, n);
  }
}

TEST_CASE("eigenvectors of covariances of few rows, whose small eigenvalues are rounding") {
  // Deviations fall by orders of magnitude, as those of features that are all nearly alike.
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U, 5U, 6U}) {
    for (const double fall : {0.0, 0.2, 1.0, 3.0}) {
      std::mt19937 random(seed);
      std::normal_distribution<double> normal;
      constexpr std::size_t n = 96;
      constexpr std::size_t rows = 20;
      std::vector<double> mix(n * rows), matrix(n * n, 0.0);
      for (double& v : mix) v = normal(random);
      for (std::size_t r = 0; r < 2 * rows; ++r) {
        std::vector<double> x(n, 0.0);
        for (std::size_t k = 0; k < rows; ++k) {
          const double along = 1e-5 * normal(random) * std::exp(-fall * static_cast<double>(k));
          for (std::size_t i = 0; i < n; ++i) x[i] += along * mix[k * n + i];
        }
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t j = 0; j < n; ++j) matrix[i * n + j] += x[i] * x[j];
        }
      }
      check(matrix, static_cast<Index>(n), 6);
    }
  }
}

TEST_CASE("eigenvectors: only the lower half is read, and what is no matrix is refused") {
  const SymmetricEigen eigen = symmetric_eigen(std::vector<double>{2, 99, 1, 2}, 2, 1);
  CHECK(eigen.values[0] == Approx(3));
  CHECK(contains(
      thrown_by<ShapeError>([] { static_cast<void>(symmetric_eigen(std::vector<double>(5), 2, 1)); }),
      "of a matrix of 5 entries; expected 2 x 2"));
  CHECK(contains(thrown_by<NonFiniteError>([] {
                   static_cast<void>(
                       symmetric_eigen(std::vector<double>{std::numeric_limits<double>::quiet_NaN()}, 1, 1));
                 }),
                 "not numbers"));
}
