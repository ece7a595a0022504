// The vision transformer: class token, position table, patch embedding, blocks, last norm.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/block_parameters.hpp>
#include <dssl/nn/derived_weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// How tokens know where they stand.
enum class Positions : std::uint8_t {
  learned,  ///< a table that is added to class token and patches, read at reference points
  rotary    ///< queries and keys of patches and references are turned by their coordinates in every block. DINOv3
};

/// Sizes and options of a vision transformer. All of it is integral, so a config is a template argument.
struct ViTConfig {
  Index image = 224;    ///< native view size in pixels: the position table has image/patch cells a side
  Index patch = 16;     ///< pixels a side of a patch
  Index width = 384;    ///< D
  Index depth = 12;     ///< blocks
  Index heads = 6;      ///< H; must divide the width
  Index mlp_ratio = 4;  ///< hidden width of the MLP over D
  Index channels = 3;   ///< of the images; programs may set another number at run time
  Index registers = 0;  ///< register tokens, behind the class token. Source: Darcet et al. 2024
  Positions positions = Positions::learned;
  PositionRule position_rule = PositionRule::offset;  ///< how the position table is read for views of other sizes
  QkvBias qkv_bias = QkvBias::full;
  bool swiglu = false;             ///< the MLP is SwiGLU, of width swiglu_hidden(mlp_ratio * width, swiglu_multiple)
  Index swiglu_multiple = 8;
  Index norm_exponent = 6;         ///< epsilon of every layer norm is 10^-norm_exponent
  bool layer_scale = false;        ///< each residual branch times a learned number a channel (`DerivedWeights`)
  Index layer_scale_exponent = 5;  ///< these numbers begin as 10^-layer_scale_exponent: 0 for 1
  bool class_norm = false;         ///< class tokens have a last norm of their own, beside that of all other tokens. DINOv3
  bool local_class_norm = false;   ///< so have those of local views, in training alone. DINOv3

  [[nodiscard]] constexpr double norm_epsilon() const { return negative_power_of_ten(norm_exponent); }
  [[nodiscard]] constexpr BlockSize block() const {
    return {.width = width,
            .heads = heads,
            .hidden = swiglu ? swiglu_hidden(mlp_ratio * width, swiglu_multiple) : mlp_ratio * width,
            .gated = swiglu,
            .qkv_bias = qkv_bias,
            .norm_epsilon = norm_epsilon(),
            .layer_scale = layer_scale,
            .layer_scale_exponent = layer_scale_exponent};
  }
  [[nodiscard]] constexpr bool rotary() const { return positions == Positions::rotary; }
  [[nodiscard]] constexpr bool own_class_norms() const { return class_norm || local_class_norm; }
  [[nodiscard]] constexpr GridSize native_grid() const { return {image / patch, image / patch}; }
  [[nodiscard]] constexpr bool operator==(const ViTConfig&) const = default;
};

inline constexpr ViTConfig vit_nano8{.image = 96, .patch = 8, .width = 128, .depth = 6, .heads = 4};
inline constexpr ViTConfig vit_tiny8{.patch = 8, .width = 192, .heads = 3};
inline constexpr ViTConfig vit_tiny16{.width = 192, .heads = 3};
inline constexpr ViTConfig vit_small16{};
inline constexpr ViTConfig vit_base16{.width = 768, .heads = 12};

/// Which of a ViT's last norms tokens go through.
enum class LastNorm : std::uint8_t { common, class_token, local_class_token };

/// Weight and bias of a norm.
template <class T>
struct NormParameters {
  VectorView<T> weight, bias;

  static NormParameters bind(ParameterCursor<T>& next) {
    const VectorView<T> weight = next.vector();
    return {weight, next.vector()};
  }
};

