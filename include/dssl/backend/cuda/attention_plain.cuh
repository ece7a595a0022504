// Cuda backend: attention in the backend's own numbers, for heads of any width.
#pragma once

#include <cmath>

#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/cuda/token_set.cuh>

// A block owns 32 tokens of one head of one sequence and walks over the tokens that they meet, 32 at a time;
// the head's width goes through shared memory 32 numbers at a time, sums over tokens stand in the result's
// own place in memory, which one thread alone reads and writes. Four neighbouring threads share a row.

namespace dssl::cuda {

inline constexpr int plain_threads = 128;
inline constexpr int plain_rows = 32;

namespace detail {

/// 32 rows of 32 numbers in shared memory, read 16 bytes at a time; eight neighbouring rows of such a column
/// lie in 32 banks.
template <class T>
struct PlainTile {
  static constexpr int stride = plain_rows + wide<T>;
  Pack<T, wide<T>> packs[plain_rows * stride / wide<T>];

  [[nodiscard]] __device__ T* row(int i) { return reinterpret_cast<T*>(packs) + i * stride; }
  [[nodiscard]] __device__ const T* row(int i) const {
    return reinterpret_cast<const T*>(packs) + i * stride;
  }
  /// Numbers [c, c + 16 bytes) of row i.
  [[nodiscard]] __device__ const Pack<T, wide<T>>& pack(int i, int c) const {
    return packs[(i * stride + c) / wide<T>];
  }
};

/// f(c) for the columns that a thread has of its row: every fourth 16 bytes.
template <class T, class F>
__device__ void over_own_columns(int width, const F& f) {
  for (int first = thread_number() % 4 * wide<T>; first < width; first += 4 * wide<T>) {
    for (int c = first; c < first + wide<T> && c < width; ++c) f(c);
  }
}

/// Largest, or sum, over the four threads of a row, in each of them: cub::WarpReduce of four would give it to one, and
/// a third shuffle to the rest.
template <class T>
[[nodiscard]] __device__ T largest_of_row(T x) {
  for (int with = 1; with < 4; with *= 2) {
    const T other = __shfl_xor_sync(whole_warp, x, with);
    x = x < other || other != other ? other : x;
  }
  return x;
}
template <class T>
[[nodiscard]] __device__ T sum_of_row(T x) {
  x += __shfl_xor_sync(whole_warp, x, 1);
  return x + __shfl_xor_sync(whole_warp, x, 2);
}

/// Numbers [from, from + 32) of the rows `row_of(i)`, zeros where there are none. Barriers around it are the
/// caller's.
template <class T, class RowOf>
__device__ void load_plain(PlainTile<T>& tile, int from, int width, const RowOf& row_of) {
  for (int item = thread_number(); item < plain_rows * plain_rows; item += plain_threads) {
    const int i = item / plain_rows;
    const int c = item % plain_rows;
    const T* row = row_of(i);
    tile.row(i)[c] = row != nullptr && from + c < width ? row[from + c] : T{0};
  }
}

/// out[i][j] = left row i . right row j. To be read after a barrier.
template <class T, class LeftOf, class RightOf>
__device__ void plain_products(PlainTile<T>& out, PlainTile<T>& left, PlainTile<T>& right, int width,
                               const LeftOf& left_of, const RightOf& right_of) {
  const int i = thread_number() / 8 * 2;
  const int j = thread_number() % 8;
  T sum[2][4] = {};
  for (int from = 0; from < width; from += plain_rows) {
    __syncthreads();
    load_plain(left, from, width, left_of);
    load_plain(right, from, width, right_of);
    __syncthreads();
#pragma unroll 2
    for (int c = 0; c < plain_rows; c += wide<T>) {
      const Pack<T, wide<T>> upper = left.pack(i, c);
      const Pack<T, wide<T>> lower = left.pack(i + 1, c);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const Pack<T, wide<T>> x = right.pack(j + 8 * n, c);
#pragma unroll
        for (int k = 0; k < wide<T>; ++k) {
          sum[0][n] += upper.value[k] * x.value[k];
          sum[1][n] += lower.value[k] * x.value[k];
        }
      }
    }
  }
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    out.row(i)[j + 8 * n] = sum[0][n];
    out.row(i + 1)[j + 8 * n] = sum[1][n];
  }
}

