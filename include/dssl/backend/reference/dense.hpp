// Reference backend: memory, linear layers, norms, pointwise operations, as plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <new>
#include <numbers>
#include <span>

#include <dssl/backend/operands.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::reference {

/// Host memory, zeroed, aligned to a cache line.
[[nodiscard]] inline Buffer allocate_host(std::size_t bytes) {
  constexpr std::align_val_t alignment{Arena::alignment};
  auto* data = static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), alignment));
  std::memset(data, 0, bytes);
  return {data, bytes, [](std::byte* p) { ::operator delete(p, alignment); }};
}

/// Memory primitives of a backend whose memory is the host's.
class HostMemory {
 public:
  static constexpr bool memory_is_host = true;
  [[nodiscard]] Buffer allocate(std::size_t bytes) const { return allocate_host(bytes); }

  template <class U>
  void upload(U* destination, std::span<const U> source) const {
    std::copy(source.begin(), source.end(), destination);
  }
  template <class U>
  void download(std::span<U> destination, const U* source) const {
    std::copy_n(source, destination.size(), destination.begin());
  }
};

/// Linear layers, layer norm, batch norm and pointwise operations; contracts in backend/concept.hpp.
/// Sums run in double whatever T is, in the order of the index.
template <class T>
class Dense {
 public:
  void fill(VectorView<T> x, T value) const { std::fill_n(x.data(), x.size(), value); }
  void copy(VectorView<T> y, VectorView<const T> x) const { std::copy_n(x.data(), x.size(), y.data()); }

  void linear_forward(MatrixView<T> y, MatrixView<const T> x, MatrixView<const T> weight,
                      VectorView<const T> bias) const {
    require_shape(y.rows() == x.rows() && y.cols() == weight.rows() && x.cols() == weight.cols(),
                  "linear_forward: y ", y.rows(), " x ", y.cols(), ", x ", x.rows(), " x ", x.cols(), ", weight ",
                  weight.rows(), " x ", weight.cols());
    for (Index m = 0; m < y.rows(); ++m) {
      for (Index o = 0; o < y.cols(); ++o) {
        double sum = bias.empty() ? 0.0 : static_cast<double>(bias(o));
        for (Index i = 0; i < x.cols(); ++i) sum += static_cast<double>(x(m, i)) * static_cast<double>(weight(o, i));
        y(m, o) = static_cast<T>(sum);
      }
    }
  }

  void linear_backward_input(MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> weight) const {
    for (Index m = 0; m < d_x.rows(); ++m) {
      for (Index i = 0; i < d_x.cols(); ++i) {
        double sum = 0;
        for (Index o = 0; o < d_y.cols(); ++o) sum += static_cast<double>(d_y(m, o)) * static_cast<double>(weight(o, i));
        d_x(m, i) = static_cast<T>(sum);
      }
    }
  }

  void linear_backward_weight(MatrixView<T> d_weight, VectorView<T> d_bias, MatrixView<const T> d_y,
                              MatrixView<const T> x) const {
    for (Index o = 0; o < d_y.cols(); ++o) {
      for (Index i = 0; i < x.cols(); ++i) {
        double sum = 0;
        for (Index m = 0; m < x.rows(); ++m) sum += static_cast<double>(d_y(m, o)) * static_cast<double>(x(m, i));
        d_weight(o, i) += static_cast<T>(sum);
      }
      if (d_bias.empty()) continue;
      double sum = 0;
      for (Index m = 0; m < x.rows(); ++m) sum += static_cast<double>(d_y(m, o));
      d_bias(o) += static_cast<T>(sum);
    }
  }

  void layer_norm_forward(MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std, MatrixView<const T> x,
                          VectorView<const T> weight, VectorView<const T> bias, double epsilon) const {
    const auto width = static_cast<double>(x.cols());
    for (Index m = 0; m < x.rows(); ++m) {
      double sum = 0;
      for (Index d = 0; d < x.cols(); ++d) sum += static_cast<double>(x(m, d));
      const double mu = sum / width;
      double squares = 0;
      for (Index d = 0; d < x.cols(); ++d) {
        const double c = static_cast<double>(x(m, d)) - mu;
        squares += c * c;
      }
      const double scale = 1.0 / std::sqrt(squares / width + epsilon);
      mean(m) = static_cast<T>(mu);
      inverse_std(m) = static_cast<T>(scale);
      for (Index d = 0; d < x.cols(); ++d) {
        const double normal = (static_cast<double>(x(m, d)) - mu) * scale;
        y(m, d) = static_cast<T>(normal * static_cast<double>(weight(d)) + static_cast<double>(bias(d)));
      }
    }
  }

  void layer_norm_backward(MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias, MatrixView<const T> d_y,
                           MatrixView<const T> x, VectorView<const T> mean, VectorView<const T> inverse_std,
                           VectorView<const T> weight) const {
    const auto width = static_cast<double>(x.cols());
    const auto normal = [&](Index m, Index d) {
      return (static_cast<double>(x(m, d)) - static_cast<double>(mean(m))) * static_cast<double>(inverse_std(m));
    };
    for (Index m = 0; m < x.rows(); ++m) {
      // With u = d_y * weight: d_x = inverse_std (u - mean(u) - normal mean(u normal)).
      double sum_u = 0;
      double sum_u_normal = 0;
      for (Index d = 0; d < x.cols(); ++d) {
        const double u = static_cast<double>(d_y(m, d)) * static_cast<double>(weight(d));
        sum_u += u;
        sum_u_normal += u * normal(m, d);
      }
      for (Index d = 0; d < x.cols(); ++d) {
        const double u = static_cast<double>(d_y(m, d)) * static_cast<double>(weight(d));
        d_x(m, d) += static_cast<T>(static_cast<double>(inverse_std(m)) *
                                    (u - sum_u / width - normal(m, d) * sum_u_normal / width));
      }
    }
    for (Index d = 0; d < x.cols(); ++d) {
      double sum_weight = 0;
      double sum_bias = 0;
      for (Index m = 0; m < x.rows(); ++m) {
        sum_weight += static_cast<double>(d_y(m, d)) * normal(m, d);
        sum_bias += static_cast<double>(d_y(m, d));
      }
      d_weight(d) += static_cast<T>(sum_weight);
      d_bias(d) += static_cast<T>(sum_bias);
    }
  }

