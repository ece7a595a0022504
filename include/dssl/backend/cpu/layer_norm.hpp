// Cpu backend: layer norm.
#pragma once

#include <algorithm>
#include <cmath>

#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/workers.hpp>

namespace dssl::cpu {

template <class T>
void layer_norm_forward(Workers& workers, MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std,
                        MatrixView<const T> x, VectorView<const T> weight, VectorView<const T> bias,
                        double epsilon) {
  const Index width = x.cols();
  const auto same = [](const auto& v) { return v; };
  workers.run_pieces(x.rows(), std::max(Index{1}, 16'384 / std::max(Index{1}, width)), x.size() / 4,
                     [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const T* row = x.row(m);
      const double mu = sum<T>(width, same, row) / static_cast<double>(width);
      const auto centre = spread(static_cast<T>(mu));
      const double squares = sum<T>(width, [&](const auto& v) { return (v - centre) * (v - centre); }, row);
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + epsilon);
      mean(m) = static_cast<T>(mu);
      inverse_std(m) = static_cast<T>(scale);
      const auto factor = spread(static_cast<T>(scale));
      map(y.row(m), width,
          [&](const auto& v, const auto& w, const auto& b) { return multiply_add((v - centre) * factor, w, b); },
          row, weight.data(), bias.data());
    }
  });
}

template <class T>
void layer_norm_backward(Workers& workers, MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias,
                         MatrixView<const T> d_y, MatrixView<const T> x, VectorView<const T> mean,
                         VectorView<const T> inverse_std, VectorView<const T> weight) {
  constexpr Index part = 32;  // rows whose sums for d_weight and d_bias are taken together
  const Index width = x.cols();
  const Index parts = (x.rows() + part - 1) / part;
  const Buffer& shared = workers.shared(static_cast<std::size_t>(parts * 2 * width) * sizeof(T));
  const MatrixView<T> sums(reinterpret_cast<T*>(shared.data()), 2 * parts, width);
  workers.run(parts, x.size() / 2, [&](Index task, std::size_t) {
    T* sum_weight = sums.row(2 * task);
    T* sum_bias = sums.row(2 * task + 1);
    std::fill_n(sum_weight, 2 * width, T{0});
    for (Index m = task * part; m < std::min(x.rows(), (task + 1) * part); ++m) {
      // With u = d_y * weight: d_x = inverse_std (u - mean(u) - normal mean(u normal)).
      const T* dy = d_y.row(m);
      const T* row = x.row(m);
      const auto centre = spread(mean(m));
      const auto factor = spread(inverse_std(m));
      const auto columns = static_cast<double>(width);
      const double mean_u = sum<T>(width, [](const auto& g, const auto& w) { return g * w; }, dy, weight.data()) / columns;
      const double mean_un =
          sum<T>(width, [&](const auto& g, const auto& w, const auto& v) { return g * w * ((v - centre) * factor); },
                 dy, weight.data(), row) / columns;
      const auto shift = spread(static_cast<T>(mean_u));
      const auto slope = spread(static_cast<T>(mean_un));
      map(d_x.row(m), width,
          [&](const auto& d, const auto& g, const auto& w, const auto& v) {
            return multiply_add(factor, g * w - shift - (v - centre) * factor * slope, d);
          },
          d_x.row(m), dy, weight.data(), row);
      map(sum_weight, width,
          [&](const auto& s, const auto& g, const auto& v) { return multiply_add(g, (v - centre) * factor, s); },
          sum_weight, dy, row);
      map(sum_bias, width, [](const auto& s, const auto& g) { return s + g; }, sum_bias, dy);
    }
  });
  const auto add = [](const auto& s, const auto& v) { return s + v; };
  workers.run_pieces(width, 64, parts * width / 4, [&](Index begin, Index end) {
    alignas(64) std::array<T, 64> whole{};
    for (Index which = 0; which < 2; ++which) {
      whole.fill(T{0});
      for (Index p = 0; p < parts; ++p) map(whole.data(), end - begin, add, whole.data(), sums.row(2 * p + which) + begin);
      T* out = (which == 0 ? d_weight.data() : d_bias.data()) + begin;
      map(out, end - begin, add, out, whole.data());
    }
  });
}

}  // namespace dssl::cpu
