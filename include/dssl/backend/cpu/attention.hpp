// Cpu backend: attention under a relation, one head of one sequence at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <dssl/backend/cpu/bf16_multiply.hpp>
#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/spans.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/backend/cpu/tile.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/sequence.hpp>

namespace dssl::cpu::inline DSSL_ISA {

namespace detail {

template <class T>
[[nodiscard]] double dot(const T* a, const T* b, Index count) {
  return sum<T>(count, [](const auto& x, const auto& y) { return x * y; }, a, b);
}

/// y += a x
template <class T>
void add_scaled(T* y, T a, const T* x, Index count) {
  const auto factor = spread(a);
  map(y, count, [&](const auto& v, const auto& u) { return multiply_add(factor, u, v); }, y, x);
}

/// Buffers of one attention task: the head's slices in an order that products read well, a block of scores, and in
/// the backward pass sums over all rows.
///
/// `Rounded`: products take bf16 operands, which each span packs from the slices in float as it needs them.
template <class T, bool Rounded>
struct AttentionScratch {
  Index d;             ///< width of a head
  Index wide;          ///< the same in whole registers: row stride of the slices
  Index long_stride;   ///< row stride of scores and of transposed slices
  Index block;         ///< rows of scores held at once
  T* scores;           ///< (block, tokens)
  T* q;                ///< (tokens, d), divided by the root of d
  T* k_transposed = nullptr;  ///< (d, tokens)
  T* v;                ///< (tokens, d), forward only
  T* own;              ///< (block) a row's own term beside the tokens it sees, forward only
  T* inverse;          ///< (block) one over a row's sum of exponentials, forward only
  T* d_scores = nullptr;      ///< (block, tokens); from here on backward only
  T* k = nullptr;             ///< (tokens, d)
  T* v_transposed = nullptr;  ///< (d, tokens)
  T* d_out = nullptr;         ///< (block, d)
  T* d_q = nullptr;           ///< (block, d)
  T* d_k = nullptr;           ///< (tokens, d)
  T* d_v = nullptr;           ///< (tokens, d)
  bf16::Engine engine{};
  std::uint32_t* seen_k = nullptr;   ///< packed: what a span sees, for scores; from here on `Rounded` only
  std::uint32_t* seen_v = nullptr;   ///< for the gradients of scores
  std::uint32_t* from_k = nullptr;   ///< what is summed by gradients of scores, backward only
  std::uint32_t* from_v = nullptr;   ///< what is summed by weights, forward only
  std::uint32_t* left = nullptr;     ///< a left operand of one product
  std::uint32_t* right = nullptr;    ///< a right operand of one product

