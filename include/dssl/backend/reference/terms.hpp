// Reference backend: what losses on matrices of features are made of, as plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <dssl/backend/operands.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::reference {

/// What a comparison of two numbers gives, and its slope in the first.
struct Compared {
  double loss = 0;
  double slope = 0;
};

/// f(x, t) of a comparison.
[[nodiscard]] inline Compared compare(Comparison comparison, double x, double t) {
  if (comparison == Comparison::negative_dot) return {-x * t, -t};
  const bool cut = comparison == Comparison::positive_squared && x < 0;
  if (cut) x = 0;
  if (comparison == Comparison::positive_squared || comparison == Comparison::squared_to_positive) t = std::max(t, 0.0);
  const double off = x - t;
  if (comparison == Comparison::smooth_l1) {
    if (std::abs(off) < 1) return {off * off / 2, off};
    return {std::abs(off) - 0.5, off > 0 ? 1.0 : -1.0};
  }
  return {off * off, cut ? 0.0 : 2 * off};
}

/// Term primitives; contracts in backend/concept.hpp.
template <class T>
class Terms {
 public:
  void label_cross_entropy(VectorView<T> loss, MatrixView<T> d_logits, VectorView<T> d_positive,
                           const LabelledLogits<T>& logits, double temperature, double scale) const {
    const Index width = logits.columns.cols();
    const bool beside = !logits.positive.empty();
    for (Index m = 0; m < logits.columns.rows(); ++m) {
      const Index hidden = logits.excluded.empty() ? Index{-1} : Index{logits.excluded(m)};
      const Index label = beside ? Index{-1} : logits.labels.empty() ? m : Index{logits.labels(m)};
      const auto z = [&](Index c) { return static_cast<double>(logits.columns(m, c)) / temperature; };
      const double of_label = beside ? static_cast<double>(logits.positive(m)) / temperature : z(label);
      double largest = of_label;
      for (Index c = 0; c < width; ++c) {
        if (c != hidden) largest = std::max(largest, z(c));
      }
      double total = beside ? std::exp(of_label - largest) : 0.0;
      for (Index c = 0; c < width; ++c) {
        if (c != hidden) total += std::exp(z(c) - largest);
      }
      loss(m) = static_cast<T>(std::log(total) + largest - of_label);
      for (Index c = 0; c < width; ++c) {
        const double q = c == hidden ? 0.0 : std::exp(z(c) - largest) / total;
        d_logits(m, c) = static_cast<T>(scale / temperature * (q - (c == label ? 1.0 : 0.0)));
      }
      if (beside) d_positive(m) = static_cast<T>(scale / temperature * (std::exp(of_label - largest) / total - 1.0));
    }
  }

  void compare_rows(VectorView<T> loss, MatrixView<T> d_x, MatrixView<const T> x, MatrixView<const T> target,
                    Comparison comparison, double scale) const {
    for (Index m = 0; m < x.rows(); ++m) {
      double sum = 0;
      for (Index n = 0; n < x.cols(); ++n) {
        const Compared one = compare(comparison, static_cast<double>(x(m, n)), static_cast<double>(target(m, n)));
        sum += one.loss;
        d_x(m, n) = static_cast<T>(scale * one.slope);
      }
      loss(m) = static_cast<T>(sum);
    }
  }

  void log_distance(VectorView<T> loss, MatrixView<T> d_x, MatrixView<const T> x, MatrixView<const T> target,
                    double epsilon, double scale) const {
    for (Index m = 0; m < x.rows(); ++m) {
      const auto off = [&](Index d) {
        return static_cast<double>(x(m, d)) - static_cast<double>(target(m, d)) + epsilon;
      };
      double squares = 0;
      for (Index d = 0; d < x.cols(); ++d) squares += off(d) * off(d);
      const double r = std::sqrt(squares);
      loss(m) = static_cast<T>(-std::log(r + epsilon));
      const double factor = r > 0 ? -scale / (r * (r + epsilon)) : 0.0;
      for (Index d = 0; d < x.cols(); ++d) d_x(m, d) = static_cast<T>(factor * off(d));
    }
  }

  void correlation_loss(VectorView<T> diagonal, VectorView<T> rest, MatrixView<T> d_x, MatrixView<const T> x,
                        const CorrelationNumbers& numbers) const {
    for (Index n = 0; n < x.rows(); ++n) {
      double squares = 0;
      for (Index j = 0; j < x.cols(); ++j) {
        const double c = numbers.factor * static_cast<double>(x(n, j));
        if (j != n) {
          squares += c * c;
          d_x(n, j) = static_cast<T>(numbers.rest_scale * numbers.factor * 2 * c);
          continue;
        }
        double slope = 2 * (c - 1);
        double loss = (c - 1) * (c - 1);
        if (numbers.diagonal == Diagonal::least_std_one) {
          const double std = std::sqrt(c + numbers.epsilon);
          loss = std::max(1 - std, 0.0);  // NaN of NaN
          slope = std < 1 ? -0.5 / std : 0.0;
        }
        diagonal(n) = static_cast<T>(loss);
        d_x(n, n) = static_cast<T>(numbers.diagonal_scale * numbers.factor * slope);
      }
      rest(n) = static_cast<T>(squares);
    }
  }

  void largest_columns(MatrixView<std::int32_t> out, MatrixView<const T> x, RowIndex excluded) const {
    for (Index m = 0; m < x.rows(); ++m) {
      const Index hidden = excluded.empty() ? Index{-1} : Index{excluded(m)};
      const auto value = [&](Index c) {
        return std::isnan(x(m, c)) ? -std::numeric_limits<T>::infinity() : x(m, c);
      };
      Index last = -1;
      for (Index k = 0; k < out.rows(); ++k) {
        Index best = -1;
        for (Index c = 0; c < x.cols(); ++c) {
          if (c == hidden) continue;
          const bool taken = last >= 0 && !(value(c) < value(last) || (value(c) == value(last) && c > last));
          if (!taken && (best < 0 || value(c) > value(best))) best = c;
        }
        out(k, m) = static_cast<std::int32_t>(best);
        last = best;
      }
    }
  }

  void row_log_sum(VectorView<T> out, MatrixView<const T> x, VectorView<const T> shift, double temperature) const {
    for (Index m = 0; m < x.rows(); ++m) {
      const auto z = [&](Index n) {
        return static_cast<double>(x(m, n)) - (shift.empty() ? 0.0 : static_cast<double>(shift(n)));
      };
      out(m) = static_cast<T>(x_log_sum(x.cols(), z, temperature));
    }
  }

  void column_log_sum(VectorView<T> out, MatrixView<const T> x, VectorView<const T> shift, double temperature) const {
    for (Index n = 0; n < x.cols(); ++n) {
      const auto z = [&](Index m) {
        return static_cast<double>(x(m, n)) - (shift.empty() ? 0.0 : static_cast<double>(shift(m)));
      };
      out(n) = static_cast<T>(x_log_sum(x.rows(), z, temperature));
    }
  }

 private:
  template <class Z>
  static double x_log_sum(Index count, const Z& z, double temperature) {
    double largest = z(0);
    for (Index i = 1; i < count; ++i) largest = std::max(largest, z(i));
    double total = 0;
    for (Index i = 0; i < count; ++i) total += std::exp((z(i) - largest) / temperature);
    return largest + temperature * std::log(total);
  }
};

}  // namespace dssl::reference