/// Parameters of a ViT (or their gradients), as views into the flat buffer.
template <class T>
struct ViTParameters {
  MatrixView<T> class_token;      // (1,D)
  MatrixView<T> class_position;   // (1,D), empty with rotary positions, as is the next one
  MatrixView<T> patch_position;   // (g*g,D)
  VectorView<T> periods;          // (D/H/4) of rotary positions, never trained
  MatrixView<T> register_tokens;  // (registers,D), empty where there are none
  MatrixView<T> reference_token;  // (1,D), empty unless learned
  MatrixView<T> mask_token;       // (1,D), empty unless patches are masked
  MatrixView<T> patch_weight;     // (D,C*p*p)
  VectorView<T> patch_bias;
  std::vector<BlockParameters<T>> blocks;
  VectorView<T> norm_weight, norm_bias;
  NormParameters<T> class_norm, local_class_norm;  // empty where there are none

  [[nodiscard]] NormParameters<T> last_norm(LastNorm which) const {
    if (which == LastNorm::class_token) return class_norm;
    return which == LastNorm::local_class_token ? local_class_norm : NormParameters<T>{norm_weight, norm_bias};
  }

  static ViTParameters bind(ParameterCursor<T>& next, const ViTConfig& config, LearnedTokens learned) {
    ViTParameters p;
    p.class_token = next.matrix();
    if (config.rotary()) {
      p.periods = next.vector();
    } else {
      p.class_position = next.matrix();
      p.patch_position = next.matrix();
    }
    if (config.registers > 0) p.register_tokens = next.matrix();
    if (learned.reference) p.reference_token = next.matrix();
    if (learned.mask) p.mask_token = next.matrix();
    p.patch_weight = next.matrix();
    p.patch_bias = next.vector();
    for (Index i = 0; i < config.depth; ++i) p.blocks.push_back(BlockParameters<T>::bind(next, config.block()));
    p.norm_weight = next.vector();
    p.norm_bias = next.vector();
    if (config.class_norm) p.class_norm = NormParameters<T>::bind(next);
    if (config.local_class_norm) p.local_class_norm = NormParameters<T>::bind(next);
    return p;
  }
};

/// Appends a ViT's parameters to a layout under their published names, after `prefix`.
constexpr void add_vit_parameters(ParameterLayout& layout, const ViTConfig& c, LearnedTokens learned,
                                  std::string_view prefix) {
  constexpr ParameterLayout::Options drawn{.initial = InitialValues::truncated_normal};
  const Index fan_in = c.channels * c.patch * c.patch;
  const ParameterLayout::Options convolution{.initial = InitialValues::uniform, .fan_in = fan_in};
  layout.prefix(prefix);
  layout.add("cls_token", {1, 1, c.width}, drawn);
  if (c.rotary()) {
    layout.add("rope_embed.periods", {c.width / c.heads / 4},
               {.initial = InitialValues::rotary_periods, .trained = false});
  } else {
    layout.add("cls_pos_embed", {1, 1, c.width}, drawn);
    layout.add("patch_pos_embed", {1, c.native_grid().size(), c.width}, drawn);
  }
  if (c.registers > 0) layout.add("register_tokens", {1, c.registers, c.width}, drawn);
  if (learned.reference) layout.add("ref_learn_token", {1, 1, c.width}, drawn);
  if (learned.mask) layout.add("mask_token", {1, c.width}, drawn);
  layout.add("patch_embed.proj.weight", {c.width, c.channels, c.patch, c.patch}, convolution);
  layout.add("patch_embed.proj.bias", {c.width}, convolution);
  for (Index i = 0; i < c.depth; ++i) {
    layout.prefix(ParameterName(prefix).append("blocks.").append(i).append(".").view());
    add_block_parameters(layout, c.block());
  }
  layout.prefix(prefix);
  layout.add("norm.weight", {c.width}, {.initial = InitialValues::one});
  layout.add("norm.bias", {c.width}, {});
  if (c.class_norm) {
    layout.add("cls_norm.weight", {c.width}, {.initial = InitialValues::one});
    layout.add("cls_norm.bias", {c.width}, {});
  }
  if (c.local_class_norm) {
    layout.add("local_cls_norm.weight", {c.width}, {.initial = InitialValues::one});
    layout.add("local_cls_norm.bias", {c.width}, {});
  }
  layout.prefix("");
}

/// The layout of a backbone alone, as it is saved for others.
[[nodiscard]] constexpr ParameterLayout vit_layout(const ViTConfig& config, LearnedTokens learned = {}) {
  ParameterLayout layout;
  add_vit_parameters(layout, config, learned, "");
  return layout;
}

