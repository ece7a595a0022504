// Reference backend: patches, row moves, interpolated reads, norms and loss, as plain loops.
#pragma once

#include <algorithm>
#include <cmath>

#include <dssl/backend/operands.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::reference {

/// Row i of an index, or i itself where there is no index.
[[nodiscard]] constexpr Index row_at(RowIndex index, Index i) { return index.empty() ? i : Index{index(i)}; }

/// How many rows a move touches.
[[nodiscard]] constexpr Index row_count(RowIndex dst_rows, RowIndex src_rows, Index src_extent) {
  return !dst_rows.empty() ? dst_rows.size() : !src_rows.empty() ? src_rows.size() : src_extent;
}

/// Row primitives; contracts in backend/concept.hpp.
template <class T>
class Rows {
 public:
  void unfold_patches(MatrixView<T> patches, TensorView<const T, 4> images, Index p) const {
    const Index h = images.extent(2) / p;
    const Index w = images.extent(3) / p;
    for (Index s = 0; s < images.extent(0); ++s) {
      for (Index i = 0; i < h; ++i) {
        for (Index j = 0; j < w; ++j) {
          T* out = patches.row((s * h + i) * w + j);
          for (Index c = 0; c < images.extent(1); ++c) {
            for (Index y = 0; y < p; ++y) {
              for (Index x = 0; x < p; ++x) *out++ = images(s, c, i * p + y, j * p + x);
            }
          }
        }
      }
    }
  }

  void copy_rows(MatrixView<T> dst, RowIndex dst_rows, MatrixView<const T> src, RowIndex src_rows) const {
    for (Index i = 0; i < row_count(dst_rows, src_rows, src.rows()); ++i) {
      std::copy_n(src.row(row_at(src_rows, i)), src.cols(), dst.row(row_at(dst_rows, i)));
    }
  }

  void add_rows(MatrixView<T> dst, RowIndex dst_rows, MatrixView<const T> src, RowIndex src_rows) const {
    for (Index i = 0; i < row_count(dst_rows, src_rows, src.rows()); ++i) {
      for (Index d = 0; d < src.cols(); ++d) dst(row_at(dst_rows, i), d) += src(row_at(src_rows, i), d);
    }
  }

  void sample_rows_forward(MatrixView<T> out, MatrixView<const T> table, VectorView<const Taps<T>> taps) const {
    for (Index m = 0; m < out.rows(); ++m) {
      for (Index d = 0; d < out.cols(); ++d) {
        double sum = 0;
        for (std::size_t t = 0; t < 16; ++t) {
          sum += static_cast<double>(taps(m).weight[t]) * static_cast<double>(table(taps(m).row[t], d));
        }
        out(m, d) = static_cast<T>(sum);
      }
    }
  }

  void sample_rows_backward(MatrixView<T> d_table, MatrixView<const T> d_out, VectorView<const Taps<T>> taps) const {
    for (Index m = 0; m < d_out.rows(); ++m) {
      for (std::size_t t = 0; t < 16; ++t) {
        for (Index d = 0; d < d_out.cols(); ++d) d_table(taps(m).row[t], d) += taps(m).weight[t] * d_out(m, d);
      }
    }
  }
};

/// Norms and loss; contracts in backend/concept.hpp.
template <class T>
class Loss {
 public:
  void l2_normalise_forward(MatrixView<T> y, VectorView<T> norm, MatrixView<const T> x, double epsilon) const {
    for (Index m = 0; m < x.rows(); ++m) {
      const double n = std::max(x_length(x, m), epsilon);
      norm(m) = static_cast<T>(n);
      for (Index d = 0; d < x.cols(); ++d) y(m, d) = static_cast<T>(static_cast<double>(x(m, d)) / n);
    }
  }

  void l2_normalise_backward(MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> y,
                             VectorView<const T> norm, double epsilon) const {
    for (Index m = 0; m < y.rows(); ++m) {
      double dot = 0;
      if (static_cast<double>(norm(m)) > epsilon) {
        for (Index d = 0; d < y.cols(); ++d) dot += static_cast<double>(d_y(m, d)) * static_cast<double>(y(m, d));
      }
      for (Index d = 0; d < y.cols(); ++d) {
        d_x(m, d) = static_cast<T>((static_cast<double>(d_y(m, d)) - dot * static_cast<double>(y(m, d))) /
                                   static_cast<double>(norm(m)));
      }
    }
  }

