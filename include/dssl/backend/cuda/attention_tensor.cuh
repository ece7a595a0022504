// Cuda backend: attention on the tensor cores, operands rounded to bf16 or TF32, sums and softmax in float.
#pragma once

#include <cmath>
#include <cstdint>

#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/cuda/matrix_fragment.cuh>
#include <dssl/backend/cuda/token_set.cuh>
#include <dssl/backend/cuda/token_tile.cuh>

// A block of four warps owns 64 tokens of one head of one sequence, a warp 16 of them, and walks over the
// tokens that they meet, a tile in shared memory at a time. `Wide` is the head's width rounded up; the rest
// is zeros.

namespace dssl::cuda {

inline constexpr int tensor_threads = 128;
inline constexpr int tensor_rows = 64;

namespace detail {

inline constexpr float log2_e = 1.44269504088896340736F;
inline constexpr float log_of_2 = 0.69314718055994530942F;

/// Largest, or sum, over the four lanes that share rows of a fragment, in each of them; own as in attention_plain.cuh.
[[nodiscard]] __device__ inline float largest_of_four(float x) {
  x = fmaxf(x, __shfl_xor_sync(whole_warp, x, 1));
  return fmaxf(x, __shfl_xor_sync(whole_warp, x, 2));
}
[[nodiscard]] __device__ inline float sum_of_four(float x) {
  x += __shfl_xor_sync(whole_warp, x, 1);
  return x + __shfl_xor_sync(whole_warp, x, 2);
}

/// Fills a tile: row i is `row_of(i)`, zeros where that is null and from `width` on. 16 bytes a load.
template <int Tokens, int Wide, class Tile, class RowOf>
__device__ void load_tile(Tile& tile, int width, const RowOf& row_of) {
  constexpr int quads = Wide / 4;
  for (int item = thread_number(); item < Tokens / 2 * quads; item += tensor_threads) {
    const int pair = item / quads;
    const int at = item % quads * 4;
    const float* even = row_of(2 * pair);
    const float* odd = row_of(2 * pair + 1);
    const Pack<float, 4> zeros{};
    tile.store(pair, at, even != nullptr && at < width ? load_pack<4>(even + at) : zeros,
               odd != nullptr && at < width ? load_pack<4>(odd + at) : zeros);
  }
}

/// A warp's left operand: 16 rows, of which this lane holds words of two (null: zeros).
template <class Words, int Steps>
__device__ void load_left(std::uint32_t (&a)[Steps][4], const float* upper, const float* lower, int width,
                          int t) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    a[step][0] = upper == nullptr ? 0 : Words::load(upper, 8 * step + t, width);
    a[step][1] = lower == nullptr ? 0 : Words::load(lower, 8 * step + t, width);
    a[step][2] = upper == nullptr ? 0 : Words::load(upper, 8 * step + t + 4, width);
    a[step][3] = lower == nullptr ? 0 : Words::load(lower, 8 * step + t + 4, width);
  }
}

/// out (16, Tokens) = left (16, Wide) times a tile's rows, for the products of eight tokens that begin before
/// `count`; the others are 0.
template <class Words, int Products, int Steps, class Tile>
__device__ void times_rows(float (&out)[Products][4], const std::uint32_t (&left)[Steps][4], const Tile& tile,
                           int count, int g, int t) {
#pragma unroll
  for (int n = 0; n < Products; ++n) {
    out[n][0] = out[n][1] = out[n][2] = out[n][3] = 0;
    if (8 * n >= count) continue;
#pragma unroll
    for (int step = 0; step < Steps; ++step) {
      const RightWords b = tile.along_width(step, 8 * n, g, t);
      Words::multiply_add(out[n], left[step], b.first, b.second);
    }
  }
}

/// sum (16, Wide) += weights (16, Tokens) times a tile's rows, tokens from `count` on being worth nothing.
template <class Words, int Products, int Columns, class Tile>
__device__ void add_weighted_rows(float (&sum)[Columns][4], const float (&weights)[Products][4],
                                  const Tile& tile, int count, int g, int t) {
  constexpr int tokens = 8 * Words::per_word;  // a step
#pragma unroll
  for (int step = 0; step < Products * 8 / tokens; ++step) {
    if (step * tokens >= count) continue;
    std::uint32_t a[4];
    left_of_scores<Words>(a, weights, step);
#pragma unroll
    for (int n = 0; n < Columns; ++n) {
      const RightWords b = tile.along_tokens(step, 8 * n, g, t);
      Words::multiply_add(sum[n], a, b.first, b.second);
    }
  }
}

}  // namespace detail