/// The weights of a ViT with LayerScale -> those of one without that gives the same: gamma goes into the last layer of
/// each branch. `folded` is laid out by `vit_layout` of the config with layer_scale false, =.
///
/// For inference, where gamma would be multiplied into them in every pass. Throws `ShapeError`. Test: tests/backbone/
/// block_options.cpp.
template <class T>
void fold_layer_scale(std::span<T> folded, std::span<const T> weights, const ViTConfig& config,
                      LearnedTokens learned = {}) {
  ViTConfig plain = config;
  plain.layer_scale = false;
  const ParameterLayout from = vit_layout(config, learned), to = vit_layout(plain, learned);
  require_shape(static_cast<Index>(weights.size()) == from.total() && static_cast<Index>(folded.size()) == to.total(),
                "weights of ", weights.size(), " elements folded into ", folded.size(), "; expected ", from.total(),
                " and ", to.total());
  std::fill(folded.begin(), folded.end(), T{0});
  for (const ParameterSpec& spec : to.specs()) {
    std::copy_n(weights.data() + from.find(spec.name.view()).offset, spec.size, folded.data() + spec.offset);
  }
  if (!config.layer_scale) return;
  ParameterCursor<T> next(to, folded.data());
  ParameterCursor<const T> next_scaled(from, weights.data());
  const auto out = ViTParameters<T>::bind(next, plain, learned);
  const auto in = ViTParameters<const T>::bind(next_scaled, config, learned);
  const auto times = [](MatrixView<T> x, VectorView<const T> gamma) {
    for (Index row = 0; row < x.rows(); ++row) {
      for (Index col = 0; col < x.cols(); ++col) x(row, col) *= gamma.data()[row];
    }
  };
  for (std::size_t i = 0; i < out.blocks.size(); ++i) {
    times(out.blocks[i].proj_weight, in.blocks[i].scale1);
    times(detail::as_column(out.blocks[i].proj_bias), in.blocks[i].scale1);
    times(out.blocks[i].fc2_weight, in.blocks[i].scale2);
    times(detail::as_column(out.blocks[i].fc2_bias), in.blocks[i].scale2);
  }
}

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
  RowIndex zeros;                        // as many 0 as there are sequences, references or masked patches
  RowIndex masked_patches;               // numbers of the patches that are masked, set by the caller in each step

  /// Takes the buffers from the arena and, if that is live, fills in the grid reads.
  /// `images`: views that lie elsewhere already (the teacher sees the student's); empty: taken here.
  /// `masked`: patches that may be masked in a step, at most.
  template <Backend B>
  static ViTInputs place(const B& backend, Arena& arena, const ViTConfig& c, const TokenLayout& layout,
                         std::vector<TensorView<T, 4>> images = {}, Index masked = 0) {
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
    if (std::all_of(reads.begin(), reads.end(), [](const auto& of_group) { return of_group.size() == 1; })) {
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
      for (const std::int32_t row : layout.reference_rows()) places[static_cast<std::size_t>(row)] = place++;
      in.places = place_copy(backend, arena, places);
    }
    in.point_taps = arena.vector<Taps<T>>(layout.reference_count());
    in.zeros = place_copy(backend, arena, std::vector<std::int32_t>(
        static_cast<std::size_t>(std::max({layout.sequence_count(), layout.reference_count(), masked})), 0));
    return in;
  }
};

