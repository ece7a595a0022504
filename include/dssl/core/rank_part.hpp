// Which numbers of a flat buffer are a rank's own, where ranks share a work out.
// Tests: tests/core/communicator.cpp.
#pragma once

#include <algorithm>
#include <utility>

#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A rank's own numbers of a flat buffer: each has `share` of them, one rank after the other; the last ones fewer, or none.
struct RankPart {
  Index share = 0;
  Index first = 0;
  Index size = 0;

  /// All of them, where nothing is shared out.
  [[nodiscard]] static constexpr RankPart all(Index total) { return {total, 0, total}; }
  /// `of_rank`: the rank; shares are multiples of 16, at which tensors begin.
  [[nodiscard]] static constexpr RankPart of(Index total, Index ranks, Index of_rank) {
    const Index share = ((total + ranks - 1) / ranks + 15) / 16 * 16;
    const Index first = std::min(total, of_rank * share);
    return {share, first, std::min(share, total - first)};
  }
  /// What of `size` numbers from `begin` on are of the part, counted from its first: {begin, size}; of none {0, 0}.
  [[nodiscard]] constexpr std::pair<Index, Index> overlap(Index begin, Index of_size) const {
    const Index low = std::max(begin, first), high = std::min(begin + of_size, first + size);
    return low < high ? std::pair(low - first, high - low) : std::pair(Index{0}, Index{0});
  }
};

/// Some of a flat buffer that ranks share out by itself, and the rank's own part of it, counted from `begin`.
struct SharedRange {
  Index begin = 0;
  Index count = 0;
  RankPart part{};

  /// The same part, counted from the buffer's begin.
  [[nodiscard]] constexpr RankPart own() const { return {part.share, begin + part.first, part.size}; }
};

}  // namespace dssl