/// Keys a tile of the forward kernel.
template <class Words, int Wide>
inline constexpr int forward_keys = Words::per_word == 1 && Wide > 64 ? 32 : 64;

/// out, log_sum of a tile of queries: one walk over the keys, softmax in one pass (its largest term so far,
/// the sum of terms relative to it, and the output are rescaled as it grows). Powers are taken of 2.
///
/// Shared memory: 18 KiB in bf16 and 34 in TF32 for heads of 64.
template <class Words, int Wide>
__global__ void __launch_bounds__(tensor_threads)
    attention_forward_tensor(float* out, float* log_sum, const float* qkv, AttentionShape shape) {
  constexpr int tokens = forward_keys<Words, Wide>;
  constexpr int products = tokens / 8;
  constexpr int columns = Wide / 8;
  constexpr int steps = Wide / (8 * Words::per_word);
  __shared__ TokenTile<Words, tokens, Wide, Along::width> key_tile;
  __shared__ TokenTile<Words, tokens, Wide, Along::tokens> value_tile;

  const AttentionPlace place(shape);
  const TokenSet queries(place.sequence, shape.pattern.queries());
  const TokenSet keys(place.sequence, shape.pattern.keys());
  const int begin = place.tile * tensor_rows;
  if (begin >= queries.size()) return;
  const HeadSlices<const float> slices(qkv, shape, place);
  const int lane = lane_number();
  const int g = lane / 4;
  const int t = lane % 4;
  const float scale = static_cast<float>(shape.scale) * detail::log2_e;

  // This lane's two rows.
  int row[2];
  GroupBits sees[2];
  bool there[2];
  bool self[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = begin + warp_number() * 16 + g + 8 * r;
    there[r] = i < queries.size();
    row[r] = there[r] ? queries.token(i) : 0;
    sees[r] = there[r] ? shape.pattern.sees(queries.group(i)) : 7U;
    self[r] = there[r] && (shape.pattern.self() >> queries.group(i) & 1U) != 0;
  }
  const GroupBits own_groups = queries.groups(begin, begin + tensor_rows);
  const Meeting meeting(own_groups, [&](unsigned group) { return shape.pattern.sees(group); });

  std::uint32_t q[steps][4];
  detail::load_left<Words>(q, there[0] ? slices.query(row[0]) : nullptr,
                           there[1] ? slices.query(row[1]) : nullptr, shape.width, t);
  float sum[columns][4] = {};
  float most[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};  // of this lane's columns
  if ((shape.pattern.self() & own_groups) != 0) {
    // A query's own key is the first term.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float score = 0;
      for (int c = t; self[r] && c < shape.width; c += 4)
        score += slices.query(row[r])[c] * slices.key(row[r])[c];
      score = detail::sum_of_four(score);
      if (!self[r]) continue;
      most[r] = score * scale;
      total[r] = t == 0 ? 1.0F : 0.0F;
      const float* value = slices.value(row[r]);
#pragma unroll
      for (int n = 0; n < columns; ++n) {
        if (8 * n >= shape.width) continue;
        sum[n][2 * r] = value[8 * n + 2 * t];
        sum[n][2 * r + 1] = value[8 * n + 2 * t + 1];
      }
    }
  }

  for (int first = 0; first < keys.size(); first += tokens) {
    const int count = keys.size() - first < tokens ? keys.size() - first : tokens;
    const GroupBits groups = keys.groups(first, first + count);
    if (meeting.nothing(groups)) continue;
    __syncthreads();
    const auto key_at = [&](int i) -> const float* {
      return i < count ? slices.key(keys.token(first + i)) : nullptr;
    };
    detail::load_tile<tokens, Wide>(key_tile, shape.width, key_at);
    const auto value_at = [&](int i) -> const float* {
      return i < count ? slices.value(keys.token(first + i)) : nullptr;
    };
    detail::load_tile<tokens, Wide>(value_tile, shape.width, value_at);
    __syncthreads();

    float scores[products][4];
    detail::times_rows<Words>(scores, q, key_tile, count, g, t);
    if (count < tokens || !meeting.everything(groups)) {
#pragma unroll
      for (int n = 0; n < products; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const GroupBits group = 1U << keys.group(first + 8 * n + 2 * t + c);
          if ((sees[0] & group) == 0) scores[n][c] = -INFINITY;
          if ((sees[1] & group) == 0) scores[n][2 + c] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float largest = -INFINITY;
#pragma unroll
      for (int n = 0; n < products; ++n)
        largest = fmaxf(largest, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
      largest = fmaxf(most[r], detail::largest_of_four(largest) * scale);
      const float shift = largest == -INFINITY ? 0.0F : largest;  // nothing seen so far
      const float factor = exp2f(most[r] - shift);
      most[r] = largest;
      float part = 0;
#pragma unroll
      for (int n = 0; n < products; ++n) {
        scores[n][2 * r] = exp2f(scores[n][2 * r] * scale - shift);
        scores[n][2 * r + 1] = exp2f(scores[n][2 * r + 1] * scale - shift);
        part += scores[n][2 * r] + scores[n][2 * r + 1];
      }
      total[r] = total[r] * factor + part;
#pragma unroll
      for (int n = 0; n < columns; ++n) {
        sum[n][2 * r] *= factor;
        sum[n][2 * r + 1] *= factor;
      }
    }
    detail::add_weighted_rows<Words>(sum, scores, value_tile, count, g, t);
  }

  const HeadSlice<float> out_slice(out, shape, place);
  const HeadColumn<float> log_sums(log_sum, shape, place);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float whole = detail::sum_of_four(total[r]);
    if (!there[r]) continue;
    const float inverse = 1.0F / whole;
    if (t == 0) log_sums.at(row[r]) = (most[r] + log2f(whole)) * detail::log_of_2;
    float* to = out_slice.row(row[r]);
#pragma unroll
    for (int n = 0; n < columns; ++n) {
      if (8 * n >= shape.width) continue;
      store_pack<2>(to + 8 * n + 2 * t, {{sum[n][2 * r] * inverse, sum[n][2 * r + 1] * inverse}});
    }
  }
}

