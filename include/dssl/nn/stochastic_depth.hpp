// Stochastic depth: which sequences take part in which residual branch, so that the others cost nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// Rows that take part in a branch. Without an index every row does.
struct KeptRows {
  RowIndex packed{};  ///< of every row its number among those that take part, or -1; empty: all take part
  Index count = 0;    ///< how many do, where there is an index

  [[nodiscard]] Index count_of(Index rows) const { return packed.empty() ? rows : count; }
};

/// Multipliers of a block's two residual branches for each sequence (0 or 1/(1 - rate)); empty: 1.
///
/// Rows of sequences whose multiplier is 0 may also be left out of the branch: then the members below say which
/// rows are there. Without them every row is computed and multiplied by its number.
template <class T>
struct BranchKeep {
  VectorView<const T> attention;
  VectorView<const T> mlp;
  KeptRows attention_rows{};     ///< of all rows of the token matrix
  SequenceBatch batch{};         ///< the sequences among these, where some are left out
  KeptRows attention_reads{};    ///< last block: of the rows that are read, in output order
  RowIndex read_of_attention{};  ///< last block, where some are left out: for each of these its row in attention's branch
  KeptRows mlp_rows{};           ///< of the rows that go beyond attention
};

/// The multipliers of one step in a backend's memory, with the rows that they leave.
///
/// A dropped sequence adds 0 to its rows and to every gradient: on a backend with `ResidualNorms` its rows are left
/// out of the branch's matrices, forward and backward, so a rate of 0.1 on the last block saves about 5 % of a
/// student's blocks. Elsewhere its branch is computed and multiplied by 0. Memory is taken once; `set` allocates
/// nothing. Source: docs/method.md, "Backbone". Test: "a dropped branch is not computed, and changes nothing".
template <class T>
class StochasticDepth {
 public:
  StochasticDepth() = default;

  /// Room for the multipliers of `depth` blocks and all indices. `layout` must outlive the use of `set`.
  template <Backend B>
  static StochasticDepth place(const B&, Arena& arena, const TokenLayout& layout, Index depth) {
    StochasticDepth out;
    const auto blocks = static_cast<std::size_t>(depth);
    out.x_sequences = layout.sequence_count();
    out.x_keep = arena.vector<T>(2 * depth * out.x_sequences);
    out.x_branches.reserve(blocks);
    if constexpr (ResidualNorms<B>) {
      for (std::size_t i = 0; i < blocks; ++i) {
        const bool last = i + 1 == blocks;
        x_room room;
        room.attention = arena.vector<std::int32_t>(layout.rows());
        room.sequences = arena.vector<Sequence>(out.x_sequences);
        if (last) {
          room.reads = arena.vector<std::int32_t>(layout.read_count());
          room.read_rows = arena.vector<std::int32_t>(layout.read_count());
        }
        room.mlp = arena.vector<std::int32_t>(last ? layout.read_count() : layout.rows());
        out.x_rooms.push_back(room);
      }
      out.x_index.reserve(static_cast<std::size_t>(std::max(layout.rows(), layout.read_count())));
      out.x_rows.reserve(static_cast<std::size_t>(layout.rows()));
      out.x_kept.reserve(static_cast<std::size_t>(out.x_sequences));
    }
    return out;
  }

  /// Takes the multipliers (depth,2,S) of a step; none: every branch counts fully.
  template <Backend B>
  void set(const B& backend, const TokenLayout& layout, std::span<const T> keep);

  /// One entry a block, or none.
  [[nodiscard]] std::span<const BranchKeep<T>> branches() const { return x_branches; }

 private:
  struct x_room {
    VectorView<std::int32_t> attention, reads, read_rows, mlp;
    VectorView<Sequence> sequences;
  };

  /// Multiplication by 1 everywhere is not worth a pass.
  VectorView<const T> x_unless_ones(std::span<const T> keep, std::size_t branch) const {
    if (std::all_of(keep.begin(), keep.end(), [](T k) { return k == T{1}; })) return {};
    return VectorView<const T>(x_keep.data() + branch * keep.size(), static_cast<Index>(keep.size()));
  }

  /// Numbers the rows whose sequence has a multiplier, and uploads them where some have none.
  template <Backend B>
  KeptRows x_kept_rows(const B& backend, std::span<const std::int32_t> sequence_of_row, std::span<const T> keep,
                       VectorView<std::int32_t> room) {
    if (std::none_of(keep.begin(), keep.end(), [](T k) { return k == T{0}; })) return {};
    std::int32_t count = 0;
    x_index.clear();
    for (const std::int32_t s : sequence_of_row) {
      x_index.push_back(keep[static_cast<std::size_t>(s)] == T{0} ? -1 : count++);
    }
    backend.upload(room.data(), std::span<const std::int32_t>(x_index));
    return {.packed = RowIndex(room.data(), room.size()), .count = count};
  }