  void weight_norm_forward(MatrixView<T> w, VectorView<T> norm, MatrixView<const T> v, VectorView<const T> g) const {
    for (Index p = 0; p < v.rows(); ++p) {
      const double n = x_length(v, p);
      const double scale = (g.empty() ? 1.0 : static_cast<double>(g(p))) / n;
      norm(p) = static_cast<T>(n);
      for (Index d = 0; d < v.cols(); ++d) w(p, d) = static_cast<T>(scale * static_cast<double>(v(p, d)));
    }
  }

  void weight_norm_backward(MatrixView<T> d_v, VectorView<T> d_g, MatrixView<const T> d_w, MatrixView<const T> v,
                            VectorView<const T> g, VectorView<const T> norm) const {
    for (Index p = 0; p < v.rows(); ++p) {
      const auto n = static_cast<double>(norm(p));
      double dot = 0;  // d_w . v / |v|
      for (Index d = 0; d < v.cols(); ++d) dot += static_cast<double>(d_w(p, d)) * static_cast<double>(v(p, d)) / n;
      const double scale = g.empty() ? 1.0 : static_cast<double>(g(p));
      if (!d_g.empty()) d_g(p) += static_cast<T>(dot);
      for (Index d = 0; d < v.cols(); ++d) {
        d_v(p, d) += static_cast<T>(
            scale / n * (static_cast<double>(d_w(p, d)) - dot * static_cast<double>(v(p, d)) / n));
      }
    }
  }

  void centred_softmax(MatrixView<T> p, MatrixView<const T> t, VectorView<const T> centre, double temperature) const {
    for (Index m = 0; m < t.rows(); ++m) {
      const auto z = [&](Index c) {
        return (static_cast<double>(t(m, c)) - static_cast<double>(centre(c))) / temperature;
      };
      double largest = z(0);
      for (Index c = 1; c < t.cols(); ++c) largest = std::max(largest, z(c));
      double total = 0;
      for (Index c = 0; c < t.cols(); ++c) total += std::exp(z(c) - largest);
      for (Index c = 0; c < t.cols(); ++c) p(m, c) = static_cast<T>(std::exp(z(c) - largest) / total);
    }
  }

  void cross_entropy(VectorView<T> loss, MatrixView<T> d_logits, MatrixView<const T> logits,
                     MatrixView<const T> targets, VectorView<const TargetRows> target_rows, double temperature,
                     double scale, VectorView<const T> weights = {}) const {
    for (Index m = 0; m < logits.rows(); ++m) {
      const auto z = [&](Index c) { return static_cast<double>(logits(m, c)) / temperature; };
      double largest = z(0);
      for (Index c = 1; c < logits.cols(); ++c) largest = std::max(largest, z(c));
      double total = 0;
      for (Index c = 0; c < logits.cols(); ++c) total += std::exp(z(c) - largest);
      const double log_total = largest + std::log(total);
      const double weight = weights.empty() ? scale : scale * static_cast<double>(weights(m));
      double row_loss = 0;
      for (Index c = 0; c < logits.cols(); ++c) {
        const double log_q = z(c) - log_total;
        double gradient = 0;
        for (const std::int32_t target : target_rows(m)) {
          if (target < 0) continue;
          const auto p = static_cast<double>(targets(target, c));
          row_loss -= p * log_q;
          gradient += std::exp(log_q) - p;
        }
        d_logits(m, c) = static_cast<T>(weight * gradient / temperature);
      }
      loss(m) = static_cast<T>(row_loss);
    }
  }

  void row_entropy(VectorView<T> out, MatrixView<const T> p) const {
    for (Index m = 0; m < p.rows(); ++m) {
      double sum = 0;
      for (Index c = 0; c < p.cols(); ++c) {
        const auto v = static_cast<double>(p(m, c));
        if (v > 0) sum -= v * std::log(v);
      }
      out(m) = static_cast<T>(sum);
    }
  }

  void add_column_sum(VectorView<T> sum, MatrixView<const T> x, RowIndex rows, double scale) const {
    for (Index c = 0; c < x.cols(); ++c) {
      double total = 0;
      for (Index i = 0; i < row_count(rows, {}, x.rows()); ++i) total += static_cast<double>(x(row_at(rows, i), c));
      sum(c) += static_cast<T>(scale * total);
    }
  }

 private:
  static double x_length(MatrixView<const T> x, Index row) {
    double squares = 0;
    for (Index d = 0; d < x.cols(); ++d) squares += static_cast<double>(x(row, d)) * static_cast<double>(x(row, d));
    return std::sqrt(squares);
  }
};

}  // namespace dssl::reference