/// What a backward kernel makes: a block owns queries and gives d_q, or owns keys and gives d_k, d_v or both.
enum class Gradient { query, key, value, key_and_value };

/// Gradients of a tile of queries (keys): one walk over the keys (queries) they meet, weights made again from
/// log_sum. `along` (M,H): d_out . out of each row and head.
///
/// Every gradient has one owner and one order of summation. Shared memory: at most 19 KiB for heads of 64, 36
/// of 128.
template <class Words, int Wide, Gradient G>
__global__ void __launch_bounds__(tensor_threads)
    attention_backward_tensor(float* d_qkv, const float* d_out, const float* along, const float* log_sum,
                              const float* qkv, AttentionShape shape) {
  constexpr bool of_queries = G == Gradient::query;
  constexpr bool of_scores = G != Gradient::value;                                  // d_q or d_k
  constexpr bool of_values = G == Gradient::value || G == Gradient::key_and_value;  // d_v
  constexpr int tokens = 32;
  constexpr int products = tokens / 8;
  constexpr int columns = Wide / 8;
  constexpr int steps = Wide / (8 * Words::per_word);
  // Queries meet k and v, keys meet q and d_out.
  __shared__ TokenTile<Words, tokens, Wide, of_scores ? Along::both : Along::width> first_tile;
  __shared__ TokenTile<Words, tokens, Wide,
                       !of_values  ? Along::width
                       : of_scores ? Along::both
                                   : Along::tokens>
      second_tile;
  __shared__ float tile_log_sum[tokens];
  __shared__ float tile_along[tokens];

  const AttentionPlace place(shape);
  const TokenSet own(place.sequence, of_queries ? shape.pattern.queries() : shape.pattern.keys());
  const TokenSet others(place.sequence, of_queries ? shape.pattern.keys() : shape.pattern.queries());
  const int begin = place.tile * tensor_rows;
  if (begin >= own.size()) return;
  const auto met_by = [&](unsigned group) {
    return of_queries ? shape.pattern.sees(group) : shape.pattern.seen_by(group);
  };
  const HeadSlices<const float> slices(qkv, shape, place);
  const HeadSlice<const float> d_outs(d_out, shape, place);
  const HeadColumn<const float> log_sums(log_sum, shape, place);
  const HeadColumn<const float> alongs(along, shape, place);
  const int lane = lane_number();
  const int g = lane / 4;
  const int t = lane % 4;
  const float scale = static_cast<float>(shape.scale) * detail::log2_e;

  int row[2];
  GroupBits meets[2];
  bool there[2];
  float row_log_sum[2] = {0, 0};
  float row_along[2] = {0, 0};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = begin + warp_number() * 16 + g + 8 * r;
    there[r] = i < own.size();
    row[r] = there[r] ? own.token(i) : 0;
    meets[r] = there[r] ? met_by(own.group(i)) : 7U;
    if (of_queries && there[r]) {
      row_log_sum[r] = log_sums.at(row[r]) * detail::log2_e;
      row_along[r] = alongs.at(row[r]);
    }
  }
  const Meeting meeting(own.groups(begin, begin + tensor_rows), met_by);

  std::uint32_t first[steps][4];
  std::uint32_t second[of_scores ? steps : 1][4];
  const auto first_of = [&](int token) { return of_queries ? slices.query(token) : slices.key(token); };
  detail::load_left<Words>(first, there[0] ? first_of(row[0]) : nullptr,
                           there[1] ? first_of(row[1]) : nullptr, shape.width, t);
  if constexpr (of_scores) {
    const auto second_of = [&](int token) { return of_queries ? d_outs.row(token) : slices.value(token); };
    detail::load_left<Words>(second, there[0] ? second_of(row[0]) : nullptr,
                             there[1] ? second_of(row[1]) : nullptr, shape.width, t);
  }
  float d_first[of_scores ? columns : 1][4] = {};
  float d_value[of_values ? columns : 1][4] = {};

  for (int at = 0; at < others.size(); at += tokens) {
    const int count = others.size() - at < tokens ? others.size() - at : tokens;
    const GroupBits groups = others.groups(at, at + count);
    if (meeting.nothing(groups)) continue;
    __syncthreads();
    detail::load_tile<tokens, Wide>(first_tile, shape.width, [&](int i) -> const float* {
      if (i >= count) return nullptr;
      const int token = others.token(at + i);
      return of_queries ? slices.key(token) : slices.query(token);
    });
    detail::load_tile<tokens, Wide>(second_tile, shape.width, [&](int i) -> const float* {
      if (i >= count) return nullptr;
      const int token = others.token(at + i);
      return of_queries ? slices.value(token) : d_outs.row(token);
    });
    if (!of_queries && thread_number() < tokens) {
      const int i = thread_number();
      const int token = i < count ? others.token(at + i) : 0;
      tile_log_sum[i] = i < count ? log_sums.at(token) * detail::log2_e : 0.0F;
      tile_along[i] = i < count ? alongs.at(token) : 0.0F;
    }
    __syncthreads();

    float weights[products][4];
    detail::times_rows<Words>(weights, first, first_tile, count, g, t);
    const bool open = count == tokens && meeting.everything(groups);
#pragma unroll
    for (int n = 0; n < products; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int i = 8 * n + 2 * t + c % 2;
        const float shift = of_queries ? row_log_sum[c / 2] : tile_log_sum[i];
        const bool met = open || (meets[c / 2] >> others.group(at + i) & 1U) != 0;
        weights[n][c] = met ? exp2f(weights[n][c] * scale - shift) : 0.0F;
      }
    }
    if constexpr (of_values) detail::add_weighted_rows<Words>(d_value, weights, second_tile, count, g, t);
    if constexpr (of_scores) {
      float d_scores[products][4];
      detail::times_rows<Words>(d_scores, second, second_tile, count, g, t);
#pragma unroll
      for (int n = 0; n < products; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const float shift = of_queries ? row_along[c / 2] : tile_along[8 * n + 2 * t + c % 2];
          d_scores[n][c] = weights[n][c] * (d_scores[n][c] - shift);
        }
      }
      detail::add_weighted_rows<Words>(d_first, d_scores, first_tile, count, g, t);
    }
  }

  const HeadSlices<float> to(d_qkv, shape, place);
  const auto factor = static_cast<float>(shape.scale);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (!there[r]) continue;
#pragma unroll
    for (int n = 0; n < columns; ++n) {
      const int at = 8 * n + 2 * t;
      if (8 * n >= shape.width) continue;
      if constexpr (of_scores) {
        float* d = of_queries ? to.query(row[r]) : to.key(row[r]);
        store_pack<2>(d + at, {{d_first[n][2 * r] * factor, d_first[n][2 * r + 1] * factor}});
      }
      if constexpr (of_values) {
        store_pack<2>(to.value(row[r]) + at, {{d_value[n][2 * r], d_value[n][2 * r + 1]}});
      }
    }
  }
}

}  // namespace dssl::cuda
