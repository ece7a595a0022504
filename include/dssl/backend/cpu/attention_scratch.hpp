// Cpu backend: what one head of one sequence is held in while it attends, and the products over it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <dssl/backend/cpu/bf16_multiply.hpp>
#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/spans.hpp>
#include <dssl/backend/cpu/tile.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::inline DSSL_ISA::detail {

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

}  // namespace dssl::cpu::inline DSSL_ISA::detail
