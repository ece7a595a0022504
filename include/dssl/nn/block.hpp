// One pre-norm transformer block: attention and MLP, each with a residual path, forward and backward.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block_parameters.hpp>
#include <dssl/nn/head_changes.hpp>
#include <dssl/nn/residual.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// Buffers that blocks use in turn: what is cheaper to compute again from what a block keeps than to keep.
template <class T>
struct BlockScratch {
  MatrixView<T> normal;   // (M,D) a norm's rows; going backward then their gradient
  MatrixView<T> hidden;   // (M,hidden) after GELU or SwiGLU; going backward then its gradient
  MatrixView<T> qkv;      // (M,3D) gradient of qkv, over hidden: the MLP is through before attention begins

  static BlockScratch take(Arena& arena, const BlockSize& size, Index rows) {
    BlockScratch s;
    s.normal = arena.matrix<T>(rows, size.width);
    const std::size_t start = arena.mark();
    s.qkv = arena.matrix<T>(rows, 3 * size.width);
    const std::size_t end = arena.mark();
    arena.rewind(start);
    s.hidden = arena.matrix<T>(rows, size.hidden);
    arena.rewind(std::max(end, arena.mark()));
    return s;
  }
};

/// What a block computes. M rows enter; in the last block only the M' rows that somebody reads go beyond
/// attention (M' = M elsewhere).
template <class T>
struct BlockActivations {
  MatrixView<T> normal1;  // (M,D), not kept
  VectorView<T> mean1, inverse_std1;
  MatrixView<T> qkv;         // (M,3D)
  HeadNormActivations<T> query, key;  // of norms of heads, empty without
  MatrixView<T> log_sum;     // (M,H)
  MatrixView<T> attended;    // (M,D)
  MatrixView<T> tail_x;      // (M',D), last block only: the rows of x that are read
  MatrixView<T> tail_attended;  // (M',D), last block only
  MatrixView<T> middle;      // (M',D) after the attention's residual
  MatrixView<T> normal2;     // (M',D), not kept
  VectorView<T> mean2, inverse_std2;
  MatrixView<T> hidden;      // (M',hidden) before GELU, or (M',2 hidden) before SwiGLU
  MatrixView<T> activated;   // (M',hidden) after it, not kept
  MatrixView<T> out;         // (M',D)

  /// Buffers for a block whose gradients will be asked for: 10 M D numbers and a few (hidden = 4D), beside `scratch`.
  static BlockActivations saved(Arena& arena, const BlockSize& size, const BlockScratch<T>& scratch, Index tail_rows,
                                bool last) {
    BlockActivations a = inner(arena, size, scratch, tail_rows, last);
    a.out = arena.matrix<T>(tail_rows, size.width);
    return a;
  }

  /// The same without `out`.
  static BlockActivations inner(Arena& arena, const BlockSize& size, const BlockScratch<T>& scratch, Index tail_rows,
                                bool last) {
    const Index rows = scratch.normal.rows();
    BlockActivations a = x_begin(arena, scratch.normal);
    a.x_attention(arena, size, rows);
    if (last) a.x_tail(arena, size, tail_rows);
    a.middle = arena.matrix<T>(tail_rows, size.width);
    a.normal2 = scratch.normal.rows(0, tail_rows);
    a.mean2 = arena.vector<T>(tail_rows);
    a.inverse_std2 = arena.vector<T>(tail_rows);
    a.hidden = arena.matrix<T>(tail_rows, size.first_layer());
    a.activated = scratch.hidden.rows(0, tail_rows);
    return a;
  }

  /// Buffers for a block that only goes forward: middle and out overwrite x in place, GELU its argument, and the MLP
  /// what attention left: 5 M D numbers and a few (hidden = 4D).
  static BlockActivations forward_only(Arena& arena, const BlockSize& size, MatrixView<T> x, Index tail_rows,
                                       bool last) {
    BlockActivations a = x_begin(arena, arena.matrix<T>(x.rows(), size.width));
    if (last) a.x_tail(arena, size, tail_rows);
    a.middle = last ? a.tail_x : x;
    a.out = a.middle;
    a.normal2 = a.normal1.rows(0, tail_rows);
    a.mean2 = VectorView<T>(a.mean1.data(), tail_rows);
    a.inverse_std2 = VectorView<T>(a.inverse_std1.data(), tail_rows);
    const std::size_t start = arena.mark();
    a.x_attention(arena, size, x.rows());
    const std::size_t end = arena.mark();
    arena.rewind(start);
    a.hidden = arena.matrix<T>(tail_rows, size.first_layer());
    a.activated = size.gated ? arena.matrix<T>(tail_rows, size.hidden) : a.hidden;
    arena.rewind(std::max(end, arena.mark()));
    return a;
  }