/// to = factor to + sum_j weights[i][j] right row j, where `to` (null: none) is this thread's row i, of which
/// it has its own columns.
template <class T, class RightOf>
__device__ void add_plain(T* to, T factor, const PlainTile<T>& weights, PlainTile<T>& right, int width,
                          const RightOf& right_of) {
  constexpr int packs = plain_rows / (4 * wide<T>);
  const int i = thread_number() / 4;
  const int own = thread_number() % 4 * wide<T>;
  for (int from = 0; from < width; from += plain_rows) {
    __syncthreads();
    load_plain(right, from, width, right_of);
    __syncthreads();
    T sum[packs][wide<T>] = {};
#pragma unroll 2
    for (int first = 0; first < plain_rows; first += wide<T>) {
      const Pack<T, wide<T>> weight = weights.pack(i, first);
#pragma unroll
      for (int j = 0; j < wide<T>; ++j) {
#pragma unroll
        for (int n = 0; n < packs; ++n) {
          const Pack<T, wide<T>> x = right.pack(first + j, own + 4 * wide<T> * n);
#pragma unroll
          for (int k = 0; k < wide<T>; ++k) sum[n][k] += weight.value[j] * x.value[k];
        }
      }
    }
#pragma unroll
    for (int n = 0; n < packs; ++n) {
#pragma unroll
      for (int k = 0; k < wide<T>; ++k) {
        const int c = from + own + 4 * wide<T> * n + k;
        if (to != nullptr && c < width) to[c] = factor * to[c] + sum[n][k];
      }
    }
  }
}

}  // namespace detail

/// out and log_sum of a tile of queries, in one walk over the keys.
template <class T>
__global__ void __launch_bounds__(plain_threads)
    attention_forward_plain(T* out, T* log_sum, const T* qkv, AttentionShape shape) {
  __shared__ detail::PlainTile<T> left;
  __shared__ detail::PlainTile<T> right;
  __shared__ detail::PlainTile<T> scores;
  const AttentionPlace place(shape);
  const TokenSet queries(place.sequence, shape.pattern.queries());
  const TokenSet keys(place.sequence, shape.pattern.keys());
  const int begin = place.tile * plain_rows;
  if (begin >= queries.size()) return;
  const HeadSlices<const T> slices(qkv, shape, place);
  const int width = shape.width;
  const T scale = static_cast<T>(shape.scale);
  const T least = -static_cast<T>(INFINITY);

  const int part = thread_number() % 4;
  const int i = begin + thread_number() / 4;
  const bool there = i < queries.size();
  const int row = there ? queries.token(i) : 0;
  const GroupBits sees = there ? shape.pattern.sees(queries.group(i)) : 7U;
  const bool self = there && (shape.pattern.self() >> queries.group(i) & 1U) != 0;
  T* const to = there ? HeadSlice<T>(out, shape, place).row(row) : nullptr;

  // A query's own key is the first term.
  T most = least;
  T total = 0;
  T score = 0;
  if (self)
    detail::over_own_columns<T>(width, [&](int c) { score += slices.query(row)[c] * slices.key(row)[c]; });
  score = detail::sum_of_row(score);
  if (self) {
    most = score * scale;
    total = 1;
  }
  if (there) detail::over_own_columns<T>(width, [&](int c) { to[c] = self ? slices.value(row)[c] : T{0}; });

  const Meeting meeting(queries.groups(begin, begin + plain_rows),
                        [&](unsigned group) { return shape.pattern.sees(group); });
  const auto query_at = [&](int n) {
    return begin + n < queries.size() ? slices.query(queries.token(begin + n)) : nullptr;
  };
  for (int first = 0; first < keys.size(); first += plain_rows) {
    if (meeting.nothing(keys.groups(first, first + plain_rows))) continue;
    const auto key_at = [&](int n) {
      return first + n < keys.size() ? slices.key(keys.token(first + n)) : nullptr;
    };
    const auto value_at = [&](int n) {
      return first + n < keys.size() ? slices.value(keys.token(first + n)) : nullptr;
    };
    detail::plain_products(scores, left, right, width, query_at, key_at);
    __syncthreads();
    T* const of_row = scores.row(thread_number() / 4);
    T largest = least;
    for (int n = part; n < plain_rows; n += 4) {
      const bool seen = (sees >> keys.group(first + n) & 1U) != 0;
      of_row[n] = seen ? of_row[n] * scale : least;
      if (!(of_row[n] <= largest)) largest = of_row[n];
    }
    largest = detail::largest_of_row(largest < most ? most : largest);
    const T shift = largest == least ? T{0} : largest;  // nothing seen so far
    const T factor = std::exp(most - shift);
    most = largest;
    T sum = 0;
    for (int n = part; n < plain_rows; n += 4) sum += of_row[n] = std::exp(of_row[n] - shift);
    total = total * factor + detail::sum_of_row(sum);
    detail::add_plain(to, factor, scores, right, width, value_at);
  }
  if (!there) return;
  const T inverse = T{1} / total;
  detail::over_own_columns<T>(width, [&](int c) { to[c] *= inverse; });
  if (part == 0) HeadColumn<T>(log_sum, shape, place).at(row) = most + std::log(total);
}

