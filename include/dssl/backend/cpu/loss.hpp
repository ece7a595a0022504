// Cpu backend: norms of rows, softmax, cross-entropy, entropy.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/rows.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

namespace detail {

template <class T>
[[nodiscard]] double length(const T* x, Index count) {
  return std::sqrt(sum<T>(count, [](const auto& v) { return v * v; }, x));
}

}  // namespace detail

template <class T>
void l2_normalise_forward(Workers& workers, MatrixView<T> y, VectorView<T> norm, MatrixView<const T> x,
                          double epsilon) {
  workers.run_pieces(x.rows(), rows_per_task(x.cols()), x.size() / 4, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const double n = std::max(detail::length(x.row(m), x.cols()), epsilon);
      norm(m) = static_cast<T>(n);
      const auto scale = spread(static_cast<T>(1.0 / n));
      map(y.row(m), x.cols(), [&](const auto& v) { return v * scale; }, x.row(m));
    }
  });
}

template <class T>
void l2_normalise_backward(Workers& workers, MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> y,
                           VectorView<const T> norm, double epsilon) {
  workers.run_pieces(y.rows(), rows_per_task(y.cols()), y.size() / 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      double dot = 0;
      if (static_cast<double>(norm(m)) > epsilon) {
        dot = sum<T>(y.cols(), [](const auto& g, const auto& v) { return g * v; }, d_y.row(m), y.row(m));
      }
      const auto along = spread(static_cast<T>(dot));
      const auto scale = spread(static_cast<T>(1.0 / static_cast<double>(norm(m))));
      map(d_x.row(m), y.cols(), [&](const auto& g, const auto& v) { return (g - along * v) * scale; }, d_y.row(m),
          y.row(m));
    }
  });
}

template <class T>
void weight_norm_forward(Workers& workers, MatrixView<T> w, VectorView<T> norm, MatrixView<const T> v,
                         VectorView<const T> g) {
  workers.run_pieces(v.rows(), rows_per_task(v.cols()), v.size() / 4, [&](Index begin, Index end) {
    for (Index p = begin; p < end; ++p) {
      const double n = detail::length(v.row(p), v.cols());
      norm(p) = static_cast<T>(n);
      const auto scale = spread(static_cast<T>((g.empty() ? 1.0 : static_cast<double>(g(p))) / n));
      map(w.row(p), v.cols(), [&](const auto& x) { return x * scale; }, v.row(p));
    }
  });
}

template <class T>
void weight_norm_backward(Workers& workers, MatrixView<T> d_v, VectorView<T> d_g, MatrixView<const T> d_w,
                          MatrixView<const T> v, VectorView<const T> g, VectorView<const T> norm) {
  workers.run_pieces(v.rows(), rows_per_task(v.cols()), v.size() / 2, [&](Index begin, Index end) {
    for (Index p = begin; p < end; ++p) {
      const auto n = static_cast<double>(norm(p));
      const double dot =
          sum<T>(v.cols(), [](const auto& a, const auto& b) { return a * b; }, d_w.row(p), v.row(p)) / n;
      if (!d_g.empty()) d_g(p) += static_cast<T>(dot);
      const auto scale = spread(static_cast<T>((g.empty() ? 1.0 : static_cast<double>(g(p))) / n));
      const auto along = spread(static_cast<T>(dot / n));
      map(d_v.row(p), v.cols(),
          [&](const auto& d, const auto& a, const auto& b) { return multiply_add(scale, a - along * b, d); },
          d_v.row(p), d_w.row(p), v.row(p));
    }
  });
}

template <class T>
void centred_softmax(Workers& workers, MatrixView<T> p, MatrixView<const T> t, VectorView<const T> centre,
                     double temperature) {
  const auto inverse = spread(static_cast<T>(1.0 / temperature));
  workers.run_pieces(t.rows(), rows_per_task(t.cols()), t.size() * 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const T* in = t.row(m);
      T* out = p.row(m);
      // The largest is taken off before the division, so that large values do not round the exponents.
      const auto most = spread(largest<T>(
          t.cols(), [](const auto& v, const auto& c) { return v - c; }, in, centre.data()));
      map(out, t.cols(),
          [&](const auto& v, const auto& c) { return exponential<T>(((v - c) - most) * inverse); }, in,
          centre.data());
      const double total = sum<T>(t.cols(), [](const auto& v) { return v; }, out);
      const auto scale = spread(static_cast<T>(1.0 / total));
      map(out, t.cols(), [&](const auto& v) { return v * scale; }, out);
    }
  });
}

template <class T>
void cross_entropy(Workers& workers, VectorView<T> loss, MatrixView<T> d_logits, MatrixView<const T> logits,
                   MatrixView<const T> targets, VectorView<const TargetRows> target_rows, double temperature,
                   double scale, VectorView<const T> weights) {
  const Index width = logits.cols();
  const auto inverse = spread(static_cast<T>(1.0 / temperature));
  workers.run_pieces(logits.rows(), rows_per_task(width), logits.size() * 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const T* in = logits.row(m);
      T* out = d_logits.row(m);
      const double weight = weights.empty() ? scale : scale * static_cast<double>(weights(m));
      const auto factor = spread(static_cast<T>(weight / temperature));
      const auto most = spread(largest<T>(width, [](const auto& v) { return v; }, in));
      const double total =
          sum<T>(width, [&](const auto& v) { return exponential<T>((v - most) * inverse); }, in);
      const auto log_total = spread(static_cast<T>(std::log(total)));
      const auto log_q = [&](const auto& v) { return (v - most) * inverse - log_total; };
      double row_loss = 0;
      Index seen = 0;
      std::array<const T*, 2> p{};
      for (const std::int32_t target : target_rows(m)) {
        if (target < 0) continue;
        p[static_cast<std::size_t>(seen++)] = targets.row(target);
        row_loss -= sum<T>(width, [&](const auto& v, const auto& q) { return q * log_q(v); }, in, targets.row(target));
      }
      loss(m) = static_cast<T>(row_loss);
      if (seen == 2) {
        const auto two = spread(T{2});
        map(out, width,
            [&](const auto& v, const auto& a, const auto& b) {
              return factor * (two * exponential<T>(log_q(v)) - (a + b));
            },
            in, p[0], p[1]);
      } else if (seen == 1) {
        map(out, width, [&](const auto& v, const auto& a) { return factor * (exponential<T>(log_q(v)) - a); }, in,
            p[0]);
      } else {
        std::fill_n(out, width, T{0});
      }
    }
  });
}

template <class T>
void row_entropy(Workers& workers, VectorView<T> out, MatrixView<const T> p) {
  const auto tiny = spread(std::numeric_limits<T>::min());
  workers.run_pieces(p.rows(), rows_per_task(p.cols()), p.size() * 2, [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      // 0 log 0 = 0: the logarithm of the smallest normal number is finite, times 0 it is 0.
      out(m) = static_cast<T>(-sum<T>(
          p.cols(), [&](const auto& v) { return v * Eigen::internal::plog(Lanes<T>(Eigen::internal::pmax(v, tiny))); },
          p.row(m)));
    }
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
