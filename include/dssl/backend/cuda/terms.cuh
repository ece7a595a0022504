// Cuda backend: what losses on matrices of features are made of.
#pragma once

#include <cmath>
#include <cstdint>

#include <dssl/backend/cuda/largest.cuh>
#include <dssl/backend/cuda/loss.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cuda {

/// What rows of labelled logits are, as pointers; null where they are not given.
template <class T>
struct LabelledRows {
  const T* columns;
  const T* positive;
  const std::int32_t* labels;
  const std::int32_t* excluded;

  /// The row's column that is passed over, or -1.
  __device__ __forceinline__ Index hidden(Index row) const { return excluded == nullptr ? Index{-1} : Index{excluded[row]}; }
};

/// Loss and gradients of rows with labels; gradients may lie in the logits' place.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    label_cross_entropy_rows(T* loss, T* d_logits, T* d_positive, LabelledRows<T> logits, Index rows, Index width,
                             T inverse, T factor) {
  const Index row = Team::row();
  if (row >= rows) return;
  const T* const in = logits.columns + row * width;
  T* const out = d_logits + row * width;
  const bool beside = logits.positive != nullptr;
  const Index hidden = logits.hidden(row);
  const Index label = beside ? Index{-1} : logits.labels == nullptr ? row : Index{logits.labels[row]};
  const T of_label = beside ? logits.positive[row] : in[label];
  SoftmaxSum<T> own;
  if (beside && Team::rank() == 0) own.add(of_label, inverse);
  for (Index c = Team::rank(); c < width; c += Team::size()) {
    if (c != hidden) own.add(in[c], inverse);
  }
  const SoftmaxSum<T> whole = own.template of_team<Team>(inverse);
  const T below = (of_label - whole.most) * inverse;
  const T share = T{1} / whole.total;
  for (Index c = Team::rank(); c < width; c += Team::size()) {
    const T q = c == hidden ? T{0} : std::exp((in[c] - whole.most) * inverse) * share;
    out[c] = factor * (c == label ? q - T{1} : q);
  }
  if (Team::rank() != 0) return;
  loss[row] = std::log(whole.total) - below;
  if (beside) d_positive[row] = factor * (std::exp(below) * share - T{1});
}

/// f(x, t) and its slope of each comparison.
struct SquaredPair {
  template <class T>
  static __device__ __forceinline__ T loss(T x, T t) {
    return (x - t) * (x - t);
  }
  template <class T>
  static __device__ __forceinline__ T slope(T x, T t) {
    return T{2} * (x - t);
  }
};
struct SmoothL1Pair {
  template <class T>
  static __device__ __forceinline__ T loss(T x, T t) {
    const T off = x < t ? t - x : x - t;
    return off < T{1} ? off * off / T{2} : off - T{0.5};
  }
  template <class T>
  static __device__ __forceinline__ T slope(T x, T t) {
    const T off = x - t;
    return off < T{-1} ? T{-1} : off > T{1} ? T{1} : off;
  }
};
struct NegativeDotPair {
  template <class T>
  static __device__ __forceinline__ T loss(T x, T t) {
    return -x * t;
  }
  template <class T>
  static __device__ __forceinline__ T slope(T, T t) {
    return -t;
  }
};
template <class T>
__device__ __forceinline__ T positive_part(T x) {
  return x < T{0} ? T{0} : x;
}
struct PositiveSquaredPair {
  template <class T>
  static __device__ __forceinline__ T loss(T x, T t) {
    return SquaredPair::loss(positive_part(x), positive_part(t));
  }
  template <class T>
  static __device__ __forceinline__ T slope(T x, T t) {
    return x < T{0} ? T{0} : SquaredPair::slope(x, positive_part(t));
  }
};
struct SquaredToPositivePair {
  template <class T>
  static __device__ __forceinline__ T loss(T x, T t) {
    return SquaredPair::loss(x, positive_part(t));
  }
  template <class T>
  static __device__ __forceinline__ T slope(T x, T t) {
    return SquaredPair::slope(x, positive_part(t));
  }
};

