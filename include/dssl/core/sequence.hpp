// Token sequences packed into one matrix, and who attends to whom within one of them.
// Tests: tests/core/sequence.cpp.
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

/// Learned vectors of a network beside a backbone's own: the reference tokens' (`ref_learn_token`), and the one that
/// stands in the place of a patch that is masked (`mask_token`).
struct LearnedTokens {
  bool reference = false;
  bool mask = false;

  [[nodiscard]] constexpr bool operator==(const LearnedTokens&) const = default;
};

inline constexpr GroupSet all_groups{.class_token = true, .reference = true, .patch = true};

/// The tokens of one view of one image: consecutive rows of a packed token matrix, in the order
/// class (1 row), registers and patches (row-major over the view), references.
///
/// Registers (tokens that every image has, without a place) see and are seen as patches are: to a relation and to kernels
/// they are patches, so that they cost no code of their own; `TokenLayout` knows them apart.
///
/// Class and patches come first because in every relation with hidden references they are the only keys
/// that another token may see: one contiguous range.
struct Sequence {
  Index first = 0;  ///< row of the class token in the packed matrix
  Index patches = 0;  ///< and registers
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

/// What the tokens of one group see of the class token, the references and the patches.
struct RelationRow {
  Sees class_token = Sees::none;
  Sees reference = Sees::none;
  Sees patch = Sees::none;
};

/// Who attends to whom: a row of `Sees` for the class token, for references and for patches.
///
/// A structural type of one number (two bits an entry), so that a relation is a template argument with a short
/// name, and the kernels leave out at compile time what it rules out. Source: the published code's mask modes.
struct AttentionRelation {
  std::uint32_t code = 0;

  constexpr AttentionRelation() = default;
  constexpr AttentionRelation(RelationRow class_row, RelationRow reference_row, RelationRow patch_row)
      : code(x_pack(class_row) | x_pack(reference_row) << 6U | x_pack(patch_row) << 12U) {}

  [[nodiscard]] constexpr Sees sees(TokenGroup row, TokenGroup column) const {
    return static_cast<Sees>(code >> (6U * static_cast<std::uint32_t>(row) + 2U * static_cast<std::uint32_t>(column)) &
                             3U);
  }
  [[nodiscard]] constexpr bool operator==(const AttentionRelation&) const = default;

 private:
  static constexpr std::uint32_t x_pack(RelationRow row) {
    return static_cast<std::uint32_t>(row.class_token) | static_cast<std::uint32_t>(row.reference) << 2U |
           static_cast<std::uint32_t>(row.patch) << 4U;
  }
};

/// Whether class token and patches see no reference, so that they compute what they do without any.
[[nodiscard]] constexpr bool hides_references(AttentionRelation relation) {
  return relation.sees(TokenGroup::class_token, TokenGroup::reference) == Sees::none &&
         relation.sees(TokenGroup::patch, TokenGroup::reference) == Sees::none;
}

namespace detail {
inline constexpr RelationRow sees_all{Sees::full, Sees::full, Sees::full};
inline constexpr RelationRow sees_content{Sees::full, Sees::none, Sees::full};
}  // namespace detail

/// Every token sees every token (published as `020`).
inline constexpr AttentionRelation open_relation{detail::sees_all, detail::sees_all, detail::sees_all};
/// Nobody sees references, not even they themselves (`all2pos`).
inline constexpr AttentionRelation hidden_relation{detail::sees_content, detail::sees_content, detail::sees_content};
/// As hidden, and references do not see the class token (`all2pos_pos2cls`).
inline constexpr AttentionRelation hidden_no_class_relation{
    detail::sees_content, {Sees::none, Sees::none, Sees::full}, detail::sees_content};
/// The published choice: a reference sees itself and the patches (`all2pos_pos2cls_eye`).
inline constexpr AttentionRelation private_relation{
    detail::sees_content, {Sees::none, Sees::self, Sees::full}, detail::sees_content};
/// Class and references are queries of the patches only (`all_query`).
inline constexpr AttentionRelation all_query_relation{{Sees::self, Sees::none, Sees::full},
                                                      {Sees::none, Sees::self, Sees::full},
                                                      {Sees::none, Sees::none, Sees::full}};

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