/// Of each read of a position grid but the last one, how many rows it gives at most.
template <class T>
[[nodiscard]] std::vector<Index> rows_between_reads(const ViTConfig& c, const TokenLayout& layout) {
  std::vector<Index> most;
  if (c.rotary() || c.position_rule != PositionRule::size_antialiased) return most;
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
                             bool recompute = false) {
    ViTActivations a;
    const Index rows = layout.rows();
    a.recompute = saved && recompute;
    a.patches = arena.matrix<T>(layout.patch_count(), c.channels * c.patch * c.patch);
    if (c.rotary()) {
      a.coordinates = arena.matrix<T>(layout.cells() + layout.reference_count(), 2);
      a.grid_position = a.coordinates.rows(0, layout.cells());
      a.rotations = arena.matrix<T>(a.coordinates.rows(), c.width / c.heads);
    } else {
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
};

/// Buffers of a ViT's backward pass.
template <class T>
struct ViTGradients : BlockGradients<T> {
  static ViTGradients take(Arena& arena, const ViTConfig& c, const TokenLayout& layout) {
    return {BlockGradients<T>::take(arena, c.block(), layout.rows(), layout.read_count())};
  }
};

/// For a forward pass whose blocks nobody looks into.
struct IgnoreBlocks {
  template <class Matrix>
  constexpr void operator()(Index, Matrix) const {}
};

/// Reads of the position table for all grids: a.grid_position (cells,D) =.
template <Backend B, class T = typename B::Scalar>
void read_positions(const B& backend, const ViTActivations<T>& a, const ViTInputs<T>& in, MatrixView<const T> table) {
  for (const GridReads<T>& grid : in.grids) {
    MatrixView<const T> from = table;
    for (std::size_t k = 0; k < grid.taps.size(); ++k) {
      const bool last = k + 1 == grid.taps.size();
      const MatrixView<T> to =
          last ? a.grid_position.rows(grid.first, grid.count) : a.between[k].rows(0, grid.taps[k].size());
      backend.sample_rows_forward(to, from, grid.taps[k]);
      from = to;
    }
  }
}

/// The gradient of what `read_positions` gave, in a.grid_position -> d_table +=. What lay between reads is overwritten.
template <Backend B, class T = typename B::Scalar>
void read_positions_backward(const B& backend, MatrixView<T> d_table, const ViTActivations<T>& a,
                             const ViTInputs<T>& in) {
  for (const GridReads<T>& grid : in.grids) {
    MatrixView<const T> d_to = a.grid_position.rows(grid.first, grid.count);
    for (std::size_t k = grid.taps.size(); k-- > 0;) {
      const MatrixView<T> d_from = k == 0 ? d_table : a.between[k - 1].rows(0, grid.taps[k - 1].size());
      if (k > 0) backend.fill(VectorView<T>(d_from.data(), d_from.size()), T{0});
      backend.sample_rows_backward(d_from, d_to, grid.taps[k]);
      d_to = d_from;
    }
  }
}

/// Calls `f(norm, first, count)` for runs of output rows that go through the same last norm: all rows at once where there
/// is one norm alone.
template <class F>
void each_last_norm(const ViTConfig& c, const TokenLayout& layout, F&& f) {
  Index first = 0, count = 0;
  LastNorm now = LastNorm::common;
  const auto add = [&](LastNorm norm, Index rows) {
    if (norm != now && count > 0) {
      f(now, first, count);
      first += count;
      count = 0;
    }
    now = norm;
    count += rows;
  };
  if (layout.reads().class_token && c.own_class_norms()) {
    for (const ViewGroup& group : layout.groups()) {
      add(group.local && c.local_class_norm ? LastNorm::local_class_token
          : c.class_norm                    ? LastNorm::class_token
                                            : LastNorm::common,
          group.count);
    }
  }
  add(LastNorm::common, layout.read_count() - first - count);
  if (count > 0) f(now, first, count);
}

/// The last norm of class tokens that have one of their own: x (M',D), the rows that are read, -> those rows of a.out =.
/// Statistics are those that the norm of all rows keeps. Test: tests/backbone/class_norms.cpp.
template <Backend B, class T = typename B::Scalar>
void norm_class_rows(const B& backend, const ViTActivations<T>& a, MatrixView<const T> x, const ViTParameters<const T>& p,
                     const ViTConfig& c, const TokenLayout& layout) {
  if (!c.own_class_norms()) return;
  each_last_norm(c, layout, [&](LastNorm which, Index first, Index count) {
    if (which == LastNorm::common) return;
    const NormParameters<const T> own = p.last_norm(which);
    backend.layer_norm_forward(a.out.rows(first, count), VectorView<T>(a.mean.data() + first, count),
                               VectorView<T>(a.inverse_std.data() + first, count), x.rows(first, count), own.weight,
                               own.bias, c.norm_epsilon());
  });
}

/// The way back through the last norms where class tokens have their own: d_out (M',D) -> d_x (M',D) +=, d_p +=.
template <Backend B, class T = typename B::Scalar>
void last_norms_backward(const B& backend, const ViTParameters<T>& d_p, MatrixView<T> d_x, MatrixView<const T> d_out,
                         const ViTActivations<T>& a, const ViTParameters<const T>& p, const ViTConfig& c,
                         const TokenLayout& layout) {
  const MatrixView<const T> x = a.blocks.back().out;
  each_last_norm(c, layout, [&](LastNorm which, Index first, Index count) {
    const NormParameters<T> d_own = d_p.last_norm(which);
    backend.layer_norm_backward(d_x.rows(first, count), d_own.weight, d_own.bias, d_out.rows(first, count),
                                x.rows(first, count), VectorView<const T>(a.mean.data() + first, count),
                                VectorView<const T>(a.inverse_std.data() + first, count), p.last_norm(which).weight);
  });
}

/// Forward pass: in.images, in.point_taps and, where they are set, in.content_taps -> a.out (M',D), the normed rows that
/// layout.reads() names.
///
/// `keep` has one entry a block (or is empty: no stochastic depth). Shapes as in `ViTActivations`.
/// `on_block(i, x)` is called with what block i gave out, before the next one may overwrite it: all rows, in
/// the last block those that are read.
/// Test: fixtures `backbone_*`, `training_*`.
template <AttentionRelation R, Backend B, class T = typename B::Scalar, class OnBlock = IgnoreBlocks>
void vit_forward(const B& backend, const ViTActivations<T>& a, const ViTInputs<T>& in,
                 const ViTParameters<const T>& p, const ViTConfig& c, const TokenLayout& layout, const DeviceTokenLayout& device, std::span<const BranchKeep<T>> keep,
                 const OnBlock& on_block = {}) {
  Index first = 0;
  for (std::size_t g = 0; g < in.images.size(); ++g) {
    const ViewGroup& group = layout.groups()[g];
    const Index count = group.count * group.grid.size();
    backend.unfold_patches(a.patches.rows(first, count), in.images[g], c.patch);
    first += count;
  }
  const MatrixView<T> embedded = a.branch.rows(0, layout.patch_count());
  backend.linear_forward(embedded, a.patches, p.patch_weight, p.patch_bias);
  if (!in.masked_patches.empty()) {
    backend.copy_rows(embedded, in.masked_patches, p.mask_token, RowIndex(in.zeros.data(), in.masked_patches.size()));
  }
  read_positions<B, T>(backend, a, in, c.rotary() ? in.axes : p.patch_position);
  backend.copy_rows(a.x, device.patch_rows, embedded, {});
  if (!c.rotary()) backend.add_rows(a.x, device.patch_rows, a.grid_position, device.patch_cells);

  backend.copy_rows(a.class_sum, {}, p.class_token, {});
  if (!c.rotary()) backend.add_rows(a.class_sum, {}, p.class_position, {});
  backend.copy_rows(a.x, device.class_rows, a.class_sum,
                    RowIndex(in.zeros.data(), layout.sequence_count()));

  if (!device.register_rows.empty()) {
    backend.copy_rows(a.x, device.register_rows, p.register_tokens, device.register_numbers);
  }
  if (layout.reference_count() > 0) {
    if (c.rotary()) {
      backend.sample_rows_forward(a.coordinates.rows(layout.cells(), layout.reference_count()), in.axes, in.point_taps);
      backend.fill(VectorView<T>(a.reference.data(), a.reference.size()), T{0});
    } else {
      backend.sample_rows_forward(a.reference, p.patch_position, in.point_taps);
    }
    if (!p.reference_token.empty()) {
      backend.add_rows(a.reference, {}, p.reference_token, RowIndex(in.zeros.data(), layout.reference_count()));
    }
    if (!in.content_taps.empty()) {
      const MatrixView<T> content = a.branch.rows(layout.patch_count(), layout.reference_count());
      backend.sample_rows_forward(content, embedded, in.content_taps);
      backend.add_rows(a.reference, {}, content, {});
    }
    backend.copy_rows(a.x, device.reference_rows, a.reference, {});
  }

  if (c.rotary()) backend.rotation_rows(a.rotations, a.coordinates, p.periods);
  const HeadRotations<T> rotations{a.rotations, in.places};

  const auto keep_of = [&](std::size_t i) { return keep.empty() ? BranchKeep<T>{} : keep[i]; };
  norm_alone<B, T>(backend, a.x, first_norm(a.blocks[0], p.blocks[0], keep_of(0), c.norm_epsilon()));
  MatrixView<const T> x = a.x;
  for (std::size_t i = 0; i < a.blocks.size(); ++i) {
    const bool last = i + 1 == a.blocks.size();
    const FollowingNorm<T> next =
        last ? FollowingNorm<T>{.to = {a.out, a.mean, a.inverse_std},
                                .weight = p.norm_weight,
                                .bias = p.norm_bias,
                                .epsilon = c.norm_epsilon()}
             : first_norm(a.blocks[i + 1], p.blocks[i + 1], keep_of(i + 1), c.norm_epsilon());
    const BlockParameters<const T> block = derived_parameters(backend, a.derived, p.blocks[i]);
    block_forward<R>(backend, a.blocks[i], x, block, c.block(), device, keep_of(i), a.branch, layout.reads(), last,
                     next, rotations);
    x = a.blocks[i].out;
    if (last) norm_class_rows<B, T>(backend, a, x, p, c, layout);
    on_block(static_cast<Index>(i), x);
  }
}

/// Backward pass: the gradient of a.out -> d_p +=. The gradient of the images is not computed.
///
/// `detached`: no gradient flows into the position table from the points it was read at. Whether one flows into the
/// patch embedding from where it was read is `in.content_attached`.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void vit_backward(const B& backend, const ViTParameters<T>& d_p, const BlockGradients<T>& g, MatrixView<const T> d_out,
                  const ViTActivations<T>& a, const ViTInputs<T>& in, const ViTParameters<const T>& p,
                  const ViTConfig& c, const TokenLayout& layout, const DeviceTokenLayout& device, std::span<const BranchKeep<T>> keep,
                  bool detached) {
  const auto keep_of = [&](std::size_t i) { return keep.empty() ? BranchKeep<T>{} : keep[i]; };
  const std::size_t depth = a.blocks.size();
  const HeadRotations<T> rotations{a.rotations, in.places};
  const auto d_block = [&](std::size_t i) { return derived_gradients(a.derived, d_p.blocks[i], i); };
  backend.fill(VectorView<T>(g.d_tail.data(), g.d_tail.size()), T{0});
  begin_derived_branch(backend, d_block(depth - 1));
  const auto last_branch = mlp_branch(g, d_block(depth - 1), a.blocks.back(), device, keep_of(depth - 1), true);
  if (c.own_class_norms()) {
    last_norms_backward<B, T>(backend, d_p, g.d_tail, d_out, a, p, c, layout);
    branch_alone<B, T>(backend, g.d_tail, last_branch);
  } else {
    norm_then_branch<B, T>(backend, g.d_tail, d_p.norm_weight, d_p.norm_bias, d_out, {}, a.blocks.back().out, a.mean,
                           a.inverse_std, p.norm_weight, last_branch);
  }
  for (std::size_t i = depth; i-- > 0;) {
    const bool last = i + 1 == depth;
    const MatrixView<const T> x = i == 0 ? a.x : a.blocks[i - 1].out;
    const BlockParameters<const T> block = derived_parameters(backend, a.derived, p.blocks[i]);
    begin_derived_block(backend, d_block(i));
    if (i > 0) begin_derived_branch(backend, d_block(i - 1));
    if (a.recompute && !last) {
      block_forward_again<R>(backend, a.blocks[i], x, block, c.block(), device, keep_of(i), a.branch,
                             layout.reads(), last, rotations);
    }
    const PrecedingBranch<T> before =
        i == 0 ? PrecedingBranch<T>{} : mlp_branch(g, d_block(i - 1), a.blocks[i - 1], device, keep_of(i - 1), false);
    block_backward<R>(backend, g, d_block(i), a.blocks[i], a.scratch, x, block, c.block(), device, keep_of(i),
                      layout.reads(), last, before, rotations);
    end_derived_block(backend, a.derived, d_p.blocks[i], d_block(i), p.blocks[i]);
  }

  const MatrixView<T> d_embedded = g.d_branch.rows(0, layout.patch_count());
  backend.copy_rows(d_embedded, {}, g.d_x, device.patch_rows);
  if (in.content_attached && !in.content_taps.empty()) {
    backend.copy_rows(a.reference, {}, g.d_x, device.reference_rows);
    backend.sample_rows_backward(d_embedded, a.reference, in.content_taps);
  }
  if (!in.masked_patches.empty()) {
    const RowIndex zeros(in.zeros.data(), in.masked_patches.size());
    backend.add_rows(d_p.mask_token, zeros, d_embedded, in.masked_patches);
    // What was embedded there had no part in anything. The class token's sum is not needed any more: its buffer is zero.
    backend.fill(VectorView<T>(a.class_sum.data(), a.class_sum.size()), T{0});
    backend.copy_rows(d_embedded, in.masked_patches, a.class_sum, zeros);
  }
  backend.linear_backward_weight(d_p.patch_weight, d_p.patch_bias, d_embedded, a.patches);
  if (!c.rotary()) {
    // The forward values of the position reads are not needed any more: their buffers hold the gradients.
    backend.fill(VectorView<T>(a.grid_position.data(), a.grid_position.size()), T{0});
    backend.add_rows(a.grid_position, device.patch_cells, g.d_x, device.patch_rows);
    read_positions_backward<B, T>(backend, d_p.patch_position, a, in);
  }

  const RowIndex class_zeros(in.zeros.data(), layout.sequence_count());
  backend.add_rows(d_p.class_token, class_zeros, g.d_x, device.class_rows);
  if (!c.rotary()) backend.add_rows(d_p.class_position, class_zeros, g.d_x, device.class_rows);

  if (!device.register_rows.empty()) {
    backend.add_rows(d_p.register_tokens, device.register_numbers, g.d_x, device.register_rows);
  }
  if (layout.reference_count() > 0) {
    backend.copy_rows(a.reference, {}, g.d_x, device.reference_rows);
    if (!detached && !c.rotary()) backend.sample_rows_backward(d_p.patch_position, a.reference, in.point_taps);
    if (!d_p.reference_token.empty()) {
      backend.add_rows(d_p.reference_token, RowIndex(in.zeros.data(), layout.reference_count()), a.reference, {});
    }
  }
}