  /// Room in the buffers of a saved block, and in the scratch of all, for `count` rows that go through it by themselves, once
  /// nothing is needed of it but `qkv`: at most as many as go beyond attention.
  [[nodiscard]] BlockActivations rows_alone(const BlockScratch<T>& scratch, Index count) const {
    BlockActivations r;
    r.normal1 = r.normal2 = scratch.normal.rows(0, count);
    r.mean1 = VectorView<T>(mean1.data(), count);
    r.inverse_std1 = VectorView<T>(inverse_std1.data(), count);
    r.qkv = scratch.qkv.rows(0, count);
    r.query = query;
    r.key = key;
    r.attended = MatrixView<T>(scratch.qkv.data(), count, scratch.normal.cols());  // they are among the block's by then
    r.middle = middle.rows(0, count);
    r.mean2 = VectorView<T>(mean2.data(), count);
    r.inverse_std2 = VectorView<T>(inverse_std2.data(), count);
    r.hidden = hidden.rows(0, count);
    r.activated = scratch.hidden.rows(0, count);
    r.out = out.rows(0, count);
    return r;
  }

 private:
  static BlockActivations x_begin(Arena& arena, MatrixView<T> normal) {
    BlockActivations a;
    a.normal1 = normal;
    a.mean1 = arena.vector<T>(normal.rows());
    a.inverse_std1 = arena.vector<T>(normal.rows());
    return a;
  }

  void x_attention(Arena& arena, const BlockSize& size, Index rows) {
    qkv = arena.matrix<T>(rows, 3 * size.width);
    query = HeadNormActivations<T>::take(arena, size, rows);
    key = HeadNormActivations<T>::take(arena, size, rows);
    log_sum = arena.matrix<T>(rows, size.heads);
    attended = arena.matrix<T>(rows, size.width);
  }

  void x_tail(Arena& arena, const BlockSize& size, Index tail_rows) {
    tail_x = arena.matrix<T>(tail_rows, size.width);
    tail_attended = arena.matrix<T>(tail_rows, size.width);
  }
};

/// Called in a backward pass with the number of each block, once all gradients of its parameters and of what comes behind it
/// are there.
using BlockDone = std::function<void(std::size_t)>;

/// Gradients that every block's backward pass uses in turn, beside the scratch.
template <class T>
struct BlockGradients {
  MatrixView<T> d_x;       // (M,D)
  MatrixView<T> d_branch;  // (M,D)
  MatrixView<T> d_tail;    // (M',D) gradient of the last block's output, then of its middle
  const BlockDone* done = nullptr;  // null: nobody asks

  static BlockGradients take(Arena& arena, const BlockSize& size, Index rows, Index tail_rows) {
    BlockGradients g;
    g.d_x = arena.matrix<T>(rows, size.width);
    g.d_branch = arena.matrix<T>(rows, size.width);
    g.d_tail = arena.matrix<T>(tail_rows, size.width);
    return g;
  }
};

/// The rows of one block's branches in one step.
template <class T>
struct BlockRows {
  BranchRows<T> attention{};  ///< of the M rows that enter
  BranchRows<T> read{};       ///< of the M' rows that go beyond attention, in its branch
  BranchRows<T> mlp{};        ///< of the M' rows
  Index attention_count = 0;
  Index read_count = 0;
  Index mlp_count = 0;
  SequenceBatch batch{};      ///< sequences in attention's branch
  RowIndex read_rows{};       ///< last block: rows of attention's branch that go beyond it

