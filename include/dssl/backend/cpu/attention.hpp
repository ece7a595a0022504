// Cpu backend: attention under a relation, one head of one sequence at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <type_traits>

#include <dssl/backend/cpu/attention_scratch.hpp>
#include <dssl/backend/cpu/bf16_multiply.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/spans.hpp>
#include <dssl/backend/cpu/special.hpp>
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