  template <Backend B>
  void x_leave_out_attention(const B& backend, BranchKeep<T>& branch, const TokenLayout& layout,
                             std::span<const T> keep, const x_room& room, bool last) {
    branch.attention_rows = x_kept_rows(backend, layout.sequence_of_row(), keep, room.attention);
    if (branch.attention_rows.packed.empty()) return;
    if (last) x_rows.assign(x_index.begin(), x_index.end());
    x_kept.clear();
    Index longest = 0;
    Index first = 0;
    for (std::size_t s = 0; s < keep.size(); ++s) {
      if (keep[s] == T{0}) continue;
      Sequence sequence = layout.sequences()[s];
      sequence.first = first;
      first += sequence.tokens();
      longest = std::max(longest, sequence.tokens());
      x_kept.push_back(sequence);
    }
    backend.upload(room.sequences.data(), std::span<const Sequence>(x_kept));
    branch.batch = {.sequences = VectorView<const Sequence>(room.sequences.data(), static_cast<Index>(x_kept.size())),
                    .rows = first,
                    .longest = longest};
    if (!last) return;
    branch.attention_reads = x_kept_rows(backend, layout.sequence_of_read_row(), keep, room.reads);
    x_index.clear();
    for (const std::int32_t row : layout.read_rows()) {
      const std::int32_t packed = x_rows[static_cast<std::size_t>(row)];
      if (packed >= 0) x_index.push_back(packed);
    }
    backend.upload(room.read_rows.data(), std::span<const std::int32_t>(x_index));
    branch.read_of_attention = RowIndex(room.read_rows.data(), static_cast<Index>(x_index.size()));
  }

  Index x_sequences = 0;
  VectorView<T> x_keep;
  std::vector<x_room> x_rooms;
  std::vector<BranchKeep<T>> x_branches;
  std::vector<std::int32_t> x_index, x_rows;
  std::vector<Sequence> x_kept;
};

template <class T>
template <Backend B>
void StochasticDepth<T>::set(const B& backend, const TokenLayout& layout, std::span<const T> keep) {
  x_branches.clear();
  if (keep.empty()) return;
  const auto each = static_cast<std::size_t>(x_sequences);
  if (keep.size() != static_cast<std::size_t>(x_keep.size())) {
    throw ShapeError(join("stochastic depth got ", keep.size(), " multipliers instead of ", x_keep.size()));
  }
  backend.upload(x_keep.data(), keep);
  const std::size_t blocks = keep.size() / (2 * each);
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::span<const T> attention = keep.subspan(2 * i * each, each);
    const std::span<const T> mlp = keep.subspan((2 * i + 1) * each, each);
    BranchKeep<T> branch;
    branch.attention = x_unless_ones(attention, 2 * i);
    branch.mlp = x_unless_ones(mlp, 2 * i + 1);
    if constexpr (ResidualNorms<B>) {
      const bool last = i + 1 == blocks;
      x_leave_out_attention(backend, branch, layout, attention, x_rooms[i], last);
      branch.mlp_rows = x_kept_rows(backend, last ? layout.sequence_of_read_row() : layout.sequence_of_row(), mlp,
                                    x_rooms[i].mlp);
    }
    x_branches.push_back(branch);
  }
}

/// Draws the multipliers of a step's residual branches, out (depth,2,sequences): 0 with the branch's rate, else 1/(1 - rate); the
/// rate grows linearly over the blocks, from 0 to `rate`. samples (B): of images, sequence s being of image s % B in view s / B.
///
/// Keyed by sample and view, so a sample's draws do not depend on the batch it is in. Source: docs/method.md, "Backbone".
template <class T>
void draw_keep(std::span<T> out, double rate, std::uint64_t seed, Index epoch, std::span<const std::int64_t> samples,
               Index sequences) {
  const auto batch = static_cast<Index>(samples.size());
  const Index branches = static_cast<Index>(out.size()) / sequences, depth = branches / 2;
  for (Index s = 0; s < sequences; ++s) {
    RandomStream random({.seed = seed,
                         .epoch = static_cast<std::uint32_t>(epoch),
                         .sample = static_cast<std::uint64_t>(samples[static_cast<std::size_t>(s % batch)]),
                         .view = static_cast<std::uint32_t>(s / batch),
                         .purpose = Purpose::stochastic_depth});
    for (Index i = 0; i < branches; ++i) {
      const double own = depth == 1 ? 0.0 : rate * static_cast<double>(i / 2) / static_cast<double>(depth - 1);
      const bool dropped = random.bernoulli(own);
      out[static_cast<std::size_t>(i * sequences + s)] = dropped ? T{0} : static_cast<T>(1.0 / (1.0 - own));
    }
  }
}

}  // namespace dssl