  static BlockRows of(const BranchKeep<T>& keep, const DeviceTokenLayout& layout, Index rows, Index tail_rows,
                      bool last) {
    const RowIndex tail_sequences = last ? layout.sequence_of_read_row : layout.sequence_of_row;
    const KeptRows& reads = last ? keep.attention_reads : keep.attention_rows;
    const bool whole = keep.attention_rows.packed.empty();
    return {.attention = {keep.attention_rows.packed, keep.attention, layout.sequence_of_row},
            .read = {reads.packed, keep.attention, tail_sequences},
            .mlp = {keep.mlp_rows.packed, keep.mlp, tail_sequences},
            .attention_count = keep.attention_rows.count_of(rows),
            .read_count = reads.count_of(tail_rows),
            .mlp_count = keep.mlp_rows.count_of(tail_rows),
            .batch = whole ? layout.batch : keep.batch,
            .read_rows = whole ? layout.read_rows : keep.read_of_attention};
  }
};

/// The norm that a block begins with, as the pass before it computes it.
template <class T>
[[nodiscard]] FollowingNorm<T> first_norm(const BlockActivations<T>& a, const BlockParameters<const T>& p,
                                          const BranchKeep<T>& keep, double epsilon = layer_norm_epsilon) {
  const Index count = keep.attention_rows.count_of(a.normal1.rows());
  return {.to = {a.normal1.rows(0, count), a.mean1, a.inverse_std1},
          .packed = keep.attention_rows.packed,
          .weight = p.norm1_weight,
          .bias = p.norm1_bias,
          .epsilon = epsilon};
}

/// The norm before the MLP, of a.middle.
template <class T>
[[nodiscard]] FollowingNorm<T> second_norm(const BlockActivations<T>& a, const BlockParameters<const T>& p,
                                           const BlockRows<T>& rows, double epsilon) {
  return {.to = {a.normal2.rows(0, rows.mlp_count), a.mean2, a.inverse_std2},
          .packed = rows.mlp.packed,
          .weight = p.norm2_weight,
          .bias = p.norm2_bias,
          .epsilon = epsilon};
}

/// Attention and what follows up to GELU: a.normal1 -> qkv, attended, middle, normal2, hidden.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void block_inner_forward(const B& backend, const BlockActivations<T>& a, MatrixView<const T> x,
                         const BlockParameters<const T>& p, const BlockSize& size, const DeviceTokenLayout& layout,
                         const BlockRows<T>& rows, MatrixView<T> branch, GroupSet reads, bool last,
                         const HeadChanges<T>& changes) {
  if (rows.attention_count > 0) {
    const MatrixView<T> qkv = a.qkv.rows(0, rows.attention_count);
    const MatrixView<T> attended = a.attended.rows(0, rows.attention_count);
    backend.linear_forward(qkv, a.normal1.rows(0, rows.attention_count), p.qkv_weight, p.qkv_bias);
    change_heads<B, T>(backend, qkv, a.query, a.key, p, size, changes, rows.attention.packed, a.normal1);
    backend.template attention_forward<R>(attended, a.log_sum.rows(0, rows.attention_count), qkv, rows.batch, size.heads,
                                          last ? reads : all_groups);
    if (last && rows.read_count > 0) {
      backend.copy_rows(a.tail_attended.rows(0, rows.read_count), {}, attended, rows.read_rows);
    }
    if (rows.read_count > 0) {
      backend.linear_forward(branch.rows(0, rows.read_count), (last ? a.tail_attended : a.attended).rows(0, rows.read_count),
                             p.proj_weight, p.proj_bias);
    }
  }
  if (last) backend.copy_rows(a.tail_x, {}, x, layout.read_rows);
  residual_then_norm<B, T>(backend, a.middle, last ? MatrixView<const T>(a.tail_x) : x, branch.rows(0, rows.read_count),
                           rows.read, second_norm(a, p, rows, size.norm_epsilon));
  if (rows.mlp_count == 0) return;
  backend.linear_forward(a.hidden.rows(0, rows.mlp_count), a.normal2.rows(0, rows.mlp_count), p.fc1_weight, p.fc1_bias);
}

