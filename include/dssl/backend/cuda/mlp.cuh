// Cuda backend: what projectors, predictors and losses between rows need beside linear layers.
#pragma once

#include <dssl/backend/cuda/batch_norm.cuh>
#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/normalise.cuh>
#include <dssl/backend/cuda/pointwise.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/core/error.hpp>

namespace dssl::cuda {

namespace elements {

template <class T>
struct Relu {
  T* y;
  const T* x;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> v = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) v.value[k] = v.value[k] < T{0} ? T{0} : v.value[k];
    store_pack(y + i, v);
  }
};

template <class T>
struct ReluBackward {
  T* d_x;
  const T* d_y;
  const T* x;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> d = load_pack<W>(d_y + i);
    const Pack<T, W> v = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) d.value[k] = v.value[k] <= T{0} ? T{0} : d.value[k];
    store_pack(d_x + i, d);
  }
};

template <class T>
struct AddScaled {
  T* y;
  const T* x;
  T scale;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> v = load_pack<W>(y + i);
    const Pack<T, W> u = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) v.value[k] += scale * u.value[k];
    store_pack(y + i, v);
  }
};

}  // namespace elements

/// The running statistics of one column a thread.
template <class T>
__global__ void move_running(T* running_mean, T* running_variance, const T* mean, const T* inverse_std, Index width,
                             double unbiased, double momentum, double epsilon) {
  const Index d = grid_thread();
  if (d >= width) return;
  const double scale = static_cast<double>(inverse_std[d]);
  const double biased = 1.0 / (scale * scale) - epsilon;
  const double variance = (biased < 0.0 ? 0.0 : biased) * unbiased;  // rounding may go below 0
  running_mean[d] = static_cast<T>((1.0 - momentum) * static_cast<double>(running_mean[d]) +
                                   momentum * static_cast<double>(mean[d]));
  running_variance[d] =
      static_cast<T>((1.0 - momentum) * static_cast<double>(running_variance[d]) + momentum * variance);
}

/// out = 1 / sqrt(variance + epsilon).
template <class T>
__global__ void inverse_stds_of(T* out, const T* variance, Index width, double epsilon) {
  const Index d = grid_thread();
  if (d < width) out[d] = static_cast<T>(1.0 / sqrt(static_cast<double>(variance[d]) + epsilon));
}

/// d_x = inverse_std weight d_y; d_x may be d_y.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    scale_columns(T* d_x, const T* d_y, const T* inverse_std, const T* weight, Index rows, Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    d_x[m * width + d] = inverse_std[d] * gain_of(weight, d) * d_y[m * width + d];
  }
}

template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    dots_of_rows(T* out, const T* a, const T* b, Index rows, Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  const T dot = dot_product<Team>(a + m * width, b + m * width, width);
  if (Team::rank() == 0) out[m] = dot;
}

template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    weighted_rows(T* y, const T* x, const T* weight, Index rows, Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  const T scale = weight[m];
  for (Index d = Team::rank(); d < width; d += Team::size()) y[m * width + d] += scale * x[m * width + d];
}

/// See `MlpPrimitives` in backend/concept.hpp, here and below.
template <class T>
void relu_forward(const Stream& stream, MatrixView<T> y, MatrixView<const T> x) {
  for_elements<T>(stream, x.size(), elements::Relu<T>{y.data(), x.data()}, y.data(), x.data());
}

template <class T>
void relu_backward(const Stream& stream, MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> x) {
  for_elements<T>(stream, x.size(), elements::ReluBackward<T>{d_x.data(), d_y.data(), x.data()}, d_x.data(),
                  d_y.data(), x.data());
}

