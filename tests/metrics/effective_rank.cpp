// The spectrum of features against rows of known singular values and one-sided Jacobi rotations.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/metrics/effective_rank.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Singular values of rows (n,D) by rotations that make columns orthogonal: slow, and with no square of the
/// rows.
std::vector<double> slow_singular_values(std::vector<double> a, std::size_t n, std::size_t width) {
  for (int sweep = 0; sweep < 60; ++sweep) {
    for (std::size_t p = 0; p < width; ++p) {
      for (std::size_t q = p + 1; q < width; ++q) {
        double pp = 0, qq = 0, pq = 0;
        for (std::size_t i = 0; i < n; ++i) {
          pp += a[i * width + p] * a[i * width + p];
          qq += a[i * width + q] * a[i * width + q];
          pq += a[i * width + p] * a[i * width + q];
        }
        if (std::abs(pq) <= 1e-16 * std::sqrt(pp * qq)) continue;
        const double angle = 0.5 * std::atan2(2 * pq, pp - qq);
        const double c = std::cos(angle), s = std::sin(angle);
        for (std::size_t i = 0; i < n; ++i) {
          const double x = a[i * width + p], y = a[i * width + q];
          a[i * width + p] = c * x + s * y;
          a[i * width + q] = c * y - s * x;
        }
      }
    }
  }
  std::vector<double> out;
  for (std::size_t p = 0; p < width; ++p) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += a[i * width + p] * a[i * width + p];
    out.push_back(std::sqrt(sum));
  }
  std::sort(out.begin(), out.end(), std::greater<>());
  return out;
}

template <Backend B>
void check(const B& backend, double tolerance) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  constexpr Index n = 2100, width = 7;  // more than two parts
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  std::vector<T> rows(n * width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t d = i % width;
    // Scales from 1 to 1/64, a mean that is not 0, and a column that repeats another.
    rows[i] = d == 6 ? rows[i - 3] : static_cast<T>((normal(random) + 0.5) / static_cast<double>(1 << d));
  }
  FeatureSpectrum<B> spectrum(backend, width);
  spectrum.add(MatrixView<const T>(rows.data(), 1, width));
  spectrum.add(MatrixView<const T>(rows.data() + width, n - 1, width));
  CHECK(spectrum.rows() == n);
  std::vector<double> plain(rows.begin(), rows.end());
  std::vector<double> centred(plain);
  for (std::size_t d = 0; d < width; ++d) {
    double mean = 0;
    for (std::size_t i = d; i < plain.size(); i += width) mean += plain[i] / n;
    for (std::size_t i = d; i < plain.size(); i += width) centred[i] -= mean;
  }
  for (const bool less_mean : {false, true}) {
    const auto expected = slow_singular_values(less_mean ? centred : plain, n, width);
    const auto found = spectrum.singular_values(less_mean);
    REQUIRE(found.size() == width);
    for (std::size_t d = 0; d < width; ++d)
      CHECK(found[d] == Approx(expected[d]).margin(tolerance * expected[0]));
    CHECK(expected[6] < 1e-9 * expected[0]);
    CHECK(spectrum.effective_rank(less_mean) == Approx(effective_rank(expected)).epsilon(20 * tolerance));
  }
}

}  // namespace

TEST_CASE("singular values of features are those of a slow reference, in parts of any size") {
  check(Reference<double>(), 1e-7);
  check(Reference<float>(), 3e-4);
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 1}), 3e-4);
  check(Cpu({.threads = 2}), 3e-4);
#endif
}

TEST_CASE("the effective rank is the number of equal values, 1 for one direction, and e^entropy between") {
  const std::vector<double> equal(5, 0.3), single{4, 0, 0}, two{3, 1};
  CHECK(effective_rank(equal) == Approx(5));
  CHECK(effective_rank(single) == Approx(1));
  CHECK(effective_rank(two) == Approx(std::pow(4.0 / 3, 0.75) * std::pow(4.0, 0.25)));
  CHECK(effective_rank(std::vector<double>{0, -1e-20}) == 0);
  CHECK_THROWS_AS(effective_rank(std::vector<double>{}), ShapeError);

  // Rows along one direction, then in all directions alike.
  FeatureSpectrum<Reference<double>> spectrum(Reference<double>(), 4);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(spectrum.effective_rank()); }), "no rows"));
  for (const double scale : {1.0, -2.0, 0.5}) {
    const std::vector<double> row{scale, 2 * scale, 0, -scale};
    spectrum.add(MatrixView<const double>(row.data(), 1, 4));
  }
  CHECK(spectrum.effective_rank() == Approx(1).margin(1e-6));
  FeatureSpectrum<Reference<double>> all(Reference<double>(), 3);
  const std::vector<double> axes{2, 0, 0, 0, 2, 0, 0, 0, 2};
  all.add(MatrixView<const double>(axes.data(), 3, 3));
  CHECK(all.effective_rank() == Approx(3));
  CHECK(all.effective_rank(true) == Approx(2));
  CHECK_THROWS_AS(all.add(MatrixView<const double>(axes.data(), 1, 4)), ShapeError);
  const std::vector<double> odd{1, std::numeric_limits<double>::quiet_NaN(), 0};
  all.add(MatrixView<const double>(odd.data(), 1, 3));
  CHECK_THROWS_AS(all.effective_rank(), NonFiniteError);
}