/// The vision transformer of any sizes: the buffers it works in, and its forward and backward pass. All that is
/// compiled depends on this type; the sizes of `ViT<C>` are numbers to it.
struct ViTFamily {
  using Config = ViTConfig;

  template <class T>
  using Parameters = ViTParameters<T>;
  template <class T>
  using Inputs = ViTInputs<T>;
  template <class T>
  using Activations = ViTActivations<T>;
  template <class T>
  using Gradients = ViTGradients<T>;

  /// The sizes in words, for checkpoints.
  [[nodiscard]] static std::string describe(const Config& c) {
    return join("image ", c.image, ", patch ", c.patch, ", width ", c.width, ", depth ", c.depth, ", heads ", c.heads,
                ", MLP ratio ", c.mlp_ratio, ", channels ", c.channels,
                // Said only where there are any: runs from before there could be are resumed as they were.
                c.registers > 0 ? join(", registers ", c.registers) : "",
                c.rotary() ? ", rotary positions" : "",
                c.qkv_bias == QkvBias::no_key ? ", keys without bias" : "",
                c.qkv_bias == QkvBias::none ? ", no bias of queries, keys and values" : "",
                c.position_rule != PositionRule::offset ? join(", positions by ", name_of(c.position_rule)) : "",
                c.swiglu ? join(", SwiGLU of ", c.block().hidden) : "",
                c.norm_exponent != 6 ? join(", norm epsilon 1e-", c.norm_exponent) : "",
                c.layer_scale ? ", LayerScale" : "",
                c.class_norm ? ", a norm of class tokens" : "",
                c.local_class_norm ? ", a norm of local class tokens" : "");
  }

