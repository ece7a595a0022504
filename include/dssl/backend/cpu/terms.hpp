// Cpu backend: what losses on matrices of features are made of.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include <dssl/backend/cpu/batch_norm.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/rows.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

namespace detail {

/// The columns of a row that lie before and after one that is passed over.
struct SeenColumns {
  struct Range {
    Index begin;
    Index count;
  };
  std::array<Range, 2> parts;

  SeenColumns(RowIndex excluded, Index row, Index width) : parts{{{0, width}, {width, 0}}} {
    const Index hidden = excluded.empty() ? Index{-1} : Index{excluded(row)};
    if (hidden >= 0) parts = {{{0, hidden}, {hidden + 1, width - hidden - 1}}};
  }
};

/// compare_rows under one comparison: loss and slope of registers of numbers and targets.
template <class T, class Loss, class Slope>
void compare_each(Workers& workers, VectorView<T> loss, MatrixView<T> d_x, MatrixView<const T> x,
                  MatrixView<const T> target, double scale, const Loss& of, const Slope& slope) {
  const Index width = x.cols();
  const auto factor = spread(static_cast<T>(scale));
  workers.run_pieces(x.rows(), rows_per_task(width), x.size() / 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      loss(m) = static_cast<T>(sum<T>(width, of, x.row(m), target.row(m)));
      map(
          d_x.row(m), width, [&](const auto& v, const auto& t) { return Lanes<T>(factor * slope(v, t)); }, x.row(m),
          target.row(m));
    }
  });
}

}  // namespace detail

template <class T>
void label_cross_entropy(Workers& workers, VectorView<T> loss, MatrixView<T> d_logits, VectorView<T> d_positive,
                         const LabelledLogits<T>& logits, double temperature, double scale) {
  const MatrixView<const T> columns = logits.columns;
  const Index width = columns.cols();
  const bool beside = !logits.positive.empty();
  const auto inverse = spread(static_cast<T>(1.0 / temperature));
  const double factor = scale / temperature;
  workers.run_pieces(columns.rows(), rows_per_task(width), columns.size() * 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const T* in = columns.row(m);
      T* out = d_logits.row(m);
      const detail::SeenColumns seen(logits.excluded, m, width);
      const Index label = logits.labels.empty() ? m : Index{logits.labels(m)};
      const T of_label = beside ? logits.positive(m) : in[label];
      T most = of_label;
      for (const auto& part : seen.parts) {
        if (part.count > 0) {
          most = std::max(most, largest<T>(part.count, [](const auto& v) { return v; }, in + part.begin));
        }
      }
      const auto top = spread(most);
      const double below = (static_cast<double>(of_label) - static_cast<double>(most)) / temperature;
      double total = beside ? std::exp(below) : 0.0;
      for (const auto& part : seen.parts) {
        total += sum<T>(part.count, [&](const auto& v) { return exponential<T>((v - top) * inverse); }, in + part.begin);
      }
      loss(m) = static_cast<T>(std::log(total) - below);
      const auto share = spread(static_cast<T>(factor / total));
      for (const auto& part : seen.parts) {
        map(
            out + part.begin, part.count,
            [&](const auto& v) { return Lanes<T>(share * exponential<T>((v - top) * inverse)); }, in + part.begin);
      }
      if (!logits.excluded.empty() && logits.excluded(m) >= 0) out[logits.excluded(m)] = T{0};
      // The label's own probability is taken away in double: near 1 the difference is what counts.
      const auto of_itself = static_cast<T>(factor * (std::exp(below) / total - 1.0));
      if (beside) d_positive(m) = of_itself;
      else out[label] = of_itself;
    }
  });
}

