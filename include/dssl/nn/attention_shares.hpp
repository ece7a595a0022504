// What a token attends to, from the queries and keys that a block kept, in the host's memory.
// Tests: tests/features/token_trace.cpp, tests/train/teacher_draws.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What token number `query` of a sequence attends to in a head: shares (T) = softmax over the tokens that
/// `R` lets it see of q . k / sqrt(D / H), in double; 0 for the others.
///
/// `qkv` (T,3D): the sequence's own rows. `group`: of the query. Cost: 2 T D / H FLOP. Throws `ShapeError`
/// unless there is a row and a share a token.
template <AttentionRelation R, class T>
void attention_shares(std::span<double> shares, MatrixView<const T> qkv, const Sequence& sequence,
                      TokenGroup group, Index query, Index heads, Index head) {
  require_shape(static_cast<Index>(shares.size()) == qkv.rows() && qkv.rows() == sequence.tokens(),
                "attention_shares: room for ", shares.size(), " shares, and ", qkv.rows(),
                " rows; expected one each for the ", sequence.tokens(), " tokens");
  const Index width = qkv.cols() / 3, size = width / heads;
  const T* const q = qkv.row(query) + head * size;
  std::ranges::fill(shares, -std::numeric_limits<double>::infinity());
  double largest = -std::numeric_limits<double>::infinity();
  for (const TokenGroup keys : {TokenGroup::class_token, TokenGroup::patch, TokenGroup::reference}) {
    const Sees sees = R.sees(group, keys);
    const Index end = sequence.begin(keys) + sequence.count(keys);
    for (Index at = sequence.begin(keys); at < end && sees != Sees::none; ++at) {
      if (sees == Sees::self && at != query) continue;
      const T* const k = qkv.row(at) + width + head * size;
      double sum = 0;
      for (Index d = 0; d < size; ++d) sum += static_cast<double>(q[d]) * static_cast<double>(k[d]);
      shares[static_cast<std::size_t>(at)] = sum / std::sqrt(static_cast<double>(size));
      largest = std::max(largest, shares[static_cast<std::size_t>(at)]);
    }
  }
  double total = 0;
  for (double& share : shares) total += share = std::exp(share - largest);
  for (double& share : shares) share /= total;
}

}  // namespace dssl