  /// How the position of a reference token at a point of its view is read: what `Inputs::point_taps` takes.
  template <class T>
  [[nodiscard]] static Taps<T> point_taps(const Config& c, Point point) {
    return c.rotary() ? coordinate_read<T>(point) : point_read<T>(point, c.native_grid());
  }

  /// After a norm of all rows into `a.out`: that of class tokens which have their own.
  template <Backend B>
  static void norm_class_rows(const B& backend, const ViTActivations<typename B::Scalar>& a,
                              MatrixView<const typename B::Scalar> x,
                              const ViTParameters<const typename B::Scalar>& p, const ViTConfig& c,
                              const TokenLayout& layout) {
    dssl::norm_class_rows(backend, a, x, p, c, layout);
  }

  static constexpr void add_parameters(ParameterLayout& layout, const Config& sizes, LearnedTokens learned,
                                       std::string_view prefix) {
    add_vit_parameters(layout, sizes, learned, prefix);
  }

  template <class B>
  using Scalar = typename B::Scalar;

  template <AttentionRelation R, Backend B, class OnBlock = IgnoreBlocks>
  static void forward(const B& backend, const ViTActivations<Scalar<B>>& a, const ViTInputs<Scalar<B>>& in,
                      const ViTParameters<const Scalar<B>>& p, const ViTConfig& sizes, const TokenLayout& layout,
                      const DeviceTokenLayout& device, std::span<const BranchKeep<Scalar<B>>> keep,
                      const OnBlock& on_block = {}) {
    vit_forward<R>(backend, a, in, p, sizes, layout, device, keep, on_block);
  }