template <class T>
void compare_rows(Workers& workers, VectorView<T> loss, MatrixView<T> d_x, MatrixView<const T> x,
                  MatrixView<const T> target, Comparison comparison, double scale) {
  namespace in = Eigen::internal;
  const auto zero = spread(T{0});
  const auto two = spread(T{2});
  const auto run = [&](const auto& of, const auto& slope) {
    detail::compare_each<T>(workers, loss, d_x, x, target, scale, of, slope);
  };
  const auto positive = [&](const auto& v) { return Lanes<T>(in::pmax(v, zero)); };
  switch (comparison) {
    case Comparison::squared:
      return run([](const auto& v, const auto& t) { return Lanes<T>((v - t) * (v - t)); },
                 [&](const auto& v, const auto& t) { return Lanes<T>(two * (v - t)); });
    case Comparison::smooth_l1: {
      const auto one = spread(T{1});
      const auto half = spread(T{0.5});
      // With w = min(|x - t|, 1): w^2 / 2 + (|x - t| - w), and the slope is x - t cut off at 1.
      return run(
          [=](const auto& v, const auto& t) {
            const Lanes<T> size = in::pabs(Lanes<T>(v - t));
            const Lanes<T> within = in::pmin(size, one);
            return Lanes<T>(half * within * within + (size - within));
          },
          [=](const auto& v, const auto& t) {
            return Lanes<T>(in::pmax(in::pmin(Lanes<T>(v - t), one), Lanes<T>(zero - one)));
          });
    }
    case Comparison::negative_dot:
      return run([&](const auto& v, const auto& t) { return Lanes<T>(zero - v * t); },
                 [&](const auto&, const auto& t) { return Lanes<T>(zero - t); });
    case Comparison::positive_squared:
      return run(
          [&](const auto& v, const auto& t) {
            const Lanes<T> off = positive(v) - positive(t);
            return Lanes<T>(off * off);
          },
          [&](const auto& v, const auto& t) {
            return Lanes<T>(in::pselect(in::pcmp_lt(v, zero), zero, Lanes<T>(two * (v - positive(t)))));
          });
    case Comparison::squared_to_positive:
      return run(
          [&](const auto& v, const auto& t) {
            const Lanes<T> off = v - positive(t);
            return Lanes<T>(off * off);
          },
          [&](const auto& v, const auto& t) { return Lanes<T>(two * (v - positive(t))); });
  }
}

template <class T>
void log_distance(Workers& workers, VectorView<T> loss, MatrixView<T> d_x, MatrixView<const T> x,
                  MatrixView<const T> target, double epsilon, double scale) {
  const Index width = x.cols();
  const auto beside = spread(static_cast<T>(epsilon));
  workers.run_pieces(x.rows(), rows_per_task(width), x.size() / 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const auto off = [&](const auto& v, const auto& t) { return Lanes<T>((v - t) + beside); };
      const double r = std::sqrt(sum<T>(
          width,
          [&](const auto& v, const auto& t) {
            const Lanes<T> one = off(v, t);
            return Lanes<T>(one * one);
          },
          x.row(m), target.row(m)));
      loss(m) = static_cast<T>(-std::log(r + epsilon));
      const auto factor = spread(static_cast<T>(r > 0 ? -scale / (r * (r + epsilon)) : 0.0));
      map(
          d_x.row(m), width, [&](const auto& v, const auto& t) { return Lanes<T>(factor * off(v, t)); }, x.row(m),
          target.row(m));
    }
  });
}

template <class T>
void correlation_loss(Workers& workers, VectorView<T> diagonal, VectorView<T> rest, MatrixView<T> d_x,
                      MatrixView<const T> x, const CorrelationNumbers& numbers) {
  const Index width = x.cols();
  const double factor = numbers.factor;
  const auto scale = spread(static_cast<T>(2 * numbers.rest_scale * factor * factor));
  workers.run_pieces(x.rows(), rows_per_task(width), x.size() / 2, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const T* in = x.row(n);
      const double c = factor * static_cast<double>(in[n]);
      const auto square = [](const auto& v) { return v * v; };
      const double squares = sum<T>(n, square, in) + sum<T>(width - n - 1, square, in + n + 1);
      double slope = 2 * (c - 1);
      double loss = (c - 1) * (c - 1);
      if (numbers.diagonal == Diagonal::least_std_one) {
        const double std = std::sqrt(c + numbers.epsilon);
        loss = std::max(1 - std, 0.0);  // NaN of NaN
        slope = std < 1 ? -0.5 / std : 0.0;
      }
      map(d_x.row(n), width, [&](const auto& v) { return Lanes<T>(scale * v); }, in);
      d_x(n, n) = static_cast<T>(numbers.diagonal_scale * factor * slope);
      diagonal(n) = static_cast<T>(loss);
      rest(n) = static_cast<T>(factor * factor * squares);
    }
  });
}

