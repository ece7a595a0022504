// Cuda backend: which tokens attention's kernels visit, and who sees whom among them.
#pragma once

#include <cstdint>

#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/sight.hpp>
#include <dssl/core/sequence.hpp>

namespace dssl::cuda {

/// A set of token groups, one bit a group in the order of memory: class 1, patches 2, references 4.
using GroupBits = std::uint32_t;

/// What a relation and a call's queries ask of the kernels: made from the relation at compile time, and small
/// enough to be passed by value, so that one kernel serves every relation. What the relation rules out is
/// left out by ranges of tokens, not by looking at pairs of them.
class AttentionPattern {
 public:
  /// Every group sees something, if only itself.
  template <AttentionRelation R>
  [[nodiscard]] static constexpr AttentionPattern of(GroupSet queries) {
    constexpr TokenGroup groups[3] = {TokenGroup::class_token, TokenGroup::patch, TokenGroup::reference};
    constexpr Sight sights[3] = {sight_of<R>(groups[0]), sight_of<R>(groups[1]), sight_of<R>(groups[2])};
    static_assert(sights[0].anything() && sights[1].anything() && sights[2].anything(),
                  "attention: under this relation some token sees nothing");
    AttentionPattern pattern;
    for (unsigned row = 0; row < 3; ++row) {
      if (!queries.has(groups[row])) continue;
      pattern.x_queries |= 1U << row;
      if (sights[row].self) pattern.x_self |= 1U << row;
      for (unsigned column = 0; column < 3; ++column) {
        if (!sights[row].whole(groups[column])) continue;
        pattern.x_sees |= 1U << (3 * row + column);
        pattern.x_seen_by |= 1U << (3 * column + row);
        pattern.x_keys |= 1U << column;
      }
    }
    return pattern;
  }

  /// Groups whose rows are computed.
  [[nodiscard]] __host__ __device__ constexpr GroupBits queries() const { return x_queries; }
  /// Queries that see their own key beside the groups they see.
  [[nodiscard]] __host__ __device__ constexpr GroupBits self() const { return x_self; }
  /// Groups that some query sees whole.
  [[nodiscard]] __host__ __device__ constexpr GroupBits keys() const { return x_keys; }
  /// Groups that the queries of group `row` see whole.
  [[nodiscard]] __host__ __device__ constexpr GroupBits sees(unsigned row) const {
    return x_sees >> 3 * row & 7U;
  }
  /// Groups whose queries see group `column` whole.
  [[nodiscard]] __host__ __device__ constexpr GroupBits seen_by(unsigned column) const {
    return x_seen_by >> 3 * column & 7U;
  }

 private:
  std::uint32_t x_sees = 0, x_seen_by = 0;
  GroupBits x_queries = 0, x_self = 0, x_keys = 0;
};

/// The tokens of some groups of a sequence, numbered without gaps in the order of memory.
class TokenSet {
 public:
  __device__ TokenSet(const Sequence& s, GroupBits groups)
      : x_class((groups & 1U) != 0 ? 1 : 0),
        x_patches((groups & 2U) != 0 ? static_cast<int>(s.patches) : 0),
        x_references((groups & 4U) != 0 ? static_cast<int>(s.references) : 0),
        x_all_patches(static_cast<int>(s.patches)) {}

  [[nodiscard]] __device__ int size() const { return x_class + x_patches + x_references; }
  /// Position in the sequence of the set's i-th token.
  [[nodiscard]] __device__ int token(int i) const {
    if (i < x_class) return 0;
    i -= x_class;
    return i < x_patches ? 1 + i : 1 + x_all_patches + i - x_patches;
  }
  /// Group of the set's i-th token: 0 class, 1 patch, 2 reference, and 3 past the end.
  [[nodiscard]] __device__ unsigned group(int i) const {
    return i < x_class ? 0U : i < x_class + x_patches ? 1U : i < size() ? 2U : 3U;
  }
  /// Groups among the set's tokens [begin, end).
  [[nodiscard]] __device__ GroupBits groups(int begin, int end) const {
    GroupBits bits = begin < x_class ? 1U : 0U;
    if (begin < x_class + x_patches && end > x_class && x_patches > 0) bits |= 2U;
    if (end > x_class + x_patches && x_references > 0) bits |= 4U;
    return bits;
  }

