// A normal distribution of rows, and how far others lie from it.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Mean m and covariance C of rows of a small width, and distances in their deviations (Mahalanobis):
///
///   d(x) = sqrt((x - m)^T (C + ridge I)^-1 (x - m))
///
/// `add` rows, `build`, then `distance`. Sums, and the Cholesky factor that distances are taken by, in double; memory is
/// two W x W matrices. Source: Defard et al. (PaDiM), ICPR 2021, with one distribution for all places.
/// Test: tests/defects/template_probe.cpp.
class RowGaussian {
 public:
  /// Throws `OptionError`.
  explicit RowGaussian(Index width, double ridge = 1e-3) : x_width(static_cast<std::size_t>(width)), x_ridge(ridge) {
    if (width < 1) throw OptionError("width", width, "at least 1");
    if (!(ridge > 0 && std::isfinite(ridge))) throw OptionError("ridge", ridge, "above 0");
    x_mean.assign(x_width, 0);
    x_factor.assign(x_width * x_width, 0);
  }

  [[nodiscard]] Index width() const { return static_cast<Index>(x_width); }
  /// Rows added so far.
  [[nodiscard]] Index count() const { return x_count; }
  [[nodiscard]] bool built() const { return x_built; }

  /// Adds rows (n,W), by one step of Welford's each, so that sums of squares of large numbers are exact enough.
  void add(std::span<const float> rows) {
    require_shape(!x_built && rows.size() % x_width == 0, "rows of ", rows.size(), " values for a distribution of width ", x_width);
    std::vector<double> before(x_width);
    for (std::size_t at = 0; at < rows.size(); at += x_width) {
      ++x_count;
      for (std::size_t i = 0; i < x_width; ++i) {
        before[i] = static_cast<double>(rows[at + i]) - x_mean[i];
        x_mean[i] += before[i] / static_cast<double>(x_count);
      }
      for (std::size_t i = 0; i < x_width; ++i) {
        for (std::size_t j = 0; j <= i; ++j) x_factor[i * x_width + j] += before[i] * (static_cast<double>(rows[at + j]) - x_mean[j]);
      }
    }
  }

  /// Throws `DataError` where there are less than two rows, or a number was not finite.
  void build() {
    if (x_count < 2) throw DataError(join("a normal distribution of ", x_count, " rows; expected at least 2"));
    // In place, column by column: C + ridge I = L L^T.
    for (std::size_t j = 0; j < x_width; ++j) {
      for (std::size_t i = j; i < x_width; ++i) {
        double& value = x_factor[i * x_width + j];
        value = value / static_cast<double>(x_count) + (i == j ? x_ridge : 0.0);
        for (std::size_t k = 0; k < j; ++k) value -= x_factor[i * x_width + k] * x_factor[j * x_width + k];
        value = i == j ? std::sqrt(value) : value / x_factor[j * x_width + j];
        if (!std::isfinite(value)) throw DataError("a normal distribution of rows that are not finite");
      }
    }
    x_built = true;
  }

  /// Mean (W), and the Cholesky factor (W,W) of C + ridge I, row by row, which `build` makes: what a file holds.
  [[nodiscard]] std::span<const double> mean() const { return x_mean; }
  [[nodiscard]] std::span<const double> factor() const { return x_factor; }

  /// Takes those of one that was built on `count` rows. Throws `ShapeError`, `DataError` for numbers that are not finite or a
  /// diagonal that is not above 0.
  void restore(std::span<const double> mean, std::span<const double> factor, Index count) {
    require_shape(mean.size() == x_width && factor.size() == x_width * x_width, "a mean of ", mean.size(), " and a factor of ",
                  factor.size(), " numbers for a distribution of width ", x_width);
    for (std::size_t i = 0; i < factor.size(); ++i) {
      const bool diagonal = i / x_width == i % x_width;
      if (!std::isfinite(factor[i]) || !std::isfinite(mean[i % x_width]) || (diagonal && !(factor[i] > 0)))
        throw DataError("a normal distribution whose numbers are not finite, or whose deviations are not above 0");
    }
    x_mean.assign(mean.begin(), mean.end());
    x_factor.assign(factor.begin(), factor.end());
    x_count = count;
    x_built = true;
  }

  /// Of a row (W). Throws `DataError` before `build`, `ShapeError`.
  [[nodiscard]] double distance(std::span<const float> row) const {
    if (!x_built) throw DataError("a normal distribution was asked for distances before it was built");
    require_shape(row.size() == x_width, "a row of ", row.size(), " values for a distribution of width ", x_width);
    double sum = 0;
    std::vector<double> solved(x_width);
    for (std::size_t i = 0; i < x_width; ++i) {
      double value = static_cast<double>(row[i]) - x_mean[i];
      for (std::size_t k = 0; k < i; ++k) value -= x_factor[i * x_width + k] * solved[k];
      solved[i] = value / x_factor[i * x_width + i];
      sum += solved[i] * solved[i];
    }
    return std::sqrt(sum);
  }

 private:
  std::size_t x_width;
  double x_ridge;
  Index x_count = 0;
  bool x_built = false;
  std::vector<double> x_mean;
  std::vector<double> x_factor;  // (W,W): sums of products below the diagonal and on it, after `build` the factor
};

}  // namespace dssl
