// Cuda backend: layer norm, alone or in one pass with the residual path that it stands in.
#pragma once

#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>

namespace dssl::cuda {

/// `BranchRows` as kernels take it.
template <class T>
struct Branch {
  const std::int32_t* packed = nullptr;
  const T* keep = nullptr;
  const std::int32_t* sequence_of_row = nullptr;

  Branch() = default;
  explicit Branch(const BranchRows<T>& rows)
      : packed(rows.packed.data()),
        keep(rows.keep.empty() ? nullptr : rows.keep.data()),
        sequence_of_row(rows.sequence_of_row.data()) {}

  /// The branch's row of row m, or -1.
  __device__ __forceinline__ Index row(Index m) const {
    return packed == nullptr ? m : static_cast<Index>(packed[m]);
  }
  __device__ __forceinline__ T factor(Index m) const {
    return keep == nullptr ? T{1} : keep[sequence_of_row[m]];
  }
};

/// out[m] = x[m] + keep branch[row of m]; out is null: x is normed as it is.
/// y[row of m] = LN(out[m]) with its mean and inverse_std; y is null: not normed.
///
/// A thread meets the same columns in each pass over its row, so that it reads what it wrote itself. The
/// variance is taken around the mean, in a pass of its own.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    norm_rows(T* out, T* y, T* mean, T* inverse_std, const T* x, const T* branch, Branch<T> from,
              const std::int32_t* to_packed, const T* weight, const T* bias, Index rows, Index width,
              double epsilon) {
  const Index m = Team::row();
  if (m >= rows) return;
  const T* row = x + m * width;
  if (out != nullptr) {
    const Index there = from.row(m);
    const T keep = there >= 0 ? from.factor(m) : T{0};
    for (Index d = Team::rank(); d < width; d += Team::size()) {
      out[m * width + d] = there >= 0 ? row[d] + keep * branch[there * width + d] : row[d];
    }
    row = out + m * width;
  }
  const Index n = to_packed == nullptr ? m : static_cast<Index>(to_packed[m]);
  if (y == nullptr || n < 0) return;
  T sum = 0;
  for (Index d = Team::rank(); d < width; d += Team::size()) sum += row[d];
  const T mu = Team::sum(sum) / static_cast<T>(width);
  T squares = 0;
  for (Index d = Team::rank(); d < width; d += Team::size()) squares += (row[d] - mu) * (row[d] - mu);
  const T scale = T{1} / sqrt(Team::sum(squares) / static_cast<T>(width) + static_cast<T>(epsilon));
  if (Team::rank() == 0) {
    mean[n] = mu;
    inverse_std[n] = scale;
  }
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    y[n * width + d] = (row[d] - mu) * scale * weight[d] + bias[d];
  }
}

/// With u = d_y weight and n = (x - mean) inverse_std: d_x[m] += inverse_std (u - mean(u) - n mean(u n)),
/// where the norm has row m; then d_branch[row of m] = keep d_x[m], where the branch has it. d_y or d_branch
/// may be null.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    norm_rows_backward(T* d_x, T* d_branch, const T* d_y, const std::int32_t* norm_packed, const T* x,
                       const T* mean, const T* inverse_std, const T* weight, Branch<T> to, Index rows,
                       Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  const Index n = d_y == nullptr           ? Index{-1}
                  : norm_packed == nullptr ? m
                                           : static_cast<Index>(norm_packed[m]);
  if (n >= 0) {
    const T* const of_y = d_y + n * width;
    const T* const of_x = x + m * width;
    const T mu = mean[n];
    const T scale = inverse_std[n];
    T sum = 0;
    T sum_normal = 0;
    for (Index d = Team::rank(); d < width; d += Team::size()) {
      const T u = of_y[d] * weight[d];
      sum += u;
      sum_normal += u * ((of_x[d] - mu) * scale);
    }
    const T shift = Team::sum(sum) / static_cast<T>(width);
    const T slope = Team::sum(sum_normal) / static_cast<T>(width);
    for (Index d = Team::rank(); d < width; d += Team::size()) {
      const T normal = (of_x[d] - mu) * scale;
      d_x[m * width + d] += scale * (of_y[d] * weight[d] - shift - normal * slope);
    }
  }
  const Index there = d_branch == nullptr ? Index{-1} : to.row(m);
  if (there < 0) return;
  const T keep = to.factor(m);
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    d_branch[there * width + d] = keep * d_x[m * width + d];
  }
}

/// d_y n and d_y of each element, nothing where the norm has no such row.
template <class T>
struct NormTerms {
  const T* d_y;
  const std::int32_t* norm_packed;
  const T* x;
  const T* mean;
  const T* inverse_std;
  Index width;
  __device__ void operator()(Index m, Index d, T (&value)[2]) const {
    const Index n = norm_packed == nullptr ? m : static_cast<Index>(norm_packed[m]);
    value[0] = value[1] = 0;
    if (n < 0) return;
    value[1] = d_y[n * width + d];
    value[0] = value[1] * ((x[m * width + d] - mean[n]) * inverse_std[n]);
  }
};

