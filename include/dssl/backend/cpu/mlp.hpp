// Cpu backend: what projectors, predictors and losses between rows need beside linear layers.
#pragma once

#include <algorithm>
#include <cmath>

#include <dssl/backend/cpu/batch_norm.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/pointwise.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/core/error.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// See `MlpPrimitives` in backend/concept.hpp, here and below.
template <class T>
void relu_forward(Workers& workers, MatrixView<T> y, MatrixView<const T> x) {
  namespace in = Eigen::internal;
  workers.run_pieces(x.size(), pointwise_piece, x.size() / 8, [&](Index begin, Index end) {
    const auto zero = spread(T{0});
    map(
        y.data() + begin, end - begin,
        [&](const auto& v) { return Lanes<T>(in::pselect(in::pcmp_lt(Lanes<T>(v), zero), zero, Lanes<T>(v))); },
        x.data() + begin);
  });
}

template <class T>
void relu_backward(Workers& workers, MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> x) {
  namespace in = Eigen::internal;
  workers.run_pieces(x.size(), pointwise_piece, x.size() / 4, [&](Index begin, Index end) {
    const auto zero = spread(T{0});
    map(
        d_x.data() + begin, end - begin,
        [&](const auto& g, const auto& v) {
          return Lanes<T>(in::pselect(in::pcmp_le(Lanes<T>(v), zero), zero, Lanes<T>(g)));
        },
        d_y.data() + begin, x.data() + begin);
  });
}

/// Two numbers a channel: not worth a second thread.
template <class T>
void batch_norm_update(VectorView<T> running_mean, VectorView<T> running_variance, VectorView<const T> mean,
                       VectorView<const T> inverse_std, Index rows, double momentum, double epsilon) {
  require_shape(rows >= 2, "batch_norm_update: ", rows, " rows; expected at least 2, as one has no variance");
  const double unbiased = static_cast<double>(rows) / static_cast<double>(rows - 1);
  const auto move = [&](T& running, double now) {
    running = static_cast<T>((1.0 - momentum) * static_cast<double>(running) + momentum * now);
  };
  for (Index d = 0; d < mean.size(); ++d) {
    const auto scale = static_cast<double>(inverse_std(d));
    // A column of one value: what rounding leaves may lie below 0.
    const double variance = std::max(1.0 / (scale * scale) - epsilon, 0.0);
    move(running_mean(d), static_cast<double>(mean(d)));
    move(running_variance(d), variance * unbiased);
  }
}

/// 1 / sqrt(variance + epsilon) of the columns [begin, begin + width).
template <class T>
[[nodiscard]] ColumnLine<T> inverse_stds(VectorView<const T> variance, Index begin, Index width, double epsilon) {
  ColumnLine<T> line;
  for (Index c = 0; c < width; ++c) {
    line[c] = static_cast<T>(1.0 / std::sqrt(static_cast<double>(variance(begin + c)) + epsilon));
  }
  return line;
}

template <class T>
void batch_norm_evaluate_forward(Workers& workers, MatrixView<T> y, MatrixView<const T> x,
                                 VectorView<const T> running_mean, VectorView<const T> running_variance,
                                 VectorView<const T> weight, VectorView<const T> bias, double epsilon) {
  workers.run_pieces(x.cols(), batch_norm_columns, x.size() / 6, [&](Index begin, Index end) {
    const Index width = end - begin;
    const ColumnLine<T> scale = inverse_stds(running_variance, begin, width, epsilon);
    const ColumnLine<T> ones = line_of(T{1});
    const ColumnLine<T> zeros{};
    for (Index m = 0; m < x.rows(); ++m) norm_columns(y.row(m) + begin, width, x.row(m) + begin,
                                                      running_mean.data() + begin, scale.data(),
                                                      columns_or(weight, begin, ones), columns_or(bias, begin, zeros));
  });
}

template <class T>
void batch_norm_evaluate_backward(Workers& workers, MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias,
                                  MatrixView<const T> d_y, MatrixView<const T> x, VectorView<const T> running_mean,
                                  VectorView<const T> running_variance, VectorView<const T> weight, double epsilon) {
  workers.run_pieces(x.cols(), batch_norm_columns, x.size() / 4, [&](Index begin, Index end) {
    const Index width = end - begin;
    const ColumnLine<T> scale = inverse_stds(running_variance, begin, width, epsilon);
    if (!d_weight.empty() || !d_bias.empty()) {
      const auto sums = sum_norm_terms(d_y, x, running_mean.data() + begin, scale.data(), begin, width);
      add_columns(d_weight, begin, width, sums[0]);
      add_columns(d_bias, begin, width, sums[1]);
    }
    ColumnLine<T> factor = scale;
    if (!weight.empty()) {
      for (Index c = 0; c < width; ++c) factor[c] *= weight(begin + c);
    }
    for (Index m = 0; m < x.rows(); ++m) {
      map(
          d_x.row(m) + begin, width, [](const auto& g, const auto& f) { return g * f; }, d_y.row(m) + begin,
          factor.data());
    }
  });
}

template <class T>
void add_scaled(Workers& workers, VectorView<T> y, VectorView<const T> x, double scale) {
  const auto factor = spread(static_cast<T>(scale));
  workers.run_pieces(y.size(), pointwise_piece, y.size() / 4, [&](Index begin, Index end) {
    map(
        y.data() + begin, end - begin, [&](const auto& s, const auto& v) { return multiply_add(factor, v, s); },
        y.data() + begin, x.data() + begin);
  });
}

/// Rows that one task takes of an operation on whole rows.
[[nodiscard]] inline Index rows_of_piece(Index width) {
  return std::max(Index{1}, pointwise_piece / std::max(Index{1}, width));
}

template <class T>
void row_dots(Workers& workers, VectorView<T> out, MatrixView<const T> a, MatrixView<const T> b) {
  const Index width = a.cols();
  workers.run_pieces(a.rows(), rows_of_piece(width), a.size() / 6, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      out(m) = static_cast<T>(sum<T>(
          width, [](const auto& u, const auto& v) { return Lanes<T>(u * v); }, a.row(m), b.row(m)));
    }
  });
}

template <class T>
void add_weighted_rows(Workers& workers, MatrixView<T> y, MatrixView<const T> x, VectorView<const T> weight) {
  const Index width = x.cols();
  workers.run_pieces(x.rows(), rows_of_piece(width), x.size() / 4, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const auto factor = spread(weight(m));
      map(
          y.row(m), width, [&](const auto& s, const auto& v) { return multiply_add(factor, v, s); }, y.row(m),
          x.row(m));
    }
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