 private:
  int x_class, x_patches, x_references, x_all_patches;
};

/// Who meets whom between a block's own tokens and a tile of others.
struct Meeting {
  GroupBits any = 0;  ///< groups that some own token meets
  GroupBits all = 7;  ///< groups that every own token meets

  template <class MetBy>
  __device__ Meeting(GroupBits own_groups, const MetBy& met_by) {
    for (unsigned group = 0; group < 3; ++group) {
      if ((own_groups >> group & 1U) == 0) continue;
      any |= met_by(group);
      all &= met_by(group);
    }
  }
  [[nodiscard]] __device__ bool nothing(GroupBits others) const { return (any & others) == 0; }
  [[nodiscard]] __device__ bool everything(GroupBits others) const { return (others & ~all) == 0; }
};

/// What every kernel of attention is given beside its matrices.
struct AttentionShape {
  const Sequence* sequences = nullptr;
  AttentionPattern pattern{};
  int heads = 0;
  int width = 0;     ///< of a head
  int tiles = 0;     ///< blocks a head of a sequence
  double scale = 0;  ///< 1 / sqrt(width)
};

/// A block's share of attention: blocks count through the tiles of a head, the heads of a sequence, the
/// sequences.
struct AttentionPlace {
  Sequence sequence;
  int head, tile;

  __device__ explicit AttentionPlace(const AttentionShape& shape) {
    const unsigned part = blockIdx.x / static_cast<unsigned>(shape.tiles);
    tile = static_cast<int>(blockIdx.x % static_cast<unsigned>(shape.tiles));
    head = static_cast<int>(part % static_cast<unsigned>(shape.heads));
    sequence = shape.sequences[part / static_cast<unsigned>(shape.heads)];
  }
};

/// The slices of one head in qkv (M,3D) or its gradient: row `token` of a sequence.
template <class T>
struct HeadSlices {
  T* q;
  Index pitch;  ///< numbers a row, 3D
  Index model;  ///< D

  __device__ HeadSlices(T* qkv, const AttentionShape& shape, const AttentionPlace& place)
      : pitch(Index{3} * shape.heads * shape.width), model(Index{1} * shape.heads * shape.width) {
    q = qkv + place.sequence.first * pitch + Index{1} * place.head * shape.width;
  }
  [[nodiscard]] __device__ T* query(int token) const { return q + token * pitch; }
  [[nodiscard]] __device__ T* key(int token) const { return q + token * pitch + model; }
  [[nodiscard]] __device__ T* value(int token) const { return q + token * pitch + 2 * model; }
};

/// A head's slice of out (M,D) or its gradient.
template <class T>
struct HeadSlice {
  T* first;
  Index pitch;  ///< D

  __device__ HeadSlice(T* out, const AttentionShape& shape, const AttentionPlace& place)
      : pitch(Index{1} * shape.heads * shape.width) {
    first = out + place.sequence.first * pitch + Index{1} * place.head * shape.width;
  }
  [[nodiscard]] __device__ T* row(int token) const { return first + token * pitch; }
};

/// A head's column of numbers, one a row: log_sum (M,H).
template <class T>
struct HeadColumn {
  T* first;
  Index pitch;  ///< H

  __device__ HeadColumn(T* column, const AttentionShape& shape, const AttentionPlace& place)
      : first(column + place.sequence.first * shape.heads + place.head), pitch(shape.heads) {}
  [[nodiscard]] __device__ T& at(int token) const { return first[token * pitch]; }
};

}  // namespace dssl::cuda
