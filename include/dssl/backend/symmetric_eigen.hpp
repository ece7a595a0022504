// Eigenvalues and eigenvectors of a symmetric matrix, in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// All eigenvalues of a symmetric matrix (n,n), the largest first, and as many eigenvectors as were asked
/// for.
struct SymmetricEigen {
  std::vector<double> values;  ///< (n)
  std::vector<double>
      vectors;  ///< (count,n): row k belongs to value k; unit length, orthogonal to the others
};

namespace detail {

/// Eigenvalues of a symmetric tridiagonal matrix by implicit QL steps: diagonal d (n) is overwritten with
/// them, in no order; e (n) holds what stands beside it (the last is unused). Row i of z (n,n) becomes the
/// eigenvector of d[i], where z begins as the identity. Source: the routine tql2 of EISPACK.
inline void tridiagonal_eigen(std::span<double> d, std::span<double> e, std::span<double> z) {
  const std::size_t n = d.size();
  // Relative to the whole matrix, not to the neighbours: beside large entries, small ones are never without
  // rounding of that size.
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i)
    largest = std::max(largest, std::abs(d[i]) + (i + 1 < n ? std::abs(e[i]) : 0));
  const double negligible = std::numeric_limits<double>::epsilon() * largest;
  for (std::size_t l = 0; l < n; ++l) {
    for (int step = 0;; ++step) {
      std::size_t m = l;
      while (m + 1 < n && std::abs(e[m]) > negligible) ++m;
      if (m == l) break;
      if (step == 100) throw Error("the eigenvalues of a symmetric matrix did not settle in 100 steps each");
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      g = d[m] - d[l] + e[l] / (g + std::copysign(std::hypot(g, 1.0), g));
      double s = 1;
      double c = 1;
      double p = 0;
      bool split = false;
      for (std::size_t i = m; i-- > l;) {
        const double f = s * e[i];
        const double b = c * e[i];
        const double r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          split = true;
          break;
        }
        s = f / r;
        c = g / r;
        const double left = d[i + 1] - p;
        const double turn = (d[i] - left) * s + 2 * c * b;
        p = s * turn;
        d[i + 1] = left + p;
        g = c * turn - b;
        double* const lower = z.data() + i * n;
        double* const upper = lower + n;
        for (std::size_t k = 0; k < n; ++k) {
          const double value = upper[k];
          upper[k] = s * lower[k] + c * value;
          lower[k] = c * lower[k] - s * value;
        }
      }
      if (split) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
}

}  // namespace detail

/// The eigenvalues of a symmetric matrix (n,n), row-major, and the eigenvectors of the `count` largest.
///
/// Householder reflections to tridiagonal form, then implicit QL: exact to the rounding of the largest, about
/// 5 n^3 FLOP, 3 n^2 numbers of memory, one thread, the same bits every time. The sign of each vector: its
/// entry of largest magnitude, the first among equals, is positive. Only entries on and below the diagonal
/// are read. Throws `ShapeError`, `NonFiniteError`. Test: tests/backend/symmetric_eigen.cpp.
[[nodiscard]] inline SymmetricEigen symmetric_eigen(std::span<const double> matrix, Index n, Index count) {
  require_shape(n >= 1 && static_cast<Index>(matrix.size()) == n * n && count >= 0 && count <= n,
                "eigenvectors: ", count, " of a matrix of ", matrix.size(), " entries; expected ", n, " x ",
                n, " and at most ", n);
  const auto size = static_cast<std::size_t>(n);
  std::vector<double> a(matrix.begin(), matrix.end());
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      if (!std::isfinite(a[i * size + j])) throw NonFiniteError("a matrix with entries that are not numbers");
      a[j * size + i] = a[i * size + j];
    }
  }
  // a becomes tridiagonal by a - 2 v (..)^T steps; v of step k lies in row k, beyond the diagonal.
  std::vector<double> d(size), e(size), p(size);
  for (std::size_t k = 0; k + 2 < size; ++k) {
    double* const v = a.data() + k * size;
    double scale = 0;
    for (std::size_t i = k + 1; i < size; ++i) scale = std::max(scale, std::abs(v[i]));
    if (scale == 0) continue;  // v stays zero: no reflection
    double squared = 0;
    for (std::size_t i = k + 1; i < size; ++i) squared += (v[i] / scale) * (v[i] / scale);
    const double alpha = -std::copysign(scale * std::sqrt(squared), v[k + 1]);
    e[k] = alpha;
    v[k + 1] -= alpha;
    double length = 0;
    for (std::size_t i = k + 1; i < size; ++i) length += (v[i] / scale) * (v[i] / scale);
    length = scale * std::sqrt(length);
    for (std::size_t i = k + 1; i < size; ++i) v[i] /= length;
    double along = 0;
    for (std::size_t i = k + 1; i < size; ++i) {
      const double* const row = a.data() + i * size;
      p[i] = std::inner_product(row + k + 1, row + size, v + k + 1, 0.0);
      along += v[i] * p[i];
    }
    for (std::size_t i = k + 1; i < size; ++i) p[i] -= along * v[i];
    for (std::size_t i = k + 1; i < size; ++i) {
      double* const row = a.data() + i * size;
      for (std::size_t j = k + 1; j < size; ++j) row[j] -= 2 * (v[i] * p[j] + p[i] * v[j]);
    }
  }
  for (std::size_t k = 0; k < size; ++k) d[k] = a[k * size + k];
  if (size >= 2) e[size - 2] = a[(size - 2) * size + size - 1];
  std::vector<double> z(size * size, 0.0);
  for (std::size_t i = 0; i < size; ++i) z[i * size + i] = 1;
  detail::tridiagonal_eigen(d, e, z);

  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return d[i] > d[j]; });
  SymmetricEigen out;
  for (const std::size_t i : order) out.values.push_back(d[i]);
  for (std::size_t r = 0; r < static_cast<std::size_t>(count); ++r) {
    std::vector<double> x(z.begin() + static_cast<Index>(order[r] * size),
                          z.begin() + static_cast<Index>((order[r] + 1) * size));
    for (std::size_t k = size < 2 ? 0 : size - 2; k-- > 0;) {
      const double* const v = a.data() + k * size;
      const double along =
          std::inner_product(v + k + 1, v + size, x.begin() + static_cast<Index>(k + 1), 0.0);
      for (std::size_t i = k + 1; i < size; ++i) x[i] -= 2 * along * v[i];
    }
    const auto largest =
        std::max_element(x.begin(), x.end(), [](double l, double m) { return std::abs(l) < std::abs(m); });
    const double sign = *largest < 0 ? -1 : 1;
    for (const double value : x) out.vectors.push_back(sign * value);
  }
  return out;
}

}  // namespace dssl