template <class T>
void largest_columns(Workers& workers, MatrixView<std::int32_t> out, MatrixView<const T> x, RowIndex excluded) {
  const Index width = x.cols();
  workers.run_pieces(x.rows(), rows_per_task(width), out.rows() * x.size(), [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const T* in = x.row(m);
      const detail::SeenColumns seen(excluded, m, width);
      const auto value = [in](Index c) { return in[c] == in[c] ? in[c] : -std::numeric_limits<T>::infinity(); };
      Index last = -1;
      T of_last = 0;
      for (Index k = 0; k < out.rows(); ++k) {
        Index best = -1;
        T of_best = 0;
        for (const auto& part : seen.parts) {
          for (Index c = part.begin; c < part.begin + part.count; ++c) {
            const T v = value(c);
            if (last >= 0 && !(v < of_last || (v == of_last && c > last))) continue;
            if (best >= 0 && !(v > of_best)) continue;
            best = c;
            of_best = v;
          }
        }
        out(k, m) = static_cast<std::int32_t>(best);
        last = best;
        of_last = of_best;
      }
    }
  });
}

template <class T>
void row_log_sum(Workers& workers, VectorView<T> out, MatrixView<const T> x, VectorView<const T> shift,
                 double temperature) {
  const Index width = x.cols();
  const auto inverse = spread(static_cast<T>(1.0 / temperature));
  workers.run_pieces(x.rows(), rows_per_task(width), x.size() * 2, [&](Index begin, Index end) {
    const auto write = [&](Index m, const auto& z, const auto*... in) {
      const T most = largest<T>(width, z, in...);
      const auto top = spread(most);
      const double total =
          sum<T>(width, [&](const auto&... v) { return exponential<T>((z(v...) - top) * inverse); }, in...);
      out(m) = static_cast<T>(static_cast<double>(most) + temperature * std::log(total));
    };
    for (Index m = begin; m < end; ++m) {
      if (shift.empty()) {
        write(m, [](const auto& v) { return v; }, x.row(m));
      } else {
        write(m, [](const auto& v, const auto& s) { return Lanes<T>(v - s); }, x.row(m), shift.data());
      }
    }
  });
}

template <class T>
void column_log_sum(Workers& workers, VectorView<T> out, MatrixView<const T> x, VectorView<const T> shift,
                    double temperature) {
  const Index rows = x.rows();
  const auto inverse = spread(static_cast<T>(1.0 / temperature));
  workers.run_pieces(x.cols(), batch_norm_columns, x.size() * 2, [&](Index begin, Index end) {
    const Index width = end - begin;
    const auto below = [&](Index m) { return spread(shift.empty() ? T{0} : shift(m)); };
    ColumnLine<T> most;
    most.value.fill(-std::numeric_limits<T>::infinity());
    for (Index m = 0; m < rows; ++m) {
      const auto by = below(m);
      map(
          most.data(), width,
          [&](const auto& top, const auto& v) { return Lanes<T>(Eigen::internal::pmax(Lanes<T>(v - by), Lanes<T>(top))); },
          most.data(), x.row(m) + begin);
    }
    const auto totals = sum_rows<T, 1>(rows, [&](auto& part, Index m) {
      const auto by = below(m);
      map(
          part[0].data(), width,
          [&](const auto& s, const auto& v, const auto& top) {
            return Lanes<T>(s + exponential<T>(((v - by) - top) * inverse));
          },
          part[0].data(), x.row(m) + begin, most.data());
    });
    for (Index c = 0; c < width; ++c) {
      out(begin + c) = static_cast<T>(static_cast<double>(most[c]) +
                                      temperature * std::log(totals[0].value[static_cast<std::size_t>(c)]));
    }
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
