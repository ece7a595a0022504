// Reference backend: attention under a relation, as plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::reference {

/// The group of token t of a sequence (t counts from the class token).
[[nodiscard]] constexpr TokenGroup group_of(const Sequence& sequence, Index t) {
  if (t == 0) return TokenGroup::class_token;
  return t <= sequence.patches ? TokenGroup::patch : TokenGroup::reference;
}

/// Whether token `row` of a sequence sees token `column` of it.
template <AttentionRelation R>
[[nodiscard]] constexpr bool sees(const Sequence& sequence, Index row, Index column) {
  switch (R.sees(group_of(sequence, row), group_of(sequence, column))) {
    case Sees::none: return false;
    case Sees::self: return row == column;
    default: return true;
  }
}

/// Whether the tokens of a group see any token at all, if only themselves.
template <AttentionRelation R>
[[nodiscard]] constexpr bool sees_something(TokenGroup row) {
  for (const TokenGroup column : {TokenGroup::class_token, TokenGroup::reference, TokenGroup::patch}) {
    const Sees sees = R.sees(row, column);
    if (sees == Sees::full || (sees == Sees::self && row == column)) return true;
  }
  return false;
}

/// Attention; contract in backend/concept.hpp. Visits all pairs of tokens and asks the relation of each.
template <class T>
class Attention {
 public:
  template <AttentionRelation R>
  void attention_forward(MatrixView<T> out, MatrixView<T> log_sum, MatrixView<const T> qkv,
                         const SequenceBatch& batch, Index heads, GroupSet queries) const {
    static_assert(sees_something<R>(TokenGroup::class_token) && sees_something<R>(TokenGroup::reference) &&
                      sees_something<R>(TokenGroup::patch),
                  "attention: under this relation some token sees nothing");
    const Index width = out.cols();
    const Index d = width / heads;
    std::vector<double> score(static_cast<std::size_t>(batch.longest));
    for (const Sequence& s : batch.sequences.flat()) {
      for (Index h = 0; h < heads; ++h) {
        for (Index i = 0; i < s.tokens(); ++i) {
          if (!queries.has(group_of(s, i))) continue;
          const double log_total = x_scores<R>(score, qkv, s, i, h * d, d, width);
          log_sum(s.first + i, h) = static_cast<T>(log_total);
          for (Index c = 0; c < d; ++c) {
            double sum = 0;
            for (Index j = 0; j < s.tokens(); ++j) {
              if (!sees<R>(s, i, j)) continue;
              sum += std::exp(score[static_cast<std::size_t>(j)] - log_total) *
                     static_cast<double>(qkv(s.first + j, 2 * width + h * d + c));
            }
            out(s.first + i, h * d + c) = static_cast<T>(sum);
          }
        }
      }
    }
  }

  template <AttentionRelation R>
  void attention_backward(MatrixView<T> d_qkv, MatrixView<const T> d_out, MatrixView<const T> out,
                          MatrixView<const T> log_sum, MatrixView<const T> qkv, const SequenceBatch& batch,
                          Index heads, GroupSet queries) const {
    const Index width = out.cols();
    const Index d = width / heads;
    const double scale = 1.0 / std::sqrt(static_cast<double>(d));
    std::vector<double> score(static_cast<std::size_t>(batch.longest));
    std::vector<double> sums;
    for (const Sequence& s : batch.sequences.flat()) {
      const Index tokens = s.tokens();
      sums.assign(static_cast<std::size_t>(tokens * 3 * width), 0.0);
      const MatrixView<double> sum(sums.data(), tokens, 3 * width);
      for (Index h = 0; h < heads; ++h) {
        const Index q = h * d;
        const Index k = width + h * d;
        const Index v = 2 * width + h * d;
        for (Index i = 0; i < tokens; ++i) {
          if (!queries.has(group_of(s, i))) continue;
          x_scores<R>(score, qkv, s, i, h * d, d, width);
          // d_score_j = p_j (d_out . v_j - d_out . out): the second term is the softmax's own row sum.
          double row = 0;
          for (Index c = 0; c < d; ++c) {
            row += static_cast<double>(d_out(s.first + i, q + c)) * static_cast<double>(out(s.first + i, q + c));
          }
          for (Index j = 0; j < tokens; ++j) {
            if (!sees<R>(s, i, j)) continue;
            const double p =
                std::exp(score[static_cast<std::size_t>(j)] - static_cast<double>(log_sum(s.first + i, h)));
            double d_p = 0;
            for (Index c = 0; c < d; ++c) {
              d_p += static_cast<double>(d_out(s.first + i, q + c)) * static_cast<double>(qkv(s.first + j, v + c));
              sum(j, v + c) += p * static_cast<double>(d_out(s.first + i, q + c));
            }
            const double d_score = p * (d_p - row) * scale;
            for (Index c = 0; c < d; ++c) {
              sum(i, q + c) += d_score * static_cast<double>(qkv(s.first + j, k + c));
              sum(j, k + c) += d_score * static_cast<double>(qkv(s.first + i, q + c));
            }
          }
        }
      }
      for (Index i = 0; i < tokens; ++i) {
        for (Index c = 0; c < 3 * width; ++c) d_qkv(s.first + i, c) = static_cast<T>(sum(i, c));
      }
    }
  }

 private:
  /// Scaled scores of row i against every token it sees; returns the log of the sum of their exponentials.
  template <AttentionRelation R>
  static double x_scores(std::vector<double>& score, MatrixView<const T> qkv, const Sequence& s, Index i, Index head,
                         Index d, Index width) {
    double largest = -std::numeric_limits<double>::infinity();
    for (Index j = 0; j < s.tokens(); ++j) {
      if (!sees<R>(s, i, j)) continue;
      double sum = 0;
      for (Index c = 0; c < d; ++c) {
        sum += static_cast<double>(qkv(s.first + i, head + c)) *
               static_cast<double>(qkv(s.first + j, width + head + c));
      }
      sum /= std::sqrt(static_cast<double>(d));
      score[static_cast<std::size_t>(j)] = sum;
      largest = std::max(largest, sum);
    }
    double total = 0;
    for (Index j = 0; j < s.tokens(); ++j) {
      if (sees<R>(s, i, j)) total += std::exp(score[static_cast<std::size_t>(j)] - largest);
    }
    return largest + std::log(total);
  }
};

}  // namespace dssl::reference
