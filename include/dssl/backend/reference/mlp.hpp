// Reference backend: what projectors, predictors and losses between rows need beside linear layers, as plain loops.
#pragma once

#include <algorithm>
#include <cmath>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::reference {

/// ReLU, batch norm by running statistics, and sums weighted by row; contracts in backend/concept.hpp.
template <class T>
class Mlp {
 public:
  void relu_forward(MatrixView<T> y, MatrixView<const T> x) const {
    for (Index i = 0; i < x.size(); ++i) y.data()[i] = x.data()[i] < T{0} ? T{0} : x.data()[i];
  }

  void relu_backward(MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> x) const {
    for (Index i = 0; i < x.size(); ++i) d_x.data()[i] = x.data()[i] <= T{0} ? T{0} : d_y.data()[i];
  }

  void batch_norm_update(VectorView<T> running_mean, VectorView<T> running_variance, VectorView<const T> mean,
                         VectorView<const T> inverse_std, Index rows, double momentum, double epsilon) const {
    require_shape(rows >= 2, "batch_norm_update: ", rows, " rows; expected at least 2, as one has no variance");
    const auto count = static_cast<double>(rows);
    const auto move = [&](T& running, double now) {
      running = static_cast<T>((1.0 - momentum) * static_cast<double>(running) + momentum * now);
    };
    for (Index d = 0; d < mean.size(); ++d) {
      const auto scale = static_cast<double>(inverse_std(d));
      // A column of one value: what rounding leaves may lie below 0.
      const double variance = std::max(1.0 / (scale * scale) - epsilon, 0.0);
      move(running_mean(d), static_cast<double>(mean(d)));
      move(running_variance(d), variance * count / (count - 1.0));
    }
  }

  void batch_norm_evaluate_forward(MatrixView<T> y, MatrixView<const T> x, VectorView<const T> running_mean,
                                   VectorView<const T> running_variance, VectorView<const T> weight,
                                   VectorView<const T> bias, double epsilon) const {
    for (Index d = 0; d < x.cols(); ++d) {
      const double gain = weight.empty() ? 1.0 : static_cast<double>(weight(d));
      const double shift = bias.empty() ? 0.0 : static_cast<double>(bias(d));
      const double scale = x_inverse_std(running_variance(d), epsilon);
      for (Index m = 0; m < x.rows(); ++m) {
        const double normal = (static_cast<double>(x(m, d)) - static_cast<double>(running_mean(d))) * scale;
        y(m, d) = static_cast<T>(normal * gain + shift);
      }
    }
  }

  void batch_norm_evaluate_backward(MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias,
                                    MatrixView<const T> d_y, MatrixView<const T> x, VectorView<const T> running_mean,
                                    VectorView<const T> running_variance, VectorView<const T> weight,
                                    double epsilon) const {
    for (Index d = 0; d < x.cols(); ++d) {
      const double gain = weight.empty() ? 1.0 : static_cast<double>(weight(d));
      const double scale = x_inverse_std(running_variance(d), epsilon);
      double sum_weight = 0;
      double sum_bias = 0;
      for (Index m = 0; m < x.rows(); ++m) {
        const double normal = (static_cast<double>(x(m, d)) - static_cast<double>(running_mean(d))) * scale;
        sum_weight += static_cast<double>(d_y(m, d)) * normal;
        sum_bias += static_cast<double>(d_y(m, d));
        d_x(m, d) = static_cast<T>(static_cast<double>(d_y(m, d)) * scale * gain);
      }
      if (!d_weight.empty()) d_weight(d) += static_cast<T>(sum_weight);
      if (!d_bias.empty()) d_bias(d) += static_cast<T>(sum_bias);
    }
  }

  void add_scaled(VectorView<T> y, VectorView<const T> x, double scale) const {
    for (Index i = 0; i < y.size(); ++i) {
      y(i) = static_cast<T>(static_cast<double>(y(i)) + scale * static_cast<double>(x(i)));
    }
  }

  void row_dots(VectorView<T> out, MatrixView<const T> a, MatrixView<const T> b) const {
    for (Index m = 0; m < a.rows(); ++m) {
      double sum = 0;
      for (Index d = 0; d < a.cols(); ++d) sum += static_cast<double>(a(m, d)) * static_cast<double>(b(m, d));
      out(m) = static_cast<T>(sum);
    }
  }

  void add_weighted_rows(MatrixView<T> y, MatrixView<const T> x, VectorView<const T> weight) const {
    for (Index m = 0; m < x.rows(); ++m) {
      for (Index d = 0; d < x.cols(); ++d) {
        y(m, d) = static_cast<T>(static_cast<double>(y(m, d)) +
                                 static_cast<double>(weight(m)) * static_cast<double>(x(m, d)));
      }
    }
  }

 private:
  static double x_inverse_std(T variance, double epsilon) {
    return 1.0 / std::sqrt(static_cast<double>(variance) + epsilon);
  }
};

}  // namespace dssl::reference