/// What follows `block_inner_forward`: a.hidden -> a.out and the norm that follows.
template <Backend B, class T = typename B::Scalar>
void block_outer_forward(const B& backend, const BlockActivations<T>& a, const BlockParameters<const T>& p,
                         const BlockSize& size, const BlockRows<T>& rows, MatrixView<T> branch, const FollowingNorm<T>& next) {
  const MatrixView<T> mlp_branch = branch.rows(0, rows.mlp_count);
  if (rows.mlp_count > 0) {
    const MatrixView<T> activated = a.activated.rows(0, rows.mlp_count);
    if (size.gated) {
      backend.swiglu_forward(activated, a.hidden.rows(0, rows.mlp_count));
    } else {
      backend.gelu_forward(activated, a.hidden.rows(0, rows.mlp_count));
    }
    backend.linear_forward(mlp_branch, activated, p.fc2_weight, p.fc2_bias);
  }
  residual_then_norm<B, T>(backend, a.out, a.middle, mlp_branch, rows.mlp, next);
}

/// Forward pass of a block: x (M,D) and its norm in a.normal1 (`first_norm`) -> a.out (M',D) and the norm that follows.
///
///   middle = x + keep attention(LN(x)), out = middle + keep MLP(LN(middle)).
///
/// `last`: only rows in layout.reads() go beyond attention and come out, in output order. `branch` (M,D) is
/// overwritten. Cost: 24 M D^2 FLOP for hidden = 4D, and attention's; rows that `keep` leaves out cost nothing.
/// Test: fixtures `backbone_*`; central differences in tests/backbone.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void block_forward(const B& backend, const BlockActivations<T>& a, MatrixView<const T> x,
                   const BlockParameters<const T>& p, const BlockSize& size, const DeviceTokenLayout& layout,
                   const BranchKeep<T>& keep, MatrixView<T> branch, GroupSet reads, bool last,
                   const FollowingNorm<T>& next = {}, const HeadChanges<T>& changes = {}) {
  const auto rows = BlockRows<T>::of(keep, layout, x.rows(), a.middle.rows(), last);
  block_inner_forward<R>(backend, a, x, p, size, layout, rows, branch, reads, last, changes);
  block_outer_forward<B, T>(backend, a, p, size, rows, branch, next);
}

/// Forward pass of other references through a block that has its other tokens' queries, keys and values in a.qkv, under a
/// relation that `hides_references`: x (R,D) and its norm in r.normal1 -> r.out (R,D) and the norm that follows.
///
/// `r`: `a.rows_alone` of them. a.qkv holds the references' then, a.attended and a.log_sum what they attended to. The numbers
/// that `block_forward` gives these rows. Cost: 24 R D^2 FLOP for hidden = 4D, and their attention's.
/// Test: "other references through the blocks again" (tests/backbone/vit_parity.cpp).
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void block_references_forward(const B& backend, const BlockActivations<T>& a, const BlockActivations<T>& r,
                              MatrixView<const T> x, const BlockParameters<const T>& p, const BlockSize& size,
                              const DeviceTokenLayout& layout, MatrixView<T> branch, const FollowingNorm<T>& next,
                              const HeadChanges<T>& changes) {
  static_assert(hides_references(R), "block_references_forward: under this relation others see the references");
  const Index count = x.rows();
  const BlockRows<T> rows{.attention_count = count, .read_count = count, .mlp_count = count};
  backend.linear_forward(r.qkv, r.normal1, p.qkv_weight, p.qkv_bias);
  change_heads<B, T>(backend, r.qkv, r.query, r.key, p, size, changes, {}, r.normal1);
  backend.copy_rows(a.qkv, layout.reference_rows, r.qkv, {});
  backend.template attention_forward<R>(a.attended, a.log_sum, a.qkv, layout.batch, size.heads, GroupSet{.reference = true});
  backend.copy_rows(r.attended, {}, a.attended, layout.reference_rows);
  backend.linear_forward(branch.rows(0, count), r.attended, p.proj_weight, p.proj_bias);
  residual_then_norm<B, T>(backend, r.middle, x, branch.rows(0, count), rows.read, second_norm(r, p, rows, size.norm_epsilon));
  backend.linear_forward(r.hidden, r.normal2, p.fc1_weight, p.fc1_bias);
  block_outer_forward<B, T>(backend, r, p, size, rows, branch, next);
}