  AttentionScratch(Arena& arena, Index longest, Index head_width, bool backward)
      : d(head_width), wide(padded<T>(head_width)), long_stride(padded<T>(longest) + panel_width<T>) {
    // Rows a multiple of 2 KiB apart would push each other out of the L1 cache.
    if (long_stride * static_cast<Index>(sizeof(T)) % 2048 == 0) long_stride += lane_count<T>;
    // About 16 Ki to 64 Ki scores, in whole tiles: the task stays in its L2 cache.
    block = std::clamp(Index{65'536} / long_stride, Index{24}, Rounded ? Index{128} : Index{96});
    block = std::max(block / x_tile, Index{1}) * x_tile;
    scores = arena.take<T>(block * long_stride);
    q = arena.take<T>(longest * wide);
    v = arena.take<T>(longest * wide);
    own = arena.take<T>(block);
    inverse = arena.take<T>(block);
    if constexpr (Rounded) {
      // A second range of tokens begins at a whole tile after the first.
      const Index most = longest + bf16::tile_depth;
      const Index seen = x_words(most, d);
      seen_k = arena.take<std::uint32_t>(seen);
      const Index gathered = x_words(d, most);
      from_v = arena.take<std::uint32_t>(gathered);
      left = arena.take<std::uint32_t>(std::max({x_words(block, longest), x_words(longest, block), x_words(block, d)}));
      if (backward) {
        seen_v = arena.take<std::uint32_t>(seen);
        from_k = arena.take<std::uint32_t>(gathered);
        right = arena.take<std::uint32_t>(x_words(d, block));
      }
    } else {
      k_transposed = arena.take<T>(d * long_stride);
      if (backward) v_transposed = arena.take<T>(d * long_stride);
    }
    if (!backward) return;
    d_scores = arena.take<T>(block * long_stride);
    k = arena.take<T>(longest * wide);
    d_out = arena.take<T>(block * wide);
    d_q = arena.take<T>(block * wide);
    d_k = arena.take<T>(longest * wide);
    d_v = arena.take<T>(longest * wide);
  }

  [[nodiscard]] static std::size_t bytes(Index longest, Index head_width, bool backward) {
    Arena arena;
    const AttentionScratch scratch(arena, longest, head_width, backward);
    return arena.high_water();
  }

  /// Rows of one block, so that the blocks of a span are of about one size.
  [[nodiscard]] Index rows_of(const RowSpan& span) const {
    const Index blocks = (span.rows.size() + block - 1) / block;
    return ((span.rows.size() + blocks - 1) / blocks + x_tile - 1) / x_tile * x_tile;
  }

  /// The head's slices of a sequence, before its spans. `own_k`: keys as they are too, for the backward pass.
  void begin_head(const T* head_k, const T* head_v, Index pitch, Index tokens, bool backward) const {
    if constexpr (!Rounded) {
      transpose(k_transposed, long_stride, head_k, pitch, tokens, d);
      if (backward) transpose(v_transposed, long_stride, head_v, pitch, tokens, d);
    }
    copy_block(backward ? k : v, wide, backward ? head_k : head_v, pitch, tokens, d);
  }

  /// What one span sees.
  void begin_span(const T* head_k, const T* head_v, Index pitch, const RowSpan& span, bool backward) const {
    if constexpr (Rounded) {
      using bf16::Order;
      Index at = 0;
      for (const TokenRange& seen : span.seen) {
        if (seen.size() == 0) continue;
        const bf16::Operand some_k{head_k + seen.begin * pitch, pitch};
        const bf16::Operand some_v{head_v + seen.begin * pitch, pitch};
        bf16::pack_right<Order::by_extent>(seen_k + x_words(at, d), some_k, seen.size(), d);
        if (backward) {
          bf16::pack_right<Order::by_extent>(seen_v + x_words(at, d), some_v, seen.size(), d);
          bf16::pack_right<Order::by_depth>(from_k + x_words(d, at), some_k, d, seen.size());
        } else {
          bf16::pack_right<Order::by_depth>(from_v + x_words(d, at), some_v, d, seen.size());
        }
        at = x_aligned(at + seen.size());
      }
    }
  }

  /// scores or their gradients: out (rows, seen) = rows_of_left (rows, d) times the keys (values) that a span sees;
  /// columns between the last and a whole register are junk.
  void over_seen(T* out, const T* rows_of_left, bool values, const RowSpan& span, Index rows) const {
    if constexpr (Rounded) {
      bf16::pack_left<bf16::Order::by_extent>(engine, left, {rows_of_left, wide}, rows, d);
    }
    Index at = 0;
    Index packed = 0;
    for (const TokenRange& seen : span.seen) {
      if (seen.size() == 0) continue;
      if constexpr (Rounded) {
        bf16::multiply<bf16::Side::right, bf16::Order::by_extent>(
            engine, out + at, long_stride, rows, seen.size(), left, (values ? seen_v : seen_k) + x_words(packed, d),
            bf16::depth_tiles_of(d), Onto::assign);
        packed = x_aligned(packed + seen.size());
      } else {
        multiply<false, T>(out + at, long_stride, rows, padded<T>(seen.size()), {rows_of_left, wide},
                           {(values ? v_transposed : k_transposed) + seen.begin, long_stride, panel_width<T>}, d,
                           Onto::assign);
      }
      at += seen.size();
    }
  }

  /// out (rows, d) = weights (rows, seen) times the values (keys, in the backward pass) that a span sees.
  void gather(T* out, Index stride, Index cols, const T* weights, bool backward, const RowSpan& span,
              Index rows) const {
    Index at = 0;
    Index packed = 0;
    Onto onto = Onto::assign;
    for (const TokenRange& seen : span.seen) {
      if (seen.size() == 0) continue;
      if constexpr (Rounded) {
        bf16::pack_left<bf16::Order::by_extent>(engine, left, {weights + at, long_stride}, rows, seen.size());
        bf16::multiply<bf16::Side::right, bf16::Order::by_extent>(
            engine, out, stride, rows, d, left, (backward ? from_k : from_v) + x_words(d, packed),
            bf16::depth_tiles_of(seen.size()), onto);
        packed = x_aligned(packed + seen.size());
      } else {
        multiply<false, T>(out, stride, rows, cols, {weights + at, long_stride},
                           {(backward ? k : v) + seen.begin * wide, wide, panel_width<T>}, seen.size(), onto);
      }
      onto = Onto::sum;
      at += seen.size();
    }
    if (onto == Onto::sum) return;
    for (Index r = 0; r < rows; ++r) std::fill_n(out + r * stride, cols, T{0});
  }

  /// out (tokens, d) += weights (rows, seen)^T summed (rows, d).
  void scatter(T* out, const T* weights, const T* summed, const RowSpan& span, Index rows) const {
    if constexpr (Rounded) bf16::pack_right<bf16::Order::by_depth>(right, {summed, wide}, d, rows);
    Index at = 0;
    for (const TokenRange& seen : span.seen) {
      if (seen.size() == 0) continue;
      if constexpr (Rounded) {
        bf16::pack_left<bf16::Order::by_depth>(engine, left, {weights + at, long_stride}, seen.size(), rows);
        bf16::multiply<bf16::Side::right, bf16::Order::by_depth>(
            engine, out + seen.begin * wide, wide, seen.size(), d, left, right, bf16::depth_tiles_of(rows), Onto::sum);
      } else {
        multiply<true, T>(out + seen.begin * wide, wide, seen.size(), wide, {weights + at, long_stride},
                          {summed, wide, panel_width<T>}, rows, Onto::sum);
      }
      at += seen.size();
    }
  }

 private:
  static constexpr Index x_tile = Rounded ? bf16::tile_depth : Index{tile_rows};

  [[nodiscard]] static constexpr Index x_aligned(Index tokens) {
    return (tokens + bf16::tile_depth - 1) / bf16::tile_depth * bf16::tile_depth;
  }
  /// Words of a packed operand.
  [[nodiscard]] static constexpr Index x_words(Index extent, Index depth) {
    return bf16::tiles_of(extent) * bf16::depth_tiles_of(depth) * bf16::tile_words;
  }
};

/// x = exp(x - shift) over a row of scores; returns the sum.
template <class T>
[[nodiscard]] double exponentials(T* x, Index count, T shift) {
  constexpr Index lanes = lane_count<T>;
  const auto off = spread(shift);
  double total = 0;
  Index i = 0;
  while (i + lanes <= count) {
    auto even = spread(T{0});
    auto odd = even;
    const Index end = std::min(count - lanes, i + 31 * lanes);
    for (; i + lanes <= end; i += 2 * lanes) {
      const auto first = exponential<T>(load(x + i) - off);
      const auto second = exponential<T>(load(x + i + lanes) - off);
      store(x + i, first);
      store(x + i + lanes, second);
      even = even + first;
      odd = odd + second;
    }
    if (i <= end) {
      const auto last = exponential<T>(load(x + i) - off);
      store(x + i, last);
      even = even + last;
      i += lanes;
    }
    total += static_cast<double>(Eigen::internal::predux(Lanes<T>(even + odd)));
  }
  if (i < count) {
    const auto rest = keep_first<T>(exponential<T>(load_part(x + i, count - i, shift) - off), count - i);
    store_part(x + i, rest, count - i);
    total += static_cast<double>(Eigen::internal::predux(Lanes<T>(rest)));
  }
  return total;
}

/// The tile unit's shapes where there may be any.
struct NoScope {
  explicit NoScope(bf16::Engine) {}
};
template <bool Rounded>
using ScopeOf = std::conditional_t<Rounded, bf16::EngineScope, NoScope>;

template <AttentionRelation R, bool Rounded, class T>
void attention_forward(Workers& workers, MatrixView<T> out, MatrixView<T> log_sum, MatrixView<const T> qkv,
                       const SequenceBatch& batch, Index heads, GroupSet queries, bf16::Engine engine) {
  using Scratch = AttentionScratch<T, Rounded>;
  const Index width = out.cols();
  const Index d = width / heads;
  const Index pitch = 3 * width;
  const auto scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(d)));
  workers.reserve(Scratch::bytes(batch.longest, d, false));
  workers.run(batch.sequences.size() * heads, batch.rows * batch.longest * width / 16, [&](Index task, std::size_t slot) {
    const Sequence& s = batch.sequences(task / heads);
    const Index h = task % heads;
    Arena arena(workers.scratch(slot));
    Scratch scratch(arena, batch.longest, d, false);
    const ScopeOf<Rounded> scope(scratch.engine = engine);
    const T* q = qkv.row(s.first) + h * d;
    const T* k = q + width;
    const T* v = k + width;
    scratch.begin_head(k, v, pitch, s.tokens(), false);
    for (const RowSpan& span : row_spans<R>(s, queries)) {
      if (span.rows.size() == 0) continue;
      scratch.begin_span(k, v, pitch, span, false);
      const Index block = scratch.rows_of(span);
      for (Index first = span.rows.begin; first < span.rows.end; first += block) {
        const Index rows = std::min(block, span.rows.end - first);
        for (Index r = 0; r < rows; ++r) {
          const auto factor = spread(scale);
          map(scratch.q + r * scratch.wide, d, [&](const auto& x) { return x * factor; }, q + (first + r) * pitch);
        }
        scratch.over_seen(scratch.scores, scratch.q, false, span, rows);
        T* head_out = out.row(s.first + first) + h * d;
        for (Index r = 0; r < rows; ++r) {
          const Index i = first + r;
          T* row = scratch.scores + r * scratch.long_stride;
          T own = span.self ? static_cast<T>(dot(scratch.q + r * scratch.wide, k + i * pitch, d)) : row[0];
          T most = own;
          if (span.seen_count() > 0) {
            most = std::max(most, largest<T>(span.seen_count(), [](const auto& x) { return x; }, row));
          }
          double total = exponentials(row, span.seen_count(), most);
          if (span.self) {
            own = std::exp(own - most);
            total += static_cast<double>(own);
          }
          log_sum(s.first + i, h) = static_cast<T>(static_cast<double>(most) + std::log(total));
          scratch.own[r] = own;
          scratch.inverse[r] = static_cast<T>(1.0 / total);
        }
        scratch.gather(head_out, width, d, scratch.scores, false, span, rows);
        for (Index r = 0; r < rows; ++r) {
          T* row = head_out + r * width;
          const auto inverse = spread(scratch.inverse[r]);
          if (span.self) {
            const auto own = spread(scratch.own[r]);
            map(row, d, [&](const auto& o, const auto& x) { return multiply_add(own, x, o) * inverse; }, row,
                scratch.v + (first + r) * scratch.wide);
          } else {
            map(row, d, [&](const auto& o) { return o * inverse; }, row);
          }
        }
      }
    }
  });
}

template <AttentionRelation R, bool Rounded, class T>
void attention_backward(Workers& workers, MatrixView<T> d_qkv, MatrixView<const T> d_out, MatrixView<const T> out,
                        MatrixView<const T> log_sum, MatrixView<const T> qkv, const SequenceBatch& batch,
                        Index heads, GroupSet queries, bf16::Engine engine) {
  using Scratch = AttentionScratch<T, Rounded>;
  const Index width = out.cols();
  const Index d = width / heads;
  const Index pitch = 3 * width;
  const auto scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(d)));
  workers.reserve(Scratch::bytes(batch.longest, d, true));
  workers.run(batch.sequences.size() * heads, batch.rows * batch.longest * width / 8, [&](Index task, std::size_t slot) {
    const Sequence& s = batch.sequences(task / heads);
    const Index h = task % heads;
    Arena arena(workers.scratch(slot));
    Scratch scratch(arena, batch.longest, d, true);
    const ScopeOf<Rounded> scope(scratch.engine = engine);
    const Index wide = scratch.wide;
    const T* q = qkv.row(s.first) + h * d;
    const T* k = q + width;
    const T* v = k + width;
    T* d_q = d_qkv.row(s.first) + h * d;
    const auto factor = spread(scale);
    scratch.begin_head(k, v, pitch, s.tokens(), true);
    copy_block(scratch.q, wide, q, pitch, s.tokens(), d);
    map(scratch.q, s.tokens() * wide, [&](const auto& x) { return x * factor; }, scratch.q);
    std::fill_n(scratch.d_k, s.tokens() * wide, T{0});
    std::fill_n(scratch.d_v, s.tokens() * wide, T{0});
    for (const TokenGroup group : {TokenGroup::class_token, TokenGroup::patch, TokenGroup::reference}) {
      if (queries.has(group)) continue;
      for (Index i = s.begin(group); i < s.begin(group) + s.count(group); ++i) std::fill_n(d_q + i * pitch, d, T{0});
    }
    for (const RowSpan& span : row_spans<R>(s, queries)) {
      if (span.rows.size() == 0) continue;
      scratch.begin_span(k, v, pitch, span, true);
      const Index block = scratch.rows_of(span);
      for (Index first = span.rows.begin; first < span.rows.end; first += block) {
        const Index rows = std::min(block, span.rows.end - first);
        copy_block(scratch.d_out, wide, d_out.row(s.first + first) + h * d, width, rows, d);
        scratch.over_seen(scratch.scores, scratch.q + first * wide, false, span, rows);
        scratch.over_seen(scratch.d_scores, scratch.d_out, true, span, rows);
        for (Index r = 0; r < rows; ++r) {
          const Index i = first + r;
          // d_score_j = p_j (d_out . v_j - d_out . out): the second term is the softmax's own row sum.
          const T* d_row = scratch.d_out + r * wide;
          const double along = dot(d_row, out.row(s.first + i) + h * d, d);
          const auto offset = spread(static_cast<T>(along));
          const T log_total = log_sum(s.first + i, h);
          const auto shift = spread(log_total);
          T* p = scratch.scores + r * scratch.long_stride;
          T* d_p = scratch.d_scores + r * scratch.long_stride;
          map(p, span.seen_count(), [&](const auto& x) { return exponential<T>(x - shift); }, p);
          map(d_p, span.seen_count(), [&](const auto& g, const auto& x) { return x * (g - offset); }, d_p, p);
        }
        scratch.scatter(scratch.d_v, scratch.scores, scratch.d_out, span, rows);
        scratch.scatter(scratch.d_k, scratch.d_scores, scratch.q + first * wide, span, rows);
        scratch.gather(scratch.d_q, wide, wide, scratch.d_scores, true, span, rows);
        for (Index r = 0; r < rows; ++r) {
          const Index i = first + r;
          T* d_q_row = scratch.d_q + r * wide;
          if (span.self) {
            const T* d_row = scratch.d_out + r * wide;
            const double along = dot(d_row, out.row(s.first + i) + h * d, d);
            const double score = dot(scratch.q + i * wide, scratch.k + i * wide, d);
            const double own = std::exp(score - static_cast<double>(log_sum(s.first + i, h)));
            const auto d_own = static_cast<T>(own * (dot(d_row, v + i * pitch, d) - along));
            add_scaled(scratch.d_v + i * wide, static_cast<T>(own), d_row, d);
            add_scaled(scratch.d_k + i * wide, d_own, scratch.q + i * wide, d);
            add_scaled(d_q_row, d_own, scratch.k + i * wide, d);
          }
          map(d_q + i * pitch, d, [&](const auto& x) { return x * factor; }, d_q_row);
        }
      }
    }
    for (Index i = 0; i < s.tokens(); ++i) {
      std::copy_n(scratch.d_k + i * wide, d, d_q + i * pitch + width);
      std::copy_n(scratch.d_v + i * wide, d, d_q + i * pitch + 2 * width);
    }
  });
}

}  // namespace detail

