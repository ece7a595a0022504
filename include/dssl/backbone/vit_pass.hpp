// The passes of a vision transformer, forward and backward: tokens and their positions, blocks, last norms.
#pragma once

#include <cstddef>
#include <span>

#include <dssl/backbone/vit_buffers.hpp>
#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/derived_weights.hpp>
#include <dssl/nn/residual.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

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
  const auto own_norm = [&](const ViewGroup& group) {
    return group.local && c.local_class_norm ? LastNorm::local_class_token
           : c.class_norm                    ? LastNorm::class_token
                                             : LastNorm::common;
  };
  if (layout.reads().class_token && c.own_class_norms()) {
    for (const ViewGroup& group : layout.groups()) add(own_norm(group), group.count);
  }
  add(LastNorm::common, layout.read_count() - layout.read_register_count() - first - count);
  if (layout.read_register_count() > 0) {
    for (const ViewGroup& group : layout.groups()) {
      if (group.registers_read) add(own_norm(group), group.count * group.registers);
    }
  }
  if (count > 0) f(now, first, count);
}

/// The last norm of class tokens and registers that have one of their own: x (M',D), the rows that are read, -> those rows
/// of a.out =.
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

/// What is embedded of all patches, masked ones as such: embedded (N total,D) =.
template <Backend B, class T = typename B::Scalar>
void embed_patches(const B& backend, MatrixView<T> embedded, const ViTActivations<T>& a, const ViTInputs<T>& in,
                   const ViTParameters<const T>& p) {
  backend.linear_forward(embedded, a.patches, p.patch_weight, p.patch_bias);
  if (!in.masked_patches.empty()) {
    backend.copy_rows(embedded, in.masked_patches, p.mask_token, RowIndex(in.zeros.data(), in.masked_patches.size()));
  }
}

/// What references begin with, a.reference (R total,D) =, and with rotary positions their coordinates. `embedded`: the patches, in
/// the first rows of a.branch, whose next ones are overwritten.
template <Backend B, class T = typename B::Scalar>
void embed_references(const B& backend, const ViTActivations<T>& a, const ViTInputs<T>& in, const ViTParameters<const T>& p,
                      const ViTConfig& c, const TokenLayout& layout, MatrixView<const T> embedded) {
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
  embed_patches<B, T>(backend, embedded, a, in, p);
  if (c.positions != Positions::none) read_positions<B, T>(backend, a, in, c.rotary() ? in.axes : p.patch_position);
  backend.copy_rows(a.x, device.patch_rows, embedded, {});
  if (c.table()) backend.add_rows(a.x, device.patch_rows, a.grid_position, device.patch_cells);

  backend.copy_rows(a.class_sum, {}, p.class_token, {});
  if (c.table()) backend.add_rows(a.class_sum, {}, p.class_position, {});
  backend.copy_rows(a.x, device.class_rows, a.class_sum,
                    RowIndex(in.zeros.data(), layout.sequence_count()));

  if (!device.register_rows.empty()) {
    backend.copy_rows(a.x, device.register_rows, p.register_tokens, device.register_numbers);
  }
  if (layout.reference_count() > 0) {
    embed_references<B, T>(backend, a, in, p, c, layout, embedded);
    backend.copy_rows(a.x, device.reference_rows, a.reference, {});
  }

  if (c.rotary()) backend.rotation_rows(a.rotations, a.coordinates, p.periods);
  const HeadChanges<T> changes{a.rotations, in.places, in.query_rows, in.key_rows};

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
                     next, changes);
    x = a.blocks[i].out;
    if (last) norm_class_rows<B, T>(backend, a, x, p, c, layout);
    on_block(static_cast<Index>(i), x);
  }
}