template <class T>
void batch_norm_update(const Stream& stream, VectorView<T> running_mean, VectorView<T> running_variance,
                       VectorView<const T> mean, VectorView<const T> inverse_std, Index rows, double momentum,
                       double epsilon) {
  require_shape(rows >= 2, "batch_norm_update: ", rows, " rows; expected at least 2, as one has no variance");
  const Index width = mean.size();
  launch(stream, move_running<T>, dim3(blocks_of(width, 256)), dim3(256), 0, running_mean.data(),
         running_variance.data(), mean.data(), inverse_std.data(), width,
         static_cast<double>(rows) / static_cast<double>(rows - 1), momentum, epsilon);
}

/// Takes the stream's scratch memory.
template <class T>
void batch_norm_evaluate_forward(const Stream& stream, MatrixView<T> y, MatrixView<const T> x,
                                 VectorView<const T> running_mean, VectorView<const T> running_variance,
                                 VectorView<const T> weight, VectorView<const T> bias, double epsilon) {
  const Index rows = x.rows();
  const Index width = x.cols();
  T* const inverse_std = stream.scratch<T>(width);
  launch(stream, inverse_stds_of<T>, dim3(blocks_of(width, 256)), dim3(256), 0, inverse_std,
         running_variance.data(), width, epsilon);
  launch_rows(stream, batch_norm_rows<WarpTeam, T>, batch_norm_rows<BlockTeam, T>, rows, width, y.data(), x.data(),
              running_mean.data(), static_cast<const T*>(inverse_std), weight.data(), bias.data(), rows, width);
}

/// Takes the stream's scratch memory.
template <class T>
void batch_norm_evaluate_backward(const Stream& stream, MatrixView<T> d_x, VectorView<T> d_weight,
                                  VectorView<T> d_bias, MatrixView<const T> d_y, MatrixView<const T> x,
                                  VectorView<const T> running_mean, VectorView<const T> running_variance,
                                  VectorView<const T> weight, double epsilon) {
  const Index rows = x.rows();
  const Index width = x.cols();
  const ColumnParts cut(rows);
  T* const parts = stream.scratch<T>((2 * cut.count + 1) * width);
  T* const inverse_std = parts + 2 * cut.count * width;
  launch(stream, inverse_stds_of<T>, dim3(blocks_of(width, 256)), dim3(256), 0, inverse_std,
         running_variance.data(), width, epsilon);
  if (!d_weight.empty() || !d_bias.empty()) {
    take_column_parts<2>(stream, parts, cut, rows, width,
                         BatchNormTerms<T>{d_y.data(), x.data(), running_mean.data(), inverse_std, width});
    launch(stream, add_column_parts<T, 2>, dim3(blocks_of(2 * width, 256)), dim3(256), 0,
           Vectors<T>{{d_weight.data(), d_bias.data()}}, static_cast<const T*>(parts), cut.count, width, 1.0);
  }
  launch_rows(stream, scale_columns<WarpTeam, T>, scale_columns<BlockTeam, T>, rows, width, d_x.data(), d_y.data(),
              static_cast<const T*>(inverse_std), weight.data(), rows, width);
}

template <class T>
void add_scaled(const Stream& stream, VectorView<T> y, VectorView<const T> x, double scale) {
  for_elements<T>(stream, y.size(), elements::AddScaled<T>{y.data(), x.data(), static_cast<T>(scale)}, y.data(),
                  x.data());
}

template <class T>
void row_dots(const Stream& stream, VectorView<T> out, MatrixView<const T> a, MatrixView<const T> b) {
  launch_rows(stream, dots_of_rows<WarpTeam, T>, dots_of_rows<BlockTeam, T>, a.rows(), a.cols(), out.data(),
              a.data(), b.data(), a.rows(), a.cols());
}

template <class T>
void add_weighted_rows(const Stream& stream, MatrixView<T> y, MatrixView<const T> x, VectorView<const T> weight) {
  launch_rows(stream, weighted_rows<WarpTeam, T>, weighted_rows<BlockTeam, T>, x.rows(), x.cols(), y.data(),
              x.data(), weight.data(), x.rows(), x.cols());
}

}  // namespace dssl::cuda