template <class Team, class Pair, class T>
__global__ void __launch_bounds__(Team::threads)
    compared_rows(T* loss, T* d_x, const T* x, const T* target, Index rows, Index width, T scale) {
  const Index row = Team::row();
  if (row >= rows) return;
  const Index first = row * width;
  T sum = 0;
  for (Index n = Team::rank(); n < width; n += Team::size()) {
    const T v = x[first + n];
    const T t = target[first + n];
    sum += Pair::loss(v, t);
    d_x[first + n] = scale * Pair::slope(v, t);
  }
  sum = Team::sum(sum);
  if (Team::rank() == 0) loss[row] = sum;
}

template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    log_distance_rows(T* loss, T* d_x, const T* x, const T* target, Index rows, Index width, T epsilon, T scale) {
  const Index row = Team::row();
  if (row >= rows) return;
  const Index first = row * width;
  T squares = 0;
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    const T off = x[first + d] - target[first + d] + epsilon;
    squares += off * off;
  }
  const T r = std::sqrt(Team::sum(squares));
  const T factor = r > T{0} ? -scale / (r * (r + epsilon)) : T{0};
  for (Index d = Team::rank(); d < width; d += Team::size()) {
    d_x[first + d] = factor * (x[first + d] - target[first + d] + epsilon);
  }
  if (Team::rank() == 0) loss[row] = -std::log(r + epsilon);
}

/// Of the matrix c = factor x: the loss of each row's number on the diagonal, the sum of squares of the others, and
/// gradients.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    correlation_rows(T* diagonal, T* rest, T* d_x, const T* x, Index width, bool of_std, T factor, T epsilon,
                     T diagonal_scale, T rest_scale) {
  const Index row = Team::row();
  if (row >= width) return;
  const Index first = row * width;
  const T c = factor * x[first + row];
  T squares = 0;
  for (Index j = Team::rank(); j < width; j += Team::size()) {
    const T v = factor * x[first + j];
    if (j != row) squares += v * v;
  }
  squares = Team::sum(squares);  // and everybody has read the number on the diagonal
  for (Index j = Team::rank(); j < width; j += Team::size()) {
    if (j != row) d_x[first + j] = rest_scale * factor * T{2} * (factor * x[first + j]);
  }
  if (Team::rank() != 0) return;
  T loss = (c - T{1}) * (c - T{1});
  T slope = T{2} * (c - T{1});
  if (of_std) {
    const T std = std::sqrt(c + epsilon);
    loss = std >= T{1} ? T{0} : T{1} - std;  // NaN of NaN
    slope = std < T{1} ? T{-0.5} / std : T{0};
  }
  diagonal[row] = loss;
  rest[row] = squares;
  d_x[first + row] = diagonal_scale * factor * slope;
}

/// out (count, rows) = the columns of each row's largest numbers, found one after the other.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    largest_of_each_row(std::int32_t* out, const T* x, const std::int32_t* excluded, Index rows, Index width,
                        Index count) {
  const Index row = Team::row();
  if (row >= rows) return;
  const T* const in = x + row * width;
  const Index hidden = excluded == nullptr ? Index{-1} : Index{excluded[row]};
  T last = 0;
  Index last_column = -1;
  for (Index k = 0; k < count; ++k) {
    PlacedNumber<T> own{least_number<T>(), static_cast<std::int32_t>(width)};
    for (Index c = Team::rank(); c < width; c += Team::size()) {
      const T v = least_where_none(in[c]);
      const bool later = last_column < 0 || v < last || (v == last && c > last_column);
      if (c != hidden && later) own = LargerPlaced{}(own, PlacedNumber<T>{v, static_cast<std::int32_t>(c)});
    }
    own = Team::reduce(own, LargerPlaced{});
    const bool first = Team::rank() == 0;
    if (first) out[k * rows + row] = own.column;
    last_column = Index{Team::max(first ? own.column : std::int32_t{-1})};
    last = least_where_none(in[last_column]);
  }
}

