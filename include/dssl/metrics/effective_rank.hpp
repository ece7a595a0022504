// How many dimensions features really use: the spectrum of their matrix and its effective rank.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/symmetric_eigen.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// exp of the entropy of shares: exp(-sum p log p), p = value / sum of values; between 1 and their number.
///
/// 0 for values that are all 0. Values below 0, as rounding leaves them, count as 0. Throws `ShapeError` for
/// none. Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007. Test:
/// tests/metrics/effective_rank.cpp.
[[nodiscard]] inline double effective_rank(std::span<const double> singular_values) {
  require_shape(!singular_values.empty(), "effective rank of no values; expected at least 1");
  double sum = 0;
  for (const double value : singular_values) sum += std::max(0.0, value);
  if (!(sum > 0)) return 0;
  double entropy = 0;
  for (const double value : singular_values) {
    const double share = std::max(0.0, value) / sum;
    if (share > 0) entropy -= share * std::log(share);
  }
  return std::exp(entropy);
}

/// The singular values of the matrix of all rows that were added, as they are or less their mean.
///
///   second moment (D,D) += rows^T rows;   singular values = sqrt of its eigenvalues
///
/// Rows are added a part at a time: the product of `part` rows is summed in the backend's precision, parts in
/// double. A singular value is exact to about 3e-4 of the largest in float: what is below is lost in the
/// square. Memory: D^2 numbers twice. Cost: 2 D^2 FLOP a row, then 4/3 D^3. Bits depend on the rows and their
/// order alone. Source: Garrido et al. (RankMe), ICML 2023, for the effective rank of features (not centred).
/// Test: rows of known singular values, and a slow one-sided Jacobi (tests/metrics/effective_rank.cpp).
template <Backend B>
class FeatureSpectrum {
 public:
  using T = typename B::Scalar;
  static constexpr Index part = 1024;

  /// Throws `ShapeError`.
  FeatureSpectrum(const B& backend, Index width) : x_backend(backend), x_width(width) {
    require_shape(width >= 1, "spectrum of features of width ", width, "; expected at least 1");
    Arena measure;
    x_place(measure);
    x_room = backend.allocate(measure.high_water());
    Arena live(x_room);
    x_place(live);
    x_moment.assign(static_cast<std::size_t>(width * width), 0.0);
    x_sum.assign(static_cast<std::size_t>(width), 0.0);
    x_host.resize(static_cast<std::size_t>(width * width));
  }

  [[nodiscard]] Index rows() const { return x_rows; }
  [[nodiscard]] Index width() const { return x_width; }

  /// Adds rows (m,D) in the backend's memory. Throws `ShapeError`.
  void add(MatrixView<const T> rows) {
    require_shape(rows.cols() == x_width, "spectrum of features of width ", x_width, ": rows of width ",
                  rows.cols());
    for (Index first = 0; first < rows.rows(); first += part) {
      const MatrixView<const T> some = rows.rows(first, std::min(part, rows.rows() - first));
      x_backend.fill(VectorView<T>(x_product.data(), x_product.size()), T{0});
      x_backend.fill(x_columns, T{0});
      x_backend.linear_backward_weight(x_product, x_columns, some, some);
      x_backend.download(std::span<T>(x_host), static_cast<const T*>(x_product.data()));
      for (std::size_t i = 0; i < x_moment.size(); ++i) x_moment[i] += static_cast<double>(x_host[i]);
      const auto columns = std::span<T>(x_host).first(x_sum.size());
      x_backend.download(columns, static_cast<const T*>(x_columns.data()));
      for (std::size_t d = 0; d < x_sum.size(); ++d) x_sum[d] += static_cast<double>(columns[d]);
      x_rows += some.rows();
    }
  }

  /// The D singular values, the largest first; `centred`: of the rows less their mean. Throws `DataError`
  /// before any row was added, `NonFiniteError`.
  [[nodiscard]] std::vector<double> singular_values(bool centred = false) const {
    if (x_rows == 0) throw DataError("spectrum of features: no rows were added");
    std::vector<double> moment(x_moment);
    if (centred) {
      for (std::size_t i = 0; i < x_sum.size(); ++i) {
        for (std::size_t j = 0; j < x_sum.size(); ++j)
          moment[i * x_sum.size() + j] -= x_sum[i] * x_sum[j] / static_cast<double>(x_rows);
      }
    }
    std::vector<double> values = symmetric_eigen(moment, x_width, 0).values;
    for (double& value : values) value = std::sqrt(std::max(0.0, value));
    return values;
  }

  /// Of the singular values: 1 where all features are one direction, at most D. Throws as `singular_values`.
  [[nodiscard]] double effective_rank(bool centred = false) const {
    return dssl::effective_rank(singular_values(centred));
  }

 private:
  void x_place(Arena& arena) {
    x_product = arena.template matrix<T>(x_width, x_width);
    x_columns = arena.template vector<T>(x_width);
  }

  B x_backend;
  Index x_width;
  Index x_rows = 0;
  Buffer x_room;
  MatrixView<T> x_product;  // (D,D) of one part
  VectorView<T> x_columns;  // (D) its sum of rows
  std::vector<double> x_moment, x_sum;
  std::vector<T> x_host;
};

}  // namespace dssl
