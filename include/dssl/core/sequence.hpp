// Token sequences packed into one matrix, and who attends to whom within one of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// The kinds of token a sequence is made of.
enum class TokenGroup : std::uint8_t { class_token = 0, reference = 1, patch = 2 };

/// A set of token groups.
struct GroupSet {
  bool class_token = false;
  bool reference = false;
  bool patch = false;

  [[nodiscard]] constexpr bool has(TokenGroup group) const {
    switch (group) {
      case TokenGroup::class_token: return class_token;
      case TokenGroup::reference: return reference;
      default: return patch;
    }
  }
  [[nodiscard]] constexpr bool operator==(const GroupSet&) const = default;
};

inline constexpr GroupSet all_groups{.class_token = true, .reference = true, .patch = true};

/// The tokens of one view of one image: consecutive rows of a packed token matrix, in the order
/// class (1 row), patches (row-major over the view), references.
///
/// Class and patches come first because in every relation with hidden references they are the only keys
/// that another token may see: one contiguous range.
struct Sequence {
  Index first = 0;  ///< row of the class token in the packed matrix
  Index patches = 0;
  Index references = 0;

  [[nodiscard]] constexpr Index tokens() const { return 1 + patches + references; }
  /// First row of a group, relative to `first`.
  [[nodiscard]] constexpr Index begin(TokenGroup group) const {
    return group == TokenGroup::class_token ? 0 : group == TokenGroup::patch ? 1 : 1 + patches;
  }
  /// Number of rows of a group.
  [[nodiscard]] constexpr Index count(TokenGroup group) const {
    return group == TokenGroup::class_token ? 1 : group == TokenGroup::patch ? patches : references;
  }
};

/// Sequences of one packed matrix, as kernels get them.
struct SequenceBatch {
  VectorView<const Sequence> sequences;  ///< in the backend's memory
  Index rows = 0;                        ///< rows of the packed matrix: the sum of all `tokens()`
  Index longest = 0;                     ///< largest `tokens()`
};

/// What the tokens of one group see of another group.
enum class Sees : std::uint8_t {
  none,
  self,  ///< a token sees itself only; meaningful for a group and itself
  full
};

/// Who attends to whom: `of[row group][column group]`, groups in the order class, reference, patch.
///
/// A structural type, so that a relation is a template argument and the kernels leave out at compile time
/// what it rules out. Source: the published code's mask modes (names in `relation_named`).
struct AttentionRelation {
  std::array<std::array<Sees, 3>, 3> of{};

  [[nodiscard]] constexpr Sees sees(TokenGroup row, TokenGroup column) const {
    return of[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)];
  }
  [[nodiscard]] constexpr bool operator==(const AttentionRelation&) const = default;
};

namespace detail {
inline constexpr std::array<Sees, 3> sees_all{Sees::full, Sees::full, Sees::full};
inline constexpr std::array<Sees, 3> sees_content{Sees::full, Sees::none, Sees::full};
}  // namespace detail

/// Every token sees every token (published as `020`).
inline constexpr AttentionRelation open_relation{{{detail::sees_all, detail::sees_all, detail::sees_all}}};
/// Nobody sees references, not even they themselves (`all2pos`).
inline constexpr AttentionRelation hidden_relation{
    {{detail::sees_content, detail::sees_content, detail::sees_content}}};
/// As hidden, and references do not see the class token (`all2pos_pos2cls`).
inline constexpr AttentionRelation hidden_no_class_relation{
    {{detail::sees_content, {Sees::none, Sees::none, Sees::full}, detail::sees_content}}};
/// The published choice: a reference sees itself and the patches (`all2pos_pos2cls_eye`).
inline constexpr AttentionRelation private_relation{
    {{detail::sees_content, {Sees::none, Sees::self, Sees::full}, detail::sees_content}}};
/// Class and references are queries of the patches only (`all_query`).
inline constexpr AttentionRelation all_query_relation{{{{Sees::self, Sees::none, Sees::full},
                                                        {Sees::none, Sees::self, Sees::full},
                                                        {Sees::none, Sees::none, Sees::full}}}};

/// A relation with the names it goes by.
struct NamedRelation {
  std::string_view name;
  std::string_view published_name;
  AttentionRelation relation;
};

/// The five published relations.
inline constexpr std::array<NamedRelation, 5> named_relations{{
    {"open", "020", open_relation},
    {"hidden", "all2pos", hidden_relation},
    {"hidden-no-class", "all2pos_pos2cls", hidden_no_class_relation},
    {"private", "all2pos_pos2cls_eye", private_relation},
    {"all-query", "all_query", all_query_relation},
}};

}  // namespace dssl
