// Cuda backend: batch norm, over the rows of a call.
#pragma once

#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/runtime.cuh>

namespace dssl::cuda {

/// x - x[0] of each element: of a column of one value, nothing.
template <class T>
struct FromFirstTerms {
  const T* x;
  Index width;
  __device__ void operator()(Index m, Index d, T (&value)[1]) const { value[0] = x[m * width + d] - x[d]; }
};

/// (x - mean)^2 of each element.
template <class T>
struct VarianceTerms {
  const T* x;
  const T* mean;
  Index width;
  __device__ void operator()(Index m, Index d, T (&value)[1]) const {
    const T off = x[m * width + d] - mean[d];
    value[0] = off * off;
  }
};

/// d_y n and d_y of each element, n = (x - mean) inverse_std.
template <class T>
struct BatchNormTerms {
  const T* d_y;
  const T* x;
  const T* mean;
  const T* inverse_std;
  Index width;
  __device__ void operator()(Index m, Index d, T (&value)[2]) const {
    value[1] = d_y[m * width + d];
    value[0] = value[1] * ((x[m * width + d] - mean[d]) * inverse_std[d]);
  }
};

/// mean = x[0] + the sum of the parts / rows.
template <class T>
__global__ void means_of_parts(T* mean, const T* x, const T* parts, Index count, Index rows, Index width) {
  const Index d = grid_thread();
  if (d >= width) return;
  const double sum = parts_total<T, 1>(parts, count, width, 0, d);
  mean[d] = static_cast<T>(static_cast<double>(x[d]) + sum / static_cast<double>(rows));
}

/// inverse_std = 1 / sqrt(the sum of the parts / rows + epsilon).
template <class T>
__global__ void inverse_stds_of_parts(T* inverse_std, const T* parts, Index count, Index rows, Index width,
                                      double epsilon) {
  const Index d = grid_thread();
  if (d >= width) return;
  const double sum = parts_total<T, 1>(parts, count, width, 0, d);
  inverse_std[d] = static_cast<T>(1.0 / sqrt(sum / static_cast<double>(rows) + epsilon));
}

/// The weight or the bias of a column where there is one.
template <class T>
__device__ __forceinline__ T gain_of(const T* weight, Index d) {
  return weight == nullptr ? T{1} : weight[d];
}
template <class T>
__device__ __forceinline__ T shift_of(const T* bias, Index d) {
  return bias == nullptr ? T{0} : bias[d];
}

/// d_weight += and d_bias += the sums of the parts, where they are there; means (2, width) = the sums / rows.
template <class T>
__global__ void batch_norm_sums(T* d_weight, T* d_bias, T* means, const T* parts, Index count, Index rows,
                                Index width) {
  const Index d = grid_thread();
  if (d >= width) return;
  const double of_weight = parts_total<T, 2>(parts, count, width, 0, d);
  const double of_bias = parts_total<T, 2>(parts, count, width, 1, d);
  if (d_weight != nullptr) d_weight[d] += static_cast<T>(of_weight);
  if (d_bias != nullptr) d_bias[d] += static_cast<T>(of_bias);
  means[d] = static_cast<T>(of_weight / static_cast<double>(rows));
  means[width + d] = static_cast<T>(of_bias / static_cast<double>(rows));
}

template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    batch_norm_rows(T* y, const T* x, const T* mean, const T* inverse_std, const T* weight, const T* bias,
                    Index rows, Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    y[m * width + d] = (x[m * width + d] - mean[d]) * inverse_std[d] * gain_of(weight, d) + shift_of(bias, d);
  }
}

/// d_x = inverse_std weight (d_y - means[1] - n means[0]); d_x may be d_y.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    batch_norm_rows_backward(T* d_x, const T* d_y, const T* x, const T* mean, const T* inverse_std,
                             const T* weight, const T* means, Index rows, Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    const T n = (x[m * width + d] - mean[d]) * inverse_std[d];
    const T off = d_y[m * width + d] - means[width + d] - n * means[d];
    d_x[m * width + d] = inverse_std[d] * gain_of(weight, d) * off;
  }
}

/// See `BatchNormPrimitives` in backend/concept.hpp: the mean, the variance around it, then the rows. Takes
/// the stream's scratch memory.
template <class T>
void batch_norm_forward(const Stream& stream, MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std,
                        MatrixView<const T> x, VectorView<const T> weight, VectorView<const T> bias,
                        double epsilon) {
  const Index rows = x.rows();
  const Index width = x.cols();
  const ColumnParts cut(rows);
  T* const parts = stream.scratch<T>(cut.count * width);
  const T* const sums = parts;
  const dim3 grid(blocks_of(width, 256));
  take_column_parts<1>(stream, parts, cut, rows, width, FromFirstTerms<T>{x.data(), width});
  launch(stream, means_of_parts<T>, grid, dim3(256), 0, mean.data(), x.data(), sums, cut.count, rows, width);
  take_column_parts<1>(stream, parts, cut, rows, width, VarianceTerms<T>{x.data(), mean.data(), width});
  launch(stream, inverse_stds_of_parts<T>, grid, dim3(256), 0, inverse_std.data(), sums, cut.count, rows,
         width, epsilon);
  launch_rows(stream, batch_norm_rows<WarpTeam, T>, batch_norm_rows<BlockTeam, T>, rows, width, y.data(),
              x.data(), mean.data(), inverse_std.data(), weight.data(), bias.data(), rows, width);
}

/// See `BatchNormPrimitives` in backend/concept.hpp. Takes the stream's scratch memory.
template <class T>
void batch_norm_backward(const Stream& stream, MatrixView<T> d_x, VectorView<T> d_weight,
                         VectorView<T> d_bias, MatrixView<const T> d_y, MatrixView<const T> x,
                         VectorView<const T> mean, VectorView<const T> inverse_std,
                         VectorView<const T> weight) {
  const Index rows = x.rows();
  const Index width = x.cols();
  const ColumnParts cut(rows);
  T* const parts = stream.scratch<T>((cut.count + 1) * 2 * width);
  T* const means = parts + cut.count * 2 * width;
  take_column_parts<2>(stream, parts, cut, rows, width,
                       BatchNormTerms<T>{d_y.data(), x.data(), mean.data(), inverse_std.data(), width});
  launch(stream, batch_norm_sums<T>, dim3(blocks_of(width, 256)), dim3(256), 0, d_weight.data(),
         d_bias.data(), means, static_cast<const T*>(parts), cut.count, rows, width);
  launch_rows(stream, batch_norm_rows_backward<WarpTeam, T>, batch_norm_rows_backward<BlockTeam, T>, rows,
              width, d_x.data(), d_y.data(), x.data(), mean.data(), inverse_std.data(), weight.data(),
              static_cast<const T*>(means), rows, width);
}

}  // namespace dssl::cuda
