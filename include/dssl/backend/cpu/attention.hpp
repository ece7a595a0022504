// Cpu backend: attention under a relation, one head of one sequence at a time.
#pragma once

#include <algorithm>
#include <cmath>

#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/spans.hpp>
#include <dssl/backend/cpu/special.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/sequence.hpp>

namespace dssl::cpu {

namespace detail {

/// Rows of the score matrix that are held at once: about 64 Ki scores, so that a task stays in its L2 cache.
[[nodiscard]] inline Index attention_rows(Index longest) {
  return std::clamp(Index{65'536} / std::max(Index{1}, longest), Index{16}, Index{128});
}

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

/// Buffers of one attention task.
template <class T>
struct AttentionScratch {
  MatrixView<T> scores;    ///< a block of rows x the tokens they see
  MatrixView<T> d_scores;  ///< the same
  MatrixView<T> rows;      ///< a block of rows of out, or of d_q
  MatrixView<T> d_k;       ///< all tokens
  MatrixView<T> d_v;       ///< all tokens

  AttentionScratch(Arena& arena, Index longest, Index d, bool backward)
      : scores(arena.matrix<T>(attention_rows(longest), longest)),
        rows(arena.matrix<T>(attention_rows(longest), d)) {
    if (!backward) return;
    d_scores = arena.matrix<T>(attention_rows(longest), longest);
    d_k = arena.matrix<T>(longest, d);
    d_v = arena.matrix<T>(longest, d);
  }

  [[nodiscard]] static std::size_t bytes(Index longest, Index d, bool backward) {
    Arena arena;
    const AttentionScratch scratch(arena, longest, d, backward);
    return arena.high_water() + multiply_scratch<T>();
  }
};

/// scores (rows, seen) = q k^T, unscaled.
template <class T>
void attention_scores(T* scores, Index stride, const T* q, const T* k, Index pitch, const RowSpan& span, Index rows,
                      Index d, Arena& arena) {
  for (Index r = 0; r < rows; ++r) std::fill_n(scores + r * stride, span.seen_count(), T{0});
  Index column = 0;
  for (const TokenRange& seen : span.seen) {
    if (seen.size() == 0) continue;
    multiply<false, true, T>(scores + column, stride, {q, pitch}, {k + seen.begin * pitch, pitch}, rows, seen.size(),
                             d, T{1}, arena);
    column += seen.size();
  }
}

}  // namespace detail

template <AttentionRelation R, class T>
void attention_forward(Workers& workers, MatrixView<T> out, MatrixView<T> log_sum, MatrixView<const T> qkv,
                       const SequenceBatch& batch, Index heads, GroupSet queries) {
  const Index width = out.cols();
  const Index d = width / heads;
  const Index pitch = 3 * width;
  const double scale = 1.0 / std::sqrt(static_cast<double>(d));
  workers.reserve(detail::AttentionScratch<T>::bytes(batch.longest, d, false));
  const Index work = batch.rows * batch.longest * width / 8;
  workers.run(batch.sequences.size() * heads, work, [&](Index task, std::size_t slot) {
    const Sequence& s = batch.sequences(task / heads);
    const Index column = task % heads * d;
    Arena arena(workers.scratch(slot));
    detail::AttentionScratch<T> scratch(arena, batch.longest, d, false);
    const T* q = qkv.row(s.first) + column;
    const T* k = q + width;
    const T* v = k + width;
    const Index stride = batch.longest;
    const auto factor = spread(static_cast<T>(scale));
    for (const RowSpan& span : row_spans<R>(s, queries)) {
      const Index high = scratch.rows.rows();
      for (Index first = span.rows.begin; first < span.rows.end; first += high) {
        const Index rows = std::min(high, span.rows.end - first);
        detail::attention_scores(scratch.scores.data(), stride, q + first * pitch, k, pitch, span, rows, d, arena);
        std::fill_n(scratch.rows.data(), rows * d, T{0});
        for (Index r = 0; r < rows; ++r) {
          const Index i = first + r;
          T* row = scratch.scores.row(r);
          T own = span.self ? static_cast<T>(detail::dot(q + i * pitch, k + i * pitch, d)) : T{0};
          T most = span.self ? own : row[0];
          if (span.seen_count() > 0) {
            most = std::max(most, largest<T>(span.seen_count(), [](const auto& x) { return x; }, row));
          }
          const auto shift = spread(most);
          map(row, span.seen_count(), [&](const auto& x) { return exponential<T>((x - shift) * factor); }, row);
          double total = sum<T>(span.seen_count(), [](const auto& x) { return x; }, row);
          if (span.self) {
            own = std::exp((own - most) * static_cast<T>(scale));
            total += static_cast<double>(own);
            detail::add_scaled(scratch.rows.row(r), static_cast<T>(static_cast<double>(own) / total), v + i * pitch, d);
          }
          log_sum(s.first + i, task % heads) =
              static_cast<T>(static_cast<double>(most) * scale + std::log(total));
          const auto inverse = spread(static_cast<T>(1.0 / total));
          map(row, span.seen_count(), [&](const auto& x) { return x * inverse; }, row);
        }
        Index at = 0;
        for (const TokenRange& seen : span.seen) {
          if (seen.size() == 0) continue;
          multiply<false, false, T>(scratch.rows.data(), d, {scratch.scores.data() + at, stride},
                                    {v + seen.begin * pitch, pitch}, rows, d, seen.size(), T{1}, arena);
          at += seen.size();
        }
        for (Index r = 0; r < rows; ++r) std::copy_n(scratch.rows.row(r), d, out.row(s.first + first + r) + column);
      }
    }
  });
}

template <AttentionRelation R, class T>
void attention_backward(Workers& workers, MatrixView<T> d_qkv, MatrixView<const T> d_out, MatrixView<const T> out,
                        MatrixView<const T> log_sum, MatrixView<const T> qkv, const SequenceBatch& batch,
                        Index heads, GroupSet queries) {
  const Index width = out.cols();
  const Index d = width / heads;
  const Index pitch = 3 * width;
  const double scale = 1.0 / std::sqrt(static_cast<double>(d));
  workers.reserve(detail::AttentionScratch<T>::bytes(batch.longest, d, true));
  const Index work = batch.rows * batch.longest * width / 4;
  workers.run(batch.sequences.size() * heads, work, [&](Index task, std::size_t slot) {
    const Sequence& s = batch.sequences(task / heads);
    const Index h = task % heads;
    const Index column = h * d;
    Arena arena(workers.scratch(slot));
    detail::AttentionScratch<T> scratch(arena, batch.longest, d, true);
    const T* q = qkv.row(s.first) + column;
    const T* k = q + width;
    const T* v = k + width;
    T* d_q = d_qkv.row(s.first) + column;
    const Index stride = batch.longest;
    const auto factor = spread(static_cast<T>(scale));
    std::fill_n(scratch.d_k.data(), s.tokens() * d, T{0});
    std::fill_n(scratch.d_v.data(), s.tokens() * d, T{0});
    for (Index i = 0; i < s.tokens(); ++i) std::fill_n(d_q + i * pitch, d, T{0});
    for (const RowSpan& span : row_spans<R>(s, queries)) {
      const Index high = scratch.rows.rows();
      for (Index first = span.rows.begin; first < span.rows.end; first += high) {
        const Index rows = std::min(high, span.rows.end - first);
        const T* d_o = d_out.row(s.first + first) + column;
        T* p = scratch.scores.data();
        T* d_p = scratch.d_scores.data();
        detail::attention_scores(p, stride, q + first * pitch, k, pitch, span, rows, d, arena);
        for (Index r = 0; r < rows; ++r) std::fill_n(d_p + r * stride, span.seen_count(), T{0});
        Index at = 0;
        for (const TokenRange& seen : span.seen) {
          if (seen.size() == 0) continue;
          multiply<false, true, T>(d_p + at, stride, {d_o, width}, {v + seen.begin * pitch, pitch}, rows,
                                   seen.size(), d, T{1}, arena);
          at += seen.size();
        }
        for (Index r = 0; r < rows; ++r) {
          const Index i = first + r;
          const T* d_row = d_o + r * width;
          // d_score_j = p_j (d_out . v_j - d_out . out): the second term is the softmax's own row sum.
          const double along = detail::dot(d_row, out.row(s.first + i) + column, d);
          const T log_total = log_sum(s.first + i, h);
          const auto shift = spread(log_total);
          map(p + r * stride, span.seen_count(),
              [&](const auto& x) { return exponential<T>(multiply_add(x, factor, Lanes<T>(-shift))); },
              p + r * stride);
          const auto offset = spread(static_cast<T>(along));
          map(d_p + r * stride, span.seen_count(),
              [&](const auto& g, const auto& x) { return x * (g - offset) * factor; }, d_p + r * stride,
              p + r * stride);
          if (span.self) {
            const double score = detail::dot(q + i * pitch, k + i * pitch, d) * scale;
            const double own = std::exp(score - static_cast<double>(log_total));
            const auto d_own = static_cast<T>(own * (detail::dot(d_row, v + i * pitch, d) - along) * scale);
            detail::add_scaled(scratch.d_v.row(i), static_cast<T>(own), d_row, d);
            detail::add_scaled(scratch.d_k.row(i), d_own, q + i * pitch, d);
            detail::add_scaled(d_q + i * pitch, d_own, k + i * pitch, d);
          }
        }
        at = 0;
        for (const TokenRange& seen : span.seen) {
          if (seen.size() == 0) continue;
          multiply<true, false, T>(scratch.d_v.row(seen.begin), d, {p + at, stride}, {d_o, width}, seen.size(), d,
                                   rows, T{1}, arena);
          multiply<true, false, T>(scratch.d_k.row(seen.begin), d, {d_p + at, stride}, {q + first * pitch, pitch},
                                   seen.size(), d, rows, T{1}, arena);
          multiply<false, false, T>(d_q + first * pitch, pitch, {d_p + at, stride}, {k + seen.begin * pitch, pitch},
                                    rows, d, seen.size(), T{1}, arena);
          at += seen.size();
        }
      }
    }
    for (Index i = 0; i < s.tokens(); ++i) {
      std::copy_n(scratch.d_k.row(i), d, d_q + i * pitch + width);
      std::copy_n(scratch.d_v.row(i), d, d_q + i * pitch + 2 * width);
    }
  });
}

}  // namespace dssl::cpu
