// Batch norm by the statistics of the rows of all ranks of a run.
// Tests: tests/nn/norm_over_ranks.cpp, tests/train/ranks.cpp, tests/train/dense_terms.cpp, tests/train/pixel_term.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A batch norm of the rows of all ranks, each of which has as many, one is enough: what it is for a rank alone is the backend's
/// own.
template <class T>
class NormOverRanks {
 public:
  /// Of D columns, of so many groups of rows that are normed each by itself.
  static NormOverRanks take(Arena& arena, const Communicator& ranks, Index width, Index groups = 1) {
    NormOverRanks out;
    if (ranks.alone()) return out;
    out.x_ranks = ranks;
    out.x_variance = arena.matrix<T>(groups, width);
    out.x_weight = arena.vector<T>(width);
    out.x_bias = arena.vector<T>(width);
    return out;
  }
  /// Rows that are normed together, where so many are here.
  [[nodiscard]] Index rows(Index here) const { return here * x_ranks.size(); }

  /// As the backend's `batch_norm_forward`; `mean` and `inverse_std` are those of all rows. One exchange, the sum of 2 D + 1
  /// doubles. `y` is not `x`. Throws `ShapeError` on a rank that has more or fewer rows than the mean of all; where some have, one that has
  /// as many ends with them at the next exchange.
  template <Backend B>
  void forward(const B& backend, MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std, MatrixView<const T> x,
               VectorView<const T> weight, VectorView<const T> bias, double epsilon, Index group = 0) const {
    backend.batch_norm_forward(y, mean, inverse_std, x, weight, bias, epsilon);
    if (x_ranks.alone()) return;
    const auto width = static_cast<std::size_t>(mean.size());
    const auto [sums, first, second] = x_sums(width, 1);
    sums.back() = static_cast<double>(x.rows());
    x_read(backend, first, mean);
    x_read(backend, second, inverse_std);
    for (std::size_t d = 0; d < width; ++d) second[d] = 1.0 / (second[d] * second[d]) - epsilon + first[d] * first[d];
    x_ranks.all_sum(sums);
    for (double& sum : sums) sum /= static_cast<double>(x_ranks.size());
    require_shape(sums.back() == static_cast<double>(x.rows()), "batch norm over ranks: ", x.rows(), " rows on rank ", x_ranks.rank(),
                  "; expected as many as on each, ", sums.back(), " in the mean");
    // Of a column of one value rounding may leave less than 0.
    for (std::size_t d = 0; d < width; ++d) second[d] = std::max(second[d] - first[d] * first[d], 0.0);
    x_write(backend, mean, first);
    x_write(backend, x_variance_of(group), second);
    for (double& value : second) value = 1.0 / std::sqrt(value + epsilon);
    x_write(backend, inverse_std, second);
    backend.batch_norm_evaluate_forward(y, x, mean, x_variance_of(group), weight, bias, epsilon);
  }

  /// The way back: d (M,D), the gradient of y, becomes that of x; d_weight, d_bias += this rank's rows' part, or empty. One
  /// exchange, the sum of 2 D doubles, with which `y` (M,D) is overwritten.
  template <Backend B>
  void backward(const B& backend, MatrixView<T> d, VectorView<T> d_weight, VectorView<T> d_bias, MatrixView<T> y,
                MatrixView<const T> x, VectorView<const T> mean, VectorView<const T> inverse_std, VectorView<const T> weight,
                double epsilon, Index group = 0) const {
    if (x_ranks.alone()) return backend.batch_norm_backward(d, d_weight, d_bias, d, x, mean, inverse_std, weight);
    const VectorView<T> variance = x_variance_of(group);
    backend.fill(x_weight, T{0});
    backend.fill(x_bias, T{0});
    backend.batch_norm_evaluate_backward(y, x_weight, x_bias, d, x, mean, variance, weight, epsilon);
    if (!d_weight.empty()) backend.accumulate(d_weight, x_weight);
    if (!d_bias.empty()) backend.accumulate(d_bias, x_bias);
    const auto [sums, first, second] = x_sums(static_cast<std::size_t>(mean.size()));
    x_read(backend, first, x_weight);
    x_read(backend, second, x_bias);
    x_ranks.all_sum(sums);
    for (double& sum : sums) sum /= static_cast<double>(rows(x.rows()));
    x_write(backend, x_weight, first);
    x_write(backend, x_bias, second);
    // d_x = weight / std (d - mean(d) - normal mean(d normal)): what is taken off is a batch norm's output too.
    backend.batch_norm_evaluate_forward(y, x, mean, variance, x_weight, x_bias, epsilon);
    backend.add_scaled(VectorView<T>(d.data(), d.size()), VectorView<const T>(y.data(), y.size()), -1.0);
    backend.batch_norm_evaluate_backward(d, VectorView<T>{}, VectorView<T>{}, d, x, mean, variance, weight, epsilon);
  }

 private:
  struct x_Sums {
    std::span<double> all, first, second;
  };

  /// Room for two numbers of each column, and for more behind them.
  [[nodiscard]] x_Sums x_sums(std::size_t width, std::size_t more = 0) const {
    const std::span<double> all = x_ranks.room<double>(2 * width + more);
    return {all, all.first(width), all.subspan(width, width)};
  }
  [[nodiscard]] VectorView<T> x_variance_of(Index group) const { return VectorView<T>(x_variance.row(group), x_variance.cols()); }
  /// Numbers of the backend's memory on the host, in double, and back.
  template <Backend B>
  void x_read(const B& backend, std::span<double> to, VectorView<const T> from) const {
    const std::span<T> host = x_ranks.room<T>(to.size(), 1);
    backend.download(host, from.data());
    std::ranges::copy(host, to.begin());
  }
  template <Backend B>
  void x_write(const B& backend, VectorView<T> to, std::span<const double> from) const {
    const std::span<T> host = x_ranks.room<T>(from.size(), 1);
    std::ranges::transform(from, host.begin(), [](double value) { return static_cast<T>(value); });
    backend.upload(to.data(), std::span<const T>(host));
  }

  Communicator x_ranks;
  MatrixView<T> x_variance;        // (groups,D), of all rows
  VectorView<T> x_weight, x_bias;  // (D), of the way back
};

}  // namespace dssl