  template <AttentionRelation R, Backend B>
  static void backward(const B& backend, const ViTParameters<Scalar<B>>& d_p, const BlockGradients<Scalar<B>>& g,
                       MatrixView<const Scalar<B>> d_out, const ViTActivations<Scalar<B>>& a, const ViTInputs<Scalar<B>>& in,
                       const ViTParameters<const Scalar<B>>& p, const ViTConfig& sizes, const TokenLayout& layout,
                       const DeviceTokenLayout& device, std::span<const BranchKeep<Scalar<B>>> keep, bool detached) {
    vit_backward<R>(backend, d_p, g, d_out, a, in, p, sizes, layout, device, keep, detached);
  }
};

/// The vision transformer as a backbone policy. Copy this page to write another backbone: a config whose sizes are known
/// at compile time, and all that `ViTFamily` has. A backbone without a family of its own compiles a step for each size.
template <ViTConfig C>
struct ViT : ViTFamily {
  static_assert(C.patch >= 1 && C.width >= 1 && C.depth >= 1 && C.heads >= 1 && C.mlp_ratio >= 1 && C.channels >= 1 && C.registers >= 0,
                "every size of a ViT must be at least 1");
  static_assert(C.norm_exponent >= 0 && C.norm_exponent <= 22 && C.layer_scale_exponent >= 0 &&
                    C.layer_scale_exponent <= 22,
                "epsilon of the norms and first value of LayerScale are 10^-n, n from 0 to 22");
  static_assert(C.swiglu_multiple >= 1, "the width of SwiGLU is a multiple of at least 1");
  static_assert(C.heads >= 1 && C.width % C.heads == 0, "the heads of a ViT must divide its width");
  static_assert(C.positions != Positions::rotary || C.heads < 1 || C.width / C.heads % 4 == 0,
                "the width of a head must be a multiple of 4 with rotary positions");
  static_assert(C.patch >= 1 && C.image >= C.patch && C.image % C.patch == 0,
                "the patch of a ViT must divide its native image size");

  using Family = ViTFamily;
  static constexpr Config config = C;
};

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE struct dssl::ViTParameters<float>;
DSSL_INSTANCE struct dssl::ViTParameters<const float>;
DSSL_INSTANCE struct dssl::ViTActivations<float>;
DSSL_INSTANCE struct dssl::ViTParameters<double>;
DSSL_INSTANCE struct dssl::ViTParameters<const double>;
DSSL_INSTANCE struct dssl::ViTActivations<double>;
#endif
