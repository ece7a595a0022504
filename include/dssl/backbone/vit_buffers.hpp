// What a vision transformer reads, and what it computes in: inputs, activations, gradients.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/derived_weights.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// How rows [first, first + count) of the position grids are read: by taps[0] of the table, by each further one of what
/// the one before gave.
template <class T>
struct GridReads {
  Index first = 0;
  Index count = 0;
  std::vector<VectorView<const Taps<T>>> taps;
};

/// What a ViT reads: images and where its position table is read, in a backend's memory.
template <class T>
struct ViTInputs {
  std::vector<TensorView<T, 4>> images;  // a group each: (count,C,H,W)
  std::vector<GridReads<T>> grids;       // set once: all as one, or a group each where one takes several reads
  VectorView<Taps<T>> point_taps;        // (R total) set by the caller in each step: `ViTFamily::point_taps`
  VectorView<Taps<T>> content_taps;      // (R total) of all patches, set likewise: what is embedded at the points is added
                                         // to the references; empty: they are positions alone
  bool content_attached = false;         // gradients flow back from there
  MatrixView<const T> axes;              // rotary positions: rows (1, 0) and (0, 1), the table of coordinates
  RowIndex places;                       // rotary positions: of each token the row of its rotation, or -1
  RowIndex reference_places;             // and of each reference
  RowIndex query_rows, key_rows;         // norms of heads: `HeadChanges::queries` and `keys`
  RowIndex zeros;                        // as many 0 as there are sequences, references or masked patches
  RowIndex masked_patches;               // numbers of the patches that are masked, set by the caller in each step

  /// Takes the buffers from the arena and, if that is live, fills in the grid reads.
  /// `images`: views that lie elsewhere already (the teacher sees the student's); empty: taken here.
  /// `masked`: patches that may be masked in a step, at most. Throws `OptionError` for references without positions.
  template <Backend B>
  static ViTInputs place(const B& backend, Arena& arena, const ViTConfig& c, const TokenLayout& layout,
                         std::vector<TensorView<T, 4>> images = {}, Index masked = 0);
};

template <class T>
template <Backend B>
ViTInputs<T> ViTInputs<T>::place(const B& backend, Arena& arena, const ViTConfig& c, const TokenLayout& layout,
                                 std::vector<TensorView<T, 4>> images, Index masked) {
  ViTInputs in;
  in.images = std::move(images);
  const bool own_images = in.images.empty();
  std::vector<std::vector<std::vector<Taps<T>>>> reads;  // of each group
  for (const ViewGroup& group : layout.groups()) {
    if (own_images) {
      in.images.emplace_back(arena.take<T>(group.count * c.channels * group.grid.size() * c.patch * c.patch),
                             group.count, c.channels, group.grid.height * c.patch, group.grid.width * c.patch);
    }
    reads.push_back(c.rotary() ? std::vector<std::vector<Taps<T>>>{coordinate_reads<T>(group.grid)}
                               : grid_reads<T>(group.grid, c.native_grid(), c.position_rule));
  }
  if (c.positions == Positions::none) {
    if (layout.reference_count() > 0) {
      throw OptionError("positions", "none", "learned, sincos or rotary with reference tokens, which are placed by them");
    }
  } else if (std::all_of(reads.begin(), reads.end(), [](const auto& of_group) { return of_group.size() == 1; })) {
    std::vector<Taps<T>> all;
    for (const auto& of_group : reads) all.insert(all.end(), of_group[0].begin(), of_group[0].end());
    in.grids = {{.first = 0, .count = layout.cells(), .taps = {place_copy(backend, arena, all)}}};
  } else {
    Index first = 0;
    for (const auto& of_group : reads) {
      const auto count = static_cast<Index>(of_group.back().size());
      GridReads<T>& grid = in.grids.emplace_back(GridReads<T>{.first = first, .count = count, .taps = {}});
      for (const auto& taps : of_group) grid.taps.push_back(place_copy(backend, arena, taps));
      first += count;
    }
  }
  if (c.rotary()) {
    in.axes = MatrixView<const T>(place_copy(backend, arena, std::vector<T>{1, 0, 0, 1}).data(), 2, 2);
    std::vector<std::int32_t> places(static_cast<std::size_t>(layout.rows()), -1);
    for (std::size_t i = 0; i < layout.patch_rows().size(); ++i) {
      places[static_cast<std::size_t>(layout.patch_rows()[i])] = layout.patch_cells()[i];
    }
    auto place = static_cast<std::int32_t>(layout.cells());
    std::vector<std::int32_t> of_references;
    for (const std::int32_t row : layout.reference_rows()) {
      of_references.push_back(place);
      places[static_cast<std::size_t>(row)] = place++;
    }
    in.places = place_copy(backend, arena, places);
    in.reference_places = place_copy(backend, arena, of_references);
  }
  if (c.qk_norm) {
    std::vector<std::int32_t> rows;
    for (Index m = 0; m < layout.rows(); ++m) {
      for (Index h = 0; h < c.heads; ++h) rows.push_back(static_cast<std::int32_t>(3 * c.heads * m + h));
    }
    in.query_rows = place_copy(backend, arena, rows);
    for (std::int32_t& row : rows) row += static_cast<std::int32_t>(c.heads);
    in.key_rows = place_copy(backend, arena, rows);
  }
  in.point_taps = arena.vector<Taps<T>>(layout.reference_count());
  in.zeros = place_copy(backend, arena, std::vector<std::int32_t>(
      static_cast<std::size_t>(std::max({layout.sequence_count(), layout.reference_count(), masked})), 0));
  return in;
}