/// d_q of a tile of queries, or d_k and d_v of a tile of keys, in one walk over the keys (queries) that they
/// meet; weights are made again from log_sum. `along` (M,H): d_out . out of each row and head.
template <class T, bool OfQueries>
__global__ void __launch_bounds__(plain_threads)
    attention_backward_plain(T* d_qkv, const T* d_out, const T* along, const T* log_sum, const T* qkv,
                             AttentionShape shape) {
  __shared__ detail::PlainTile<T> left;
  __shared__ detail::PlainTile<T> right;
  __shared__ detail::PlainTile<T> weights;
  __shared__ detail::PlainTile<T> d_scores;
  const AttentionPlace place(shape);
  const TokenSet own(place.sequence, OfQueries ? shape.pattern.queries() : shape.pattern.keys());
  const TokenSet others(place.sequence, OfQueries ? shape.pattern.keys() : shape.pattern.queries());
  const int begin = place.tile * plain_rows;
  if (begin >= own.size()) return;
  const HeadSlices<const T> slices(qkv, shape, place);
  const HeadSlice<const T> d_outs(d_out, shape, place);
  const HeadColumn<const T> log_sums(log_sum, shape, place);
  const HeadColumn<const T> alongs(along, shape, place);
  const HeadSlices<T> gradients(d_qkv, shape, place);
  const int width = shape.width;
  const T scale = static_cast<T>(shape.scale);

  const int part = thread_number() % 4;
  const int i = begin + thread_number() / 4;
  const bool there = i < own.size();
  const int row = there ? own.token(i) : 0;
  const auto met_by = [&](unsigned group) {
    return OfQueries ? shape.pattern.sees(group) : shape.pattern.seen_by(group);
  };
  const GroupBits meets = there ? met_by(own.group(i)) : 0U;
  T* const d_first = !there ? nullptr : OfQueries ? gradients.query(row) : gradients.key(row);
  T* const d_value = there && !OfQueries ? gradients.value(row) : nullptr;
  if (there) {
    detail::over_own_columns<T>(width, [&](int c) {
      d_first[c] = 0;
      if (!OfQueries) d_value[c] = 0;
    });
  }

  const Meeting meeting(own.groups(begin, begin + plain_rows), met_by);
  // Queries bring q and d_out, keys bring k and v.
  const auto first_of = [&](const TokenSet& set, int n, bool query) -> const T* {
    if (n >= set.size()) return nullptr;
    return query ? slices.query(set.token(n)) : slices.key(set.token(n));
  };
  const auto second_of = [&](const TokenSet& set, int n, bool query) -> const T* {
    if (n >= set.size()) return nullptr;
    return query ? d_outs.row(set.token(n)) : slices.value(set.token(n));
  };
  for (int at = 0; at < others.size(); at += plain_rows) {
    if (meeting.nothing(others.groups(at, at + plain_rows))) continue;
    const auto own_first = [&](int n) { return first_of(own, begin + n, OfQueries); };
    const auto own_second = [&](int n) { return second_of(own, begin + n, OfQueries); };
    const auto other_first = [&](int n) { return first_of(others, at + n, !OfQueries); };
    const auto other_second = [&](int n) { return second_of(others, at + n, !OfQueries); };
    detail::plain_products(weights, left, right, width, own_first, other_first);
    detail::plain_products(d_scores, left, right, width, own_second, other_second);
    __syncthreads();
    for (int n = part; n < plain_rows; n += 4) {
      T& weight = weights.row(thread_number() / 4)[n];
      T& d_score = d_scores.row(thread_number() / 4)[n];
      if ((meets >> others.group(at + n) & 1U) == 0) {
        weight = d_score = 0;
        continue;
      }
      const int query = OfQueries ? row : others.token(at + n);
      weight = std::exp(weight * scale - log_sums.at(query));
      d_score = weight * (d_score - alongs.at(query)) * scale;
    }
    if (!OfQueries) detail::add_plain(d_value, T{1}, weights, right, width, other_second);
    detail::add_plain(d_first, T{1}, d_scores, right, width, other_first);
  }
}