  void batch_norm_forward(MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std, MatrixView<const T> x,
                          VectorView<const T> weight, VectorView<const T> bias, double epsilon) const {
    const auto rows = static_cast<double>(x.rows());
    for (Index d = 0; d < x.cols(); ++d) {
      double sum = 0;  // of differences from the first row: a column of one value has exactly that mean
      for (Index m = 0; m < x.rows(); ++m) sum += static_cast<double>(x(m, d)) - static_cast<double>(x(0, d));
      const double mu = static_cast<double>(x(0, d)) + sum / rows;
      double squares = 0;
      for (Index m = 0; m < x.rows(); ++m) {
        const double c = static_cast<double>(x(m, d)) - mu;
        squares += c * c;
      }
      const double scale = 1.0 / std::sqrt(squares / rows + epsilon);
      mean(d) = static_cast<T>(mu);
      inverse_std(d) = static_cast<T>(scale);
      const double gain = weight.empty() ? 1.0 : static_cast<double>(weight(d));
      const double shift = bias.empty() ? 0.0 : static_cast<double>(bias(d));
      for (Index m = 0; m < x.rows(); ++m) {
        const double normal = (static_cast<double>(x(m, d)) - mu) * scale;
        y(m, d) = static_cast<T>(normal * gain + shift);
      }
    }
  }

  void batch_norm_backward(MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias, MatrixView<const T> d_y,
                           MatrixView<const T> x, VectorView<const T> mean, VectorView<const T> inverse_std,
                           VectorView<const T> weight) const {
    const auto rows = static_cast<double>(x.rows());
    for (Index d = 0; d < x.cols(); ++d) {
      const auto normal = [&](Index m) {
        return (static_cast<double>(x(m, d)) - static_cast<double>(mean(d))) * static_cast<double>(inverse_std(d));
      };
      double sum_weight = 0;
      double sum_bias = 0;
      for (Index m = 0; m < x.rows(); ++m) {
        sum_weight += static_cast<double>(d_y(m, d)) * normal(m);
        sum_bias += static_cast<double>(d_y(m, d));
      }
      // d_x = inverse_std weight (d_y - mean(d_y) - normal mean(d_y normal)).
      const double gain = weight.empty() ? 1.0 : static_cast<double>(weight(d));
      const double scale = static_cast<double>(inverse_std(d)) * gain;
      for (Index m = 0; m < x.rows(); ++m) {
        d_x(m, d) = static_cast<T>(
            scale * (static_cast<double>(d_y(m, d)) - sum_bias / rows - normal(m) * sum_weight / rows));
      }
      if (!d_weight.empty()) d_weight(d) += static_cast<T>(sum_weight);
      if (!d_bias.empty()) d_bias(d) += static_cast<T>(sum_bias);
    }
  }

  void gelu_forward(MatrixView<T> y, MatrixView<const T> x) const {
    for (Index i = 0; i < x.size(); ++i) {
      const auto v = static_cast<double>(x.data()[i]);
      y.data()[i] = static_cast<T>(0.5 * v * (1.0 + std::erf(v / std::numbers::sqrt2)));
    }
  }

  void gelu_backward(MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> x) const {
    const double density = 1.0 / std::sqrt(2.0 * std::numbers::pi);
    for (Index i = 0; i < x.size(); ++i) {
      const auto v = static_cast<double>(x.data()[i]);
      const double slope =
          0.5 * (1.0 + std::erf(v / std::numbers::sqrt2)) + v * density * std::exp(-0.5 * v * v);
      d_x.data()[i] = static_cast<T>(static_cast<double>(d_y.data()[i]) * slope);
    }
  }

  void residual_forward(MatrixView<T> out, MatrixView<const T> x, MatrixView<const T> branch,
                        VectorView<const T> keep, RowIndex sequence_of_row) const {
    for (Index m = 0; m < x.rows(); ++m) {
      const T scale = keep.empty() ? T{1} : keep(sequence_of_row(m));
      for (Index d = 0; d < x.cols(); ++d) out(m, d) = x(m, d) + scale * branch(m, d);
    }
  }

  void residual_backward(MatrixView<T> d_branch, MatrixView<const T> d_out, VectorView<const T> keep,
                         RowIndex sequence_of_row) const {
    for (Index m = 0; m < d_out.rows(); ++m) {
      const T scale = keep.empty() ? T{1} : keep(sequence_of_row(m));
      for (Index d = 0; d < d_out.cols(); ++d) d_branch(m, d) = scale * d_out(m, d);
    }
  }

  void accumulate(VectorView<T> y, VectorView<const T> x) const {
    for (Index i = 0; i < y.size(); ++i) y(i) += x(i);
  }

  void lerp(VectorView<T> y, VectorView<const T> x, double m) const {
    for (Index i = 0; i < y.size(); ++i) {
      y(i) = static_cast<T>(m * static_cast<double>(y(i)) + (1.0 - m) * static_cast<double>(x(i)));
    }
  }
};

}  // namespace dssl::reference