/// References at other points than those of the last `vit_forward` into the same saved activations, without stochastic depth:
/// in.point_taps and, where they are set, in.content_taps -> the references' rows of a.out =; all other rows keep what they hold.
///
/// Under a relation that `hides_references` what the other tokens computed stays right, and the references' rows get the
/// numbers that a whole pass gives them. Cost: that of R tokens instead of all M, and the patches' embedding where references
/// begin with it. No backward pass may follow: what that needs of the blocks is overwritten.
/// Test: tests/backbone/vit_parity.cpp.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void vit_forward_references(const B& backend, const ViTActivations<T>& a, const ViTInputs<T>& in, const ViTParameters<const T>& p,
                            const ViTConfig& c, const TokenLayout& layout, const DeviceTokenLayout& device) {
  const Index count = layout.reference_count();
  if (count == 0 || !layout.reads().reference) return;
  const MatrixView<T> embedded = a.branch.rows(0, layout.patch_count());
  if (!in.content_taps.empty()) embed_patches<B, T>(backend, embedded, a, in, p);
  embed_references<B, T>(backend, a, in, p, c, layout, embedded);
  if (c.rotary()) backend.rotation_rows(a.rotations, a.coordinates, p.periods);
  const HeadChanges<T> changes{a.rotations, in.reference_places, in.query_rows, in.key_rows};

  const Index first_out = layout.output_begin(TokenGroup::reference);
  BlockActivations<T> r = a.blocks[0].rows_alone(a.scratch, count);
  norm_alone<B, T>(backend, a.reference, first_norm<T>(r, p.blocks[0], {}, c.norm_epsilon()));
  MatrixView<const T> x = a.reference;
  for (std::size_t i = 0; i < a.blocks.size(); ++i) {
    const bool last = i + 1 == a.blocks.size();
    const BlockActivations<T> after = last ? BlockActivations<T>{} : a.blocks[i + 1].rows_alone(a.scratch, count);
    const FollowingNorm<T> next =
        last ? FollowingNorm<T>{.to = {a.out.rows(first_out, count), VectorView<T>(a.mean.data() + first_out, count),
                                       VectorView<T>(a.inverse_std.data() + first_out, count)},
                                .weight = p.norm_weight,
                                .bias = p.norm_bias,
                                .epsilon = c.norm_epsilon()}
             : first_norm<T>(after, p.blocks[i + 1], {}, c.norm_epsilon());
    const BlockParameters<const T> block = derived_parameters(backend, a.derived, p.blocks[i]);
    block_references_forward<R>(backend, a.blocks[i], r, x, block, c.block(), device, a.branch, next, changes);
    x = r.out;
    r = after;
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
  const HeadChanges<T> changes{a.rotations, in.places, in.query_rows, in.key_rows};
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
                             layout.reads(), last, changes);
    }
    const PrecedingBranch<T> before =
        i == 0 ? PrecedingBranch<T>{} : mlp_branch(g, d_block(i - 1), a.blocks[i - 1], device, keep_of(i - 1), false);
    block_backward<R>(backend, g, d_block(i), a.blocks[i], a.scratch, x, block, c.block(), device, keep_of(i),
                      layout.reads(), last, before, changes);
    end_derived_block(backend, a.derived, d_p.blocks[i], d_block(i), p.blocks[i]);
    if (g.done != nullptr) (*g.done)(i);
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
  if (c.positions == Positions::learned) {
    // The forward values of the position reads are not needed any more: their buffers hold the gradients.
    backend.fill(VectorView<T>(a.grid_position.data(), a.grid_position.size()), T{0});
    backend.add_rows(a.grid_position, device.patch_cells, g.d_x, device.patch_rows);
    read_positions_backward<B, T>(backend, d_p.patch_position, a, in);
  }

  const RowIndex class_zeros(in.zeros.data(), layout.sequence_count());
  backend.add_rows(d_p.class_token, class_zeros, g.d_x, device.class_rows);
  if (c.positions == Positions::learned) backend.add_rows(d_p.class_position, class_zeros, g.d_x, device.class_rows);

  if (!device.register_rows.empty()) {
    backend.add_rows(d_p.register_tokens, device.register_numbers, g.d_x, device.register_rows);
  }
  if (layout.reference_count() > 0) {
    backend.copy_rows(a.reference, {}, g.d_x, device.reference_rows);
    if (!detached && c.positions == Positions::learned) backend.sample_rows_backward(d_p.patch_position, a.reference, in.point_taps);
    if (!d_p.reference_token.empty()) {
      backend.add_rows(d_p.reference_token, RowIndex(in.zeros.data(), layout.reference_count()), a.reference, {});
    }
  }
}

}  // namespace dssl