/// Computes again from x what `block_forward` kept in `a` for the backward pass: the same bits.
/// Cost: 16 M D^2 FLOP for hidden = 4D, and attention's; a.out is not touched.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void block_forward_again(const B& backend, const BlockActivations<T>& a, MatrixView<const T> x,
                         const BlockParameters<const T>& p, const BlockSize& size, const DeviceTokenLayout& layout,
                         const BranchKeep<T>& keep, MatrixView<T> branch, GroupSet reads, bool last,
                         const HeadChanges<T>& changes = {}) {
  norm_alone<B, T>(backend, x, first_norm(a, p, keep, size.norm_epsilon));
  block_inner_forward<R>(backend, a, x, p, size, layout,
                         BlockRows<T>::of(keep, layout, x.rows(), a.middle.rows(), last), branch, reads, last, changes);
}

/// The MLP's branch of a block, as the pass that computes the gradient of a.out hands it on.
template <class T>
[[nodiscard]] PrecedingBranch<T> mlp_branch(const BlockGradients<T>& g, const BlockParameters<T>& d_p,
                                            const BlockActivations<T>& a, const DeviceTokenLayout& layout,
                                            const BranchKeep<T>& keep, bool last) {
  const auto rows = BlockRows<T>::of(keep, layout, a.normal1.rows(), a.middle.rows(), last);
  return PrecedingBranch<T>::of(last ? g.d_tail : g.d_x, g.d_branch, d_p.fc2_bias, rows.mlp, rows.mlp_count);
}

/// The MLP's part of `block_backward`: the gradient of its branch's output -> that of a.normal2, in a.normal2 itself.
///
/// GELU's values are made again where a.hidden held its arguments, and what the forward pass left in a.activated and
/// a.normal2 is gone: their gradients take its place. With SwiGLU the gradient of a.hidden takes the place of that.
template <Backend B, class T = typename B::Scalar>
void block_mlp_backward(const B& backend, const BlockParameters<T>& d_p, const BlockActivations<T>& a,
                        MatrixView<const T> d_branch, const BlockParameters<const T>& p, const BlockSize& size,
                        const BlockRows<T>& rows) {
  const MatrixView<T> hidden = a.hidden.rows(0, rows.mlp_count);
  const MatrixView<T> d_hidden = a.activated.rows(0, rows.mlp_count);
  const MatrixView<T> normal2 = a.normal2.rows(0, rows.mlp_count);
  if (size.gated) {
    // The gradient of what SwiGLU gave and then that itself lie in `d_hidden`, what it read and then its gradient in
    // `hidden`.
    backend.linear_backward_input(d_hidden, d_branch, p.fc2_weight);
    backend.swiglu_again_backward(d_hidden, hidden, d_hidden, hidden);
    backend.linear_backward_weight(d_p.fc2_weight, bias_left_to_product<B>(d_p.fc2_bias), d_branch, d_hidden);
    norm_alone<B, T>(backend, a.middle, second_norm(a, p, rows, size.norm_epsilon));
    backend.linear_backward_weight(d_p.fc1_weight, d_p.fc1_bias, hidden, normal2);
    backend.linear_backward_input(normal2, hidden, p.fc1_weight);
    return;
  }
  constexpr bool at_once = GeluAgain<B>;
  const VectorView<T> d_bias1 = at_once ? VectorView<T>{} : d_p.fc1_bias;
  if constexpr (at_once) {
    backend.linear_backward_input(d_hidden, d_branch, p.fc2_weight);
    backend.gelu_again_backward(hidden, d_hidden, d_p.fc1_bias, d_hidden, hidden);
    backend.linear_backward_weight(d_p.fc2_weight, bias_left_to_product<B>(d_p.fc2_bias), d_branch, hidden);
  } else {
    backend.gelu_forward(d_hidden, hidden);
    backend.linear_backward_weight(d_p.fc2_weight, bias_left_to_product<B>(d_p.fc2_bias), d_branch, d_hidden);
    backend.linear_backward_input(d_hidden, d_branch, p.fc2_weight);
    backend.gelu_backward(d_hidden, d_hidden, hidden);
  }
  norm_alone<B, T>(backend, a.middle, second_norm(a, p, rows, size.norm_epsilon));
  backend.linear_backward_weight(d_p.fc1_weight, d_bias1, d_hidden, normal2);
  backend.linear_backward_input(normal2, d_hidden, p.fc1_weight);
}

