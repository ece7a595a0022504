// Eigenvalues and eigenvectors of a symmetric matrix, in double: Eigen's solver behind plain numbers.
//
// Here since only this room sees Eigen; no backend includes it, as <Eigen/Eigenvalues> is dear to compile.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <Eigen/Eigenvalues>

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

/// The eigenvalues of a symmetric matrix (n,n), row-major, and the eigenvectors of the `count` largest.
///
/// `Eigen::Tridiagonalization`, then implicit QR by `Eigen::SelfAdjointEigenSolver`: exact to the rounding of
/// the largest, about 5 n^3 FLOP (4/3 n^3 where no vectors are asked for), 3 n^2 numbers of memory, one
/// thread, the same bits every time. The solver's own `compute` forms all eigenvectors by blocks, whose
/// products take 10 of the 15 s that it costs to compile; here only the vectors that were asked for are
/// turned back. The sign of each vector: its entry of largest magnitude, the first among equals, is positive.
/// Only entries on and below the diagonal are read. Throws `ShapeError`, `NonFiniteError`. Test:
/// tests/backend/symmetric_eigen.cpp.
[[nodiscard]] inline SymmetricEigen symmetric_eigen(std::span<const double> matrix, Index n, Index count) {
  require_shape(n >= 1 && static_cast<Index>(matrix.size()) == n * n && count >= 0 && count <= n,
                "eigenvectors: ", count, " of a matrix of ", matrix.size(), " entries; expected ", n, " x ",
                n, " and at most ", n);
  for (Index i = 0; i < n; ++i) {
    for (const double entry :
         matrix.subspan(static_cast<std::size_t>(i * n), static_cast<std::size_t>(i + 1))) {
      if (!std::isfinite(entry)) throw NonFiniteError("a matrix with entries that are not numbers");
    }
  }
  using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Eigen::MatrixXd a = Eigen::Map<const Rows>(matrix.data(), n, n);
  double scale = 0;
  for (Index j = 0; j < n; ++j) scale = std::max(scale, a.col(j).tail(n - j).cwiseAbs().maxCoeff());
  if (scale == 0) scale = 1;
  a /= scale;
  const Eigen::Tridiagonalization<Eigen::MatrixXd> tridiagonal(a);
  Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver;
  solver.computeFromTridiagonal(tridiagonal.diagonal(), tridiagonal.subDiagonal(),
                                count > 0 ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
  if (solver.info() != Eigen::Success)
    throw Error(join("the eigenvalues of a symmetric matrix of ", n, " rows did not settle"));
  SymmetricEigen out;  // the solver's order is the smallest first
  for (Index k = 0; k < n; ++k) out.values.push_back(scale * solver.eigenvalues()(n - 1 - k));
  const Eigen::MatrixXd& packed = tridiagonal.packedMatrix();
  for (Index k = 0; k < count; ++k) {
    Eigen::VectorXd x = solver.eigenvectors().col(n - 1 - k);
    for (Index i = n - 1; i-- > 0;) {  // I - h (1,v) (1,v)^T, v below the subdiagonal
      const auto v = packed.col(i).tail(n - i - 2);
      const double along = tridiagonal.householderCoefficients()(i) * (x(i + 1) + v.dot(x.tail(n - i - 2)));
      x(i + 1) -= along;
      x.tail(n - i - 2) -= along * v;
    }
    const double largest = *std::max_element(x.data(), x.data() + n,
                                             [](double l, double m) { return std::abs(l) < std::abs(m); });
    for (const double value : x) out.vectors.push_back(largest < 0 ? -value : value);
  }
  return out;
}

}  // namespace dssl
