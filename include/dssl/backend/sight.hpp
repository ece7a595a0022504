// What a group of tokens sees under an attention relation, as kernels look at it.
#pragma once

#include <dssl/core/sequence.hpp>

namespace dssl {

/// What one group of rows sees.
struct Sight {
  bool class_token = false;
  bool patch = false;
  bool reference = false;
  bool self = false;
  [[nodiscard]] constexpr bool operator==(const Sight&) const = default;
  [[nodiscard]] constexpr bool anything() const { return class_token || patch || reference || self; }
  /// Whether all tokens of a group are seen.
  [[nodiscard]] constexpr bool whole(TokenGroup column) const {
    return column == TokenGroup::class_token ? class_token : column == TokenGroup::patch ? patch : reference;
  }
};

/// A class token that sees itself sees the whole of its group, since there is one class token only.
template <AttentionRelation R>
[[nodiscard]] constexpr Sight sight_of(TokenGroup row) {
  const auto full = [row](TokenGroup column) {
    const Sees sees = R.sees(row, column);
    const bool alone = row == TokenGroup::class_token && column == TokenGroup::class_token;
    return sees == Sees::full || (alone && sees == Sees::self);
  };
  return {.class_token = full(TokenGroup::class_token),
          .patch = full(TokenGroup::patch),
          .reference = full(TokenGroup::reference),
          .self = row != TokenGroup::class_token && R.sees(row, row) == Sees::self};
}

}  // namespace dssl
