// Cuda backend: rows of unit length, and prototypes of learned length.
#pragma once

#include <dssl/backend/cuda/runtime.cuh>

namespace dssl::cuda {

/// The squared length of a row, in every thread of the team.
template <class Team, class T>
__device__ __forceinline__ T squared_length(const T* row, Index width) {
  T squares = 0;
  for (Index d = Team::rank(); d < width; d += Team::size()) squares += row[d] * row[d];
  return Team::sum(squares);
}

template <class Team, class T>
__device__ __forceinline__ T dot_product(const T* a, const T* b, Index width) {
  T sum = 0;
  for (Index d = Team::rank(); d < width; d += Team::size()) sum += a[d] * b[d];
  return Team::sum(sum);
}

/// y = scale x / norm; norm = max(|x|, least), scale = g or 1.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    unit_rows(T* y, T* norm, const T* x, const T* g, Index rows, Index width, double least) {
  const Index m = Team::row();
  if (m >= rows) return;
  const T length = sqrt(squared_length<Team>(x + m * width, width));
  const T n = length < static_cast<T>(least) ? static_cast<T>(least) : length;
  const T scale = (g == nullptr ? T{1} : g[m]) / n;
  if (Team::rank() == 0) norm[m] = n;
  for (Index d = Team::rank(); d < width; d += Team::size()) y[m * width + d] = scale * x[m * width + d];
}

/// d_x = (d_y - (d_y . y) y) / norm, without the second term where the norm is a constant.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    unit_rows_backward(T* d_x, const T* d_y, const T* y, const T* norm, Index rows, Index width,
                       double epsilon) {
  const Index m = Team::row();
  if (m >= rows) return;
  const T n = norm[m];
  T dot = 0;
  if (static_cast<double>(n) > epsilon) dot = dot_product<Team>(d_y + m * width, y + m * width, width);
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    d_x[m * width + d] = (d_y[m * width + d] - dot * y[m * width + d]) / n;
  }
}

/// d_v += g / |v| (d_w - (d_w . v / |v|) v / |v|); d_g += d_w . v / |v|.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    weight_norm_rows_backward(T* d_v, T* d_g, const T* d_w, const T* v, const T* g, const T* norm, Index rows,
                              Index width) {
  const Index p = Team::row();
  if (p >= rows) return;
  const T n = norm[p];
  const T dot = dot_product<Team>(d_w + p * width, v + p * width, width) / n;
  if (d_g != nullptr && Team::rank() == 0) d_g[p] += dot;
  const T scale = (g == nullptr ? T{1} : g[p]) / n;
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    d_v[p * width + d] += scale * (d_w[p * width + d] - dot * (v[p * width + d] / n));
  }
}

template <class T>
void l2_normalise_forward(const Stream& stream, MatrixView<T> y, VectorView<T> norm, MatrixView<const T> x,
                          double epsilon) {
  launch_rows(stream, unit_rows<WarpTeam, T>, unit_rows<BlockTeam, T>, x.rows(), x.cols(), y.data(),
              norm.data(), x.data(), static_cast<const T*>(nullptr), x.rows(), x.cols(), epsilon);
}

template <class T>
void l2_normalise_backward(const Stream& stream, MatrixView<T> d_x, MatrixView<const T> d_y,
                           MatrixView<const T> y, VectorView<const T> norm, double epsilon) {
  launch_rows(stream, unit_rows_backward<WarpTeam, T>, unit_rows_backward<BlockTeam, T>, y.rows(), y.cols(),
              d_x.data(), d_y.data(), y.data(), norm.data(), y.rows(), y.cols(), epsilon);
}

template <class T>
void weight_norm_forward(const Stream& stream, MatrixView<T> w, VectorView<T> norm, MatrixView<const T> v,
                         VectorView<const T> g) {
  launch_rows(stream, unit_rows<WarpTeam, T>, unit_rows<BlockTeam, T>, v.rows(), v.cols(), w.data(),
              norm.data(), v.data(), g.data(), v.rows(), v.cols(), 0.0);
}

template <class T>
void weight_norm_backward(const Stream& stream, MatrixView<T> d_v, VectorView<T> d_g, MatrixView<const T> d_w,
                          MatrixView<const T> v, VectorView<const T> g, VectorView<const T> norm) {
  launch_rows(stream, weight_norm_rows_backward<WarpTeam, T>, weight_norm_rows_backward<BlockTeam, T>,
              v.rows(), v.cols(), d_v.data(), d_g.data(), d_w.data(), v.data(), g.data(), norm.data(),
              v.rows(), v.cols());
}

}  // namespace dssl::cuda
