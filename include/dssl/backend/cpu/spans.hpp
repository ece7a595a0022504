// What attention under a relation has to compute: spans of rows and the ranges of tokens that they see.
#pragma once

#include <array>
#include <cstddef>

#include <dssl/backend/sight.hpp>
#include <dssl/core/sequence.hpp>

namespace dssl::cpu {

/// Tokens of a sequence, [begin, end).
struct TokenRange {
  Index begin = 0;
  Index end = 0;
  [[nodiscard]] constexpr Index size() const { return end - begin; }
};

/// Rows of a sequence that see the same tokens: two ranges at most (the second may be empty), and, where
/// `self`, each row itself, which then lies outside the ranges.
struct RowSpan {
  TokenRange rows;
  std::array<TokenRange, 2> seen{};
  bool self = false;
  [[nodiscard]] constexpr Index seen_count() const { return seen[0].size() + seen[1].size(); }
};

/// The spans of a sequence whose groups are in `queries`, in the order of rows; neighbouring groups that see
/// the same become one span. At most three; unused ones have no rows.
template <AttentionRelation R>
[[nodiscard]] constexpr std::array<RowSpan, 3> row_spans(const Sequence& s, GroupSet queries) {
  constexpr std::array<TokenGroup, 3> order{TokenGroup::class_token, TokenGroup::patch, TokenGroup::reference};
  constexpr std::array<Sight, 3> sights{sight_of<R>(order[0]), sight_of<R>(order[1]), sight_of<R>(order[2])};
  static_assert(sights[0].anything() && sights[1].anything() && sights[2].anything(),
                "attention: under this relation some token sees nothing");
  std::array<RowSpan, 3> spans{};
  std::size_t count = 0;
  for (std::size_t g = 0; g < 3; ++g) {
    const TokenRange rows{s.begin(order[g]), s.begin(order[g]) + s.count(order[g])};
    if (!queries.has(order[g]) || rows.size() == 0) continue;
    if (count > 0 && sights[g] == sights[g - 1] && spans[count - 1].rows.end == rows.begin) {
      spans[count - 1].rows.end = rows.end;
      continue;
    }
    const Sight& sight = sights[g];
    const Index patches_end = 1 + s.patches;
    RowSpan& span = spans[count++];
    span.rows = rows;
    span.self = sight.self;
    // Memory order is class, patches, references: only "class and references" leaves a gap.
    if (sight.patch) {
      span.seen[0] = {sight.class_token ? 0 : 1, sight.reference ? s.tokens() : patches_end};
    } else {
      span.seen[0] = {0, sight.class_token ? 1 : 0};
      span.seen[1] = {patches_end, sight.reference ? s.tokens() : patches_end};
    }
  }
  return spans;
}

}  // namespace dssl::cpu