/// Of each read of a position grid but the last one, how many rows it gives at most.
template <class T>
[[nodiscard]] std::vector<Index> rows_between_reads(const ViTConfig& c, const TokenLayout& layout) {
  std::vector<Index> most;
  if (!c.table() || c.position_rule != PositionRule::size_antialiased) return most;
  for (const ViewGroup& group : layout.groups()) {
    const auto reads = grid_reads<T>(group.grid, c.native_grid(), c.position_rule);
    most.resize(std::max(most.size(), reads.size() - 1), 0);
    for (std::size_t i = 0; i + 1 < reads.size(); ++i) most[i] = std::max(most[i], static_cast<Index>(reads[i].size()));
  }
  return most;
}

/// What a ViT computes for one token layout, in a backend's memory.
template <class T>
struct ViTActivations {
  MatrixView<T> patches;        // (N total, C*p*p)
  MatrixView<T> grid_position;  // (cells,D), or (cells,2) the coordinates of rotary positions
  MatrixView<T> coordinates;    // (cells + R total,2) of these, and those of references
  MatrixView<T> rotations;      // (cells + R total,D/H) of rotary positions
  std::vector<MatrixView<T>> between;  // what a grid's reads but the last give, where it takes several
  MatrixView<T> class_sum;      // (1,D)
  MatrixView<T> reference;      // (R total,D)
  MatrixView<T> x;              // (M,D) tokens that enter the first block
  MatrixView<T> branch;         // (M,D) overwritten by every block
  BlockScratch<T> scratch;      // where there will be a backward pass
  DerivedWeights<T> derived;    // of every block in turn
  std::vector<BlockActivations<T>> blocks;
  MatrixView<T> out;            // (M',D) rows that are read, in output order
  VectorView<T> mean, inverse_std;

  bool recompute = false;       // blocks share their buffers but for `out`, and are computed again going backward

  /// Takes all buffers from the arena. `saved`: keep what the backward pass needs; otherwise blocks share
  /// their buffers and work in place. `recompute`: keep only what enters each block. Nothing here outlives a step.
  static ViTActivations take(Arena& arena, const ViTConfig& c, const TokenLayout& layout, bool saved,
                             bool recompute = false);
};

template <class T>
ViTActivations<T> ViTActivations<T>::take(Arena& arena, const ViTConfig& c, const TokenLayout& layout, bool saved,
                                          bool recompute) {
  ViTActivations a;
  const Index rows = layout.rows();
  a.recompute = saved && recompute;
  a.patches = arena.matrix<T>(layout.patch_count(), c.channels * c.patch * c.patch);
  if (c.rotary()) {
    a.coordinates = arena.matrix<T>(layout.cells() + layout.reference_count(), 2);
    a.grid_position = a.coordinates.rows(0, layout.cells());
    a.rotations = arena.matrix<T>(a.coordinates.rows(), c.width / c.heads);
  } else if (c.table()) {
    a.grid_position = arena.matrix<T>(layout.cells(), c.width);
  }
  for (const Index most : rows_between_reads<T>(c, layout)) a.between.push_back(arena.matrix<T>(most, c.width));
  a.class_sum = arena.matrix<T>(1, c.width);
  a.reference = arena.matrix<T>(layout.reference_count(), c.width);
  a.x = arena.matrix<T>(rows, c.width);
  a.branch = arena.matrix<T>(rows, c.width);
  a.out = arena.matrix<T>(layout.read_count(), c.width);
  a.mean = arena.vector<T>(layout.read_count());
  a.inverse_std = arena.vector<T>(layout.read_count());
  const auto tail_of = [&](Index i) { return i + 1 == c.depth ? layout.read_count() : rows; };
  if (saved) a.scratch = BlockScratch<T>::take(arena, c.block(), rows);
  a.derived = DerivedWeights<T>::take(arena, c.block(), saved);
  std::vector<MatrixView<T>> outs;
  for (Index i = 0; a.recompute && i < c.depth; ++i) outs.push_back(arena.matrix<T>(tail_of(i), c.width));
  const std::size_t start = arena.mark();
  std::size_t end = start;
  for (Index i = 0; i < c.depth; ++i) {
    const bool last = i + 1 == c.depth;
    if (!saved || recompute) arena.rewind(start);
    if (!saved) {
      a.blocks.push_back(BlockActivations<T>::forward_only(arena, c.block(), a.x, tail_of(i), last));
    } else if (recompute) {
      a.blocks.push_back(BlockActivations<T>::inner(arena, c.block(), a.scratch, tail_of(i), last));
      a.blocks.back().out = outs[static_cast<std::size_t>(i)];
    } else {
      a.blocks.push_back(BlockActivations<T>::saved(arena, c.block(), a.scratch, tail_of(i), last));
    }
    end = std::max(end, arena.mark());
  }
  arena.rewind(end);
  return a;
}

/// Buffers of a ViT's backward pass.
template <class T>
struct ViTGradients : BlockGradients<T> {
  static ViTGradients take(Arena& arena, const ViTConfig& c, const TokenLayout& layout) {
    return {BlockGradients<T>::take(arena, c.block(), layout.rows(), layout.read_count())};
  }
};

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE struct dssl::ViTActivations<float>;
DSSL_INSTANCE struct dssl::ViTActivations<double>;
#endif