/// Backward pass of a block. In: the gradient of a.out in g.d_x (in g.d_tail where `last`), and its share of the MLP's
/// branch (`mlp_branch`). Out: the gradient of x in g.d_x (M,D) =, with the share of the branch before; d_p +=.
/// What the scratch held after the forward pass (norms, GELU's values) is made again; a.hidden is overwritten, so this
/// goes once a forward pass. Rows that `keep` leaves out cost nothing. Test: central differences in tests/nn, backbone.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void block_backward(const B& backend, const BlockGradients<T>& g, const BlockParameters<T>& d_p,
                    const BlockActivations<T>& a, const BlockScratch<T>& scratch, MatrixView<const T> x,
                    const BlockParameters<const T>& p, const BlockSize& size, const DeviceTokenLayout& layout,
                    const BranchKeep<T>& keep, GroupSet reads, bool last, const PrecedingBranch<T>& before = {},
                    const HeadChanges<T>& changes = {}) {
  const auto rows = BlockRows<T>::of(keep, layout, x.rows(), a.middle.rows(), last);
  const MatrixView<T> d_tail = last ? g.d_tail : g.d_x;

  // The residual paths hand d_tail through; each branch adds to it.
  const MatrixView<T> d_normal2 = a.normal2.rows(0, rows.mlp_count);
  if (rows.mlp_count > 0) {
    const auto mlp = PrecedingBranch<T>::of(d_tail, g.d_branch, d_p.fc2_bias, rows.mlp, rows.mlp_count);
    block_mlp_backward<B, T>(backend, d_p, a, mlp.d_branch, p, size, rows);
  }
  const auto attention = PrecedingBranch<T>::of(d_tail, g.d_branch, d_p.proj_bias, rows.read, rows.read_count);
  norm_then_branch<B, T>(backend, d_tail, d_p.norm2_weight, d_p.norm2_bias, d_normal2, rows.mlp.packed, a.middle,
                         a.mean2, a.inverse_std2, p.norm2_weight, attention);

  const MatrixView<T> d_attended = a.normal1.rows(0, rows.read_count);
  if (rows.read_count > 0) {
    backend.linear_backward_weight(d_p.proj_weight, bias_left_to_product<B>(d_p.proj_bias), attention.d_branch,
                                   (last ? a.tail_attended : a.attended).rows(0, rows.read_count));
    backend.linear_backward_input(d_attended, attention.d_branch, p.proj_weight);
  }
  if (last) {
    // Rows that nobody read have no gradient: zero on the residual path, not looked at by attention, or zero where others
    // of their group are read.
    backend.fill(VectorView<T>(g.d_x.data(), g.d_x.size()), T{0});
    backend.copy_rows(g.d_x, layout.read_rows, d_tail, {});
    if (layout.reads_in_part) backend.fill(VectorView<T>(g.d_branch.data(), g.d_branch.size()), T{0});
    if (rows.read_count > 0) backend.copy_rows(g.d_branch, rows.read_rows, d_attended, {});
  }
  const MatrixView<T> d_normal1 = a.normal1.rows(0, rows.attention_count);
  if (rows.attention_count > 0) {
    const MatrixView<T> d_qkv = scratch.qkv.rows(0, rows.attention_count);
    backend.template attention_backward<R>(
        d_qkv, last ? g.d_branch.rows(0, rows.attention_count) : d_attended, a.attended.rows(0, rows.attention_count),
        a.log_sum.rows(0, rows.attention_count), a.qkv.rows(0, rows.attention_count), rows.batch, size.heads,
        last ? reads : all_groups);
    // The gradient of what was attended is through by now, in either of its places.
    change_heads_backward<B, T>(backend, d_qkv, d_p, a.query, a.key, p, size, changes, rows.attention.packed, a.normal1, g.d_branch);
    norm_alone<B, T>(backend, x, first_norm(a, p, keep, size.norm_epsilon));
    backend.linear_backward_weight(d_p.qkv_weight, d_p.qkv_bias, d_qkv, a.normal1.rows(0, rows.attention_count));
    backend.linear_backward_input(d_normal1, d_qkv, p.qkv_weight);
  }
  norm_then_branch<B, T>(backend, g.d_x, d_p.norm1_weight, d_p.norm1_bias, d_normal1, rows.attention.packed, x, a.mean1,
                         a.inverse_std1, p.norm1_weight, before);
}

}  // namespace dssl