/// keep d_x of each element, nothing where the branch has no such row.
template <class T>
struct BranchTerms {
  const T* d_x;
  Branch<T> to;
  Index width;
  __device__ void operator()(Index m, Index d, T (&value)[1]) const {
    value[0] = to.row(m) < 0 ? T{0} : to.factor(m) * d_x[m * width + d];
  }
};

template <class T>
void residual_norm_forward(const Stream& stream, MatrixView<T> out, const NormRows<T>& to,
                           MatrixView<const T> x, MatrixView<const T> branch, const BranchRows<T>& from,
                           RowIndex to_packed, VectorView<const T> weight, VectorView<const T> bias,
                           double epsilon) {
  launch_rows(stream, norm_rows<WarpTeam, T>, norm_rows<BlockTeam, T>, x.rows(), x.cols(), out.data(),
              to.y.data(), to.mean.data(), to.inverse_std.data(), x.data(), branch.data(), Branch<T>(from),
              to_packed.data(), weight.data(), bias.data(), x.rows(), x.cols(), epsilon);
}

template <class T>
void layer_norm_forward(const Stream& stream, MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std,
                        MatrixView<const T> x, VectorView<const T> weight, VectorView<const T> bias,
                        double epsilon) {
  residual_norm_forward(stream, MatrixView<T>{}, NormRows<T>{y, mean, inverse_std}, x, MatrixView<const T>{},
                        BranchRows<T>{}, RowIndex{}, weight, bias, epsilon);
}

template <class T>
void norm_residual_backward(const Stream& stream, MatrixView<T> d_x, VectorView<T> d_weight,
                            VectorView<T> d_bias, MatrixView<T> d_branch, VectorView<T> d_branch_bias,
                            MatrixView<const T> d_y, RowIndex norm_packed, MatrixView<const T> x,
                            VectorView<const T> mean, VectorView<const T> inverse_std,
                            VectorView<const T> weight, const BranchRows<T>& to) {
  const Index rows = d_x.rows();
  const Index width = d_x.cols();
  launch_rows(stream, norm_rows_backward<WarpTeam, T>, norm_rows_backward<BlockTeam, T>, rows, width,
              d_x.data(), d_branch.data(), d_y.data(), norm_packed.data(), x.data(), mean.data(),
              inverse_std.data(), weight.data(), Branch<T>(to), rows, width);
  if (!d_y.empty()) {
    add_column_sums<2>(
        stream, Vectors<T>{{d_weight.data(), d_bias.data()}}, rows, width,
        NormTerms<T>{d_y.data(), norm_packed.data(), x.data(), mean.data(), inverse_std.data(), width});
  }
  if (!d_branch_bias.empty()) {
    add_column_sums<1>(stream, Vectors<T>{{d_branch_bias.data()}}, rows, width,
                       BranchTerms<T>{d_x.data(), Branch<T>(to), width});
  }
}

template <class T>
void layer_norm_backward(const Stream& stream, MatrixView<T> d_x, VectorView<T> d_weight,
                         VectorView<T> d_bias, MatrixView<const T> d_y, MatrixView<const T> x,
                         VectorView<const T> mean, VectorView<const T> inverse_std,
                         VectorView<const T> weight) {
  norm_residual_backward(stream, d_x, d_weight, d_bias, MatrixView<T>{}, VectorView<T>{}, d_y, RowIndex{}, x,
                         mean, inverse_std, weight, BranchRows<T>{});
}

/// out = x + keep branch: the residual path alone.
template <class T>
void residual_forward(const Stream& stream, MatrixView<T> out, MatrixView<const T> x,
                      MatrixView<const T> branch, VectorView<const T> keep, RowIndex sequence_of_row) {
  residual_norm_forward(stream, out, NormRows<T>{}, x, branch, BranchRows<T>{{}, keep, sequence_of_row},
                        RowIndex{}, VectorView<const T>{}, VectorView<const T>{}, 1.0);
}

/// d_branch = keep d_out.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    scale_rows(T* d_branch, const T* d_out, Branch<T> to, Index rows, Index width) {
  const Index m = Team::row();
  if (m >= rows) return;
  const T keep = to.factor(m);
  for (Index d = Team::rank(); d < width; d += Team::size())
    d_branch[m * width + d] = keep * d_out[m * width + d];
}

template <class T>
void residual_backward(const Stream& stream, MatrixView<T> d_branch, MatrixView<const T> d_out,
                       VectorView<const T> keep, RowIndex sequence_of_row) {
  launch_rows(stream, scale_rows<WarpTeam, T>, scale_rows<BlockTeam, T>, d_out.rows(), d_out.cols(),
              d_branch.data(), d_out.data(), Branch<T>(BranchRows<T>{{}, keep, sequence_of_row}),
              d_out.rows(), d_out.cols());
}

}  // namespace dssl::cuda