/// out = temperature log sum exp((x - shift) / temperature) of each row.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    log_sums_of_rows(T* out, const T* x, const T* shift, Index rows, Index width, T temperature) {
  const Index row = Team::row();
  if (row >= rows) return;
  const T* const in = x + row * width;
  const T inverse = T{1} / temperature;
  SoftmaxSum<T> own;
  for (Index c = Team::rank(); c < width; c += Team::size()) own.add(shift == nullptr ? in[c] : in[c] - shift[c], inverse);
  const SoftmaxSum<T> whole = own.template of_team<Team>(inverse);
  if (Team::rank() == 0) out[row] = whole.most + temperature * std::log(whole.total);
}

/// A block's share of columns, and lines of threads that take every so many rows of them.
struct LogSumColumns {
  static constexpr int columns = 32;
  static constexpr int lines = 16;
};

/// The same down the columns: a thread a column and line, the lines in their order.
template <class T>
__global__ void __launch_bounds__(LogSumColumns::columns* LogSumColumns::lines)
    log_sums_of_columns(T* out, const T* x, const T* shift, Index rows, Index cols, T temperature) {
  __shared__ T most[LogSumColumns::lines][LogSumColumns::columns];
  __shared__ T total[LogSumColumns::lines][LogSumColumns::columns];
  const T inverse = T{1} / temperature;
  const int line = warp_number();
  const int lane = lane_number();
  const Index col = static_cast<Index>(blockIdx.x) * LogSumColumns::columns + lane;
  SoftmaxSum<T> own;
  if (col < cols) {
    for (Index m = line; m < rows; m += LogSumColumns::lines) {
      own.add(shift == nullptr ? x[m * cols + col] : x[m * cols + col] - shift[m], inverse);
    }
  }
  most[line][lane] = own.most;
  total[line][lane] = own.total;
  __syncthreads();
  if (line != 0 || col >= cols) return;
  T top = most[0][lane];
  for (int i = 1; i < LogSumColumns::lines; ++i) top = Larger{}(top, most[i][lane]);
  T sum = 0;
  for (int i = 0; i < LogSumColumns::lines; ++i) sum += total[i][lane] * std::exp((most[i][lane] - top) * inverse);
  out[col] = top + temperature * std::log(sum);
}

/// The contracts are backend/concept.hpp's. A row is one warp's or one block's; every sum has one order.
template <class T>
void label_cross_entropy(const Stream& stream, VectorView<T> loss, MatrixView<T> d_logits, VectorView<T> d_positive,
                         const LabelledLogits<T>& logits, double temperature, double scale) {
  const MatrixView<const T> columns = logits.columns;
  launch_rows(stream, label_cross_entropy_rows<WarpTeam, T>, label_cross_entropy_rows<BlockTeam, T>, columns.rows(),
              columns.cols(), loss.data(), d_logits.data(), d_positive.data(),
              LabelledRows<T>{columns.data(), logits.positive.data(), logits.labels.data(), logits.excluded.data()},
              columns.rows(), columns.cols(), static_cast<T>(1.0 / temperature), static_cast<T>(scale / temperature));
}