/// Before the walks of the backward pass, one block a head of a sequence: `along` of its queries, and zeros
/// for what no walk gives: d_q of tokens that are no queries, d_k and d_v of those that no group sees.
template <class T>
__global__ void __launch_bounds__(plain_threads)
    attention_backward_begin(T* d_qkv, T* along, const T* d_out, const T* out, AttentionShape shape) {
  const AttentionPlace place(shape);
  const TokenSet all(place.sequence, 7U);
  const HeadSlices<T> gradients(d_qkv, shape, place);
  const HeadSlice<const T> d_outs(d_out, shape, place);
  const HeadSlice<const T> outs(out, shape, place);
  const HeadColumn<T> alongs(along, shape, place);
  for (int token = warp_number(); token < all.size(); token += plain_threads / warp_size) {
    const GroupBits group = 1U << all.group(token);
    const bool query = (shape.pattern.queries() & group) != 0;
    const bool key = (shape.pattern.keys() & group) != 0;
    if (query) {
      T sum = 0;
      for (int c = lane_number(); c < shape.width; c += warp_size)
        sum += d_outs.row(token)[c] * outs.row(token)[c];
      sum = warp_sum(sum);
      if (lane_number() == 0) alongs.at(token) = sum;
    }
    for (int c = lane_number(); c < shape.width; c += warp_size) {
      if (!query) gradients.query(token)[c] = 0;
      if (!key) gradients.key(token)[c] = gradients.value(token)[c] = 0;
    }
  }
}

/// After the walks, one block a head of a sequence: what queries owe to their own keys, which they see alone.
template <class T>
__global__ void __launch_bounds__(plain_threads)
    attention_backward_self(T* d_qkv, const T* d_out, const T* along, const T* log_sum, const T* qkv,
                            AttentionShape shape) {
  const AttentionPlace place(shape);
  const TokenSet selves(place.sequence, shape.pattern.self());
  const HeadSlices<const T> slices(qkv, shape, place);
  const HeadSlices<T> gradients(d_qkv, shape, place);
  const HeadSlice<const T> d_outs(d_out, shape, place);
  const T scale = static_cast<T>(shape.scale);
  for (int i = warp_number(); i < selves.size(); i += plain_threads / warp_size) {
    const int token = selves.token(i);
    const T* q = slices.query(token);
    const T* k = slices.key(token);
    const T* v = slices.value(token);
    const T* d = d_outs.row(token);
    T score = 0;
    T d_weight = 0;
    for (int c = lane_number(); c < shape.width; c += warp_size) {
      score += q[c] * k[c];
      d_weight += d[c] * v[c];
    }
    score = warp_sum(score);
    d_weight = warp_sum(d_weight);
    const T weight = std::exp(score * scale - HeadColumn<const T>(log_sum, shape, place).at(token));
    const T d_score = weight * (d_weight - HeadColumn<const T>(along, shape, place).at(token)) * scale;
    for (int c = lane_number(); c < shape.width; c += warp_size) {
      gradients.query(token)[c] += d_score * k[c];
      gradients.key(token)[c] += d_score * q[c];
      gradients.value(token)[c] += weight * d[c];
    }
  }
}

}  // namespace dssl::cuda