/// As the primitive says; where there is an engine, the operands of products are rounded to bf16.
template <AttentionRelation R, class T>
void attention_forward(Workers& workers, MatrixView<T> out, MatrixView<T> log_sum, MatrixView<const T> qkv,
                       const SequenceBatch& batch, Index heads, GroupSet queries,
                       std::optional<bf16::Engine> engine = {}) {
  if constexpr (std::is_same_v<T, float>) {
    if (engine) return detail::attention_forward<R, true>(workers, out, log_sum, qkv, batch, heads, queries, *engine);
  }
  detail::attention_forward<R, false>(workers, out, log_sum, qkv, batch, heads, queries, {});
}

template <AttentionRelation R, class T>
void attention_backward(Workers& workers, MatrixView<T> d_qkv, MatrixView<const T> d_out, MatrixView<const T> out,
                        MatrixView<const T> log_sum, MatrixView<const T> qkv, const SequenceBatch& batch,
                        Index heads, GroupSet queries, std::optional<bf16::Engine> engine = {}) {
  if constexpr (std::is_same_v<T, float>) {
    if (engine) {
      return detail::attention_backward<R, true>(workers, d_qkv, d_out, out, log_sum, qkv, batch, heads, queries,
                                                 *engine);
    }
  }
  detail::attention_backward<R, false>(workers, d_qkv, d_out, out, log_sum, qkv, batch, heads, queries, {});
}

}  // namespace dssl::cpu::inline DSSL_ISA