template <class T>
void compare_rows(const Stream& stream, VectorView<T> loss, MatrixView<T> d_x, MatrixView<const T> x,
                  MatrixView<const T> target, Comparison comparison, double scale) {
  require_shape(target.rows() == x.rows() && target.cols() == x.cols() && d_x.rows() == x.rows() && d_x.cols() == x.cols(),
                "compare_rows: x ", x.rows(), " x ", x.cols(), ", target ", target.rows(), " x ", target.cols(), ", d_x ",
                d_x.rows(), " x ", d_x.cols());
  const auto run = [&](auto of_warp, auto of_block) {
    launch_rows(stream, of_warp, of_block, x.rows(), x.cols(), loss.data(), d_x.data(), x.data(), target.data(), x.rows(),
                x.cols(), static_cast<T>(scale));
  };
  switch (comparison) {
    case Comparison::squared:
      return run(&compared_rows<WarpTeam, SquaredPair, T>, &compared_rows<BlockTeam, SquaredPair, T>);
    case Comparison::smooth_l1:
      return run(&compared_rows<WarpTeam, SmoothL1Pair, T>, &compared_rows<BlockTeam, SmoothL1Pair, T>);
    case Comparison::negative_dot:
      return run(&compared_rows<WarpTeam, NegativeDotPair, T>, &compared_rows<BlockTeam, NegativeDotPair, T>);
    case Comparison::positive_squared:
      return run(&compared_rows<WarpTeam, PositiveSquaredPair, T>, &compared_rows<BlockTeam, PositiveSquaredPair, T>);
    case Comparison::squared_to_positive:
      return run(&compared_rows<WarpTeam, SquaredToPositivePair, T>, &compared_rows<BlockTeam, SquaredToPositivePair, T>);
  }
}

template <class T>
void log_distance(const Stream& stream, VectorView<T> loss, MatrixView<T> d_x, MatrixView<const T> x,
                  MatrixView<const T> target, double epsilon, double scale) {
  launch_rows(stream, log_distance_rows<WarpTeam, T>, log_distance_rows<BlockTeam, T>, x.rows(), x.cols(), loss.data(),
              d_x.data(), x.data(), target.data(), x.rows(), x.cols(), static_cast<T>(epsilon), static_cast<T>(scale));
}

template <class T>
void correlation_loss(const Stream& stream, VectorView<T> diagonal, VectorView<T> rest, MatrixView<T> d_x,
                      MatrixView<const T> x, const CorrelationNumbers& numbers) {
  launch_rows(stream, correlation_rows<WarpTeam, T>, correlation_rows<BlockTeam, T>, x.rows(), x.cols(), diagonal.data(),
              rest.data(), d_x.data(), x.data(), x.rows(), numbers.diagonal == Diagonal::least_std_one,
              static_cast<T>(numbers.factor), static_cast<T>(numbers.epsilon), static_cast<T>(numbers.diagonal_scale),
              static_cast<T>(numbers.rest_scale));
}

template <class T>
void largest_columns(const Stream& stream, MatrixView<std::int32_t> out, MatrixView<const T> x, RowIndex excluded) {
  require_shape(out.cols() == x.rows() && out.rows() <= x.cols() - (excluded.empty() ? 0 : 1), "largest_columns: out ",
                out.rows(), " x ", out.cols(), ", x ", x.rows(), " x ", x.cols());
  launch_rows(stream, largest_of_each_row<WarpTeam, T>, largest_of_each_row<BlockTeam, T>, x.rows(), x.cols(), out.data(),
              x.data(), excluded.data(), x.rows(), x.cols(), out.rows());
}

template <class T>
void row_log_sum(const Stream& stream, VectorView<T> out, MatrixView<const T> x, VectorView<const T> shift,
                 double temperature) {
  launch_rows(stream, log_sums_of_rows<WarpTeam, T>, log_sums_of_rows<BlockTeam, T>, x.rows(), x.cols(), out.data(),
              x.data(), shift.data(), x.rows(), x.cols(), static_cast<T>(temperature));
}

template <class T>
void column_log_sum(const Stream& stream, VectorView<T> out, MatrixView<const T> x, VectorView<const T> shift,
                    double temperature) {
  launch(stream, log_sums_of_columns<T>, dim3(blocks_of(x.cols(), LogSumColumns::columns)),
         dim3(LogSumColumns::columns * LogSumColumns::lines), 0, out.data(), x.data(), shift.data(), x.rows(), x.cols(),
         static_cast<T>(temperature));
}

}  // namespace dssl::cuda
