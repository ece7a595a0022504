// One pre-norm transformer block: attention and MLP, each with a residual path.
#pragma once

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// Epsilon of every layer norm. Source: the published ViT.
inline constexpr double layer_norm_epsilon = 1e-6;

/// Sizes of a block: width D, heads H, hidden width of the MLP.
struct BlockSize {
  Index width = 0;
  Index heads = 0;
  Index hidden = 0;
};

/// Parameters of a block (or their gradients), as views into the flat buffer.
template <class T>
struct BlockParameters {
  VectorView<T> norm1_weight, norm1_bias;
  MatrixView<T> qkv_weight;  // (3D,D)
  VectorView<T> qkv_bias;
  MatrixView<T> proj_weight;  // (D,D)
  VectorView<T> proj_bias;
  VectorView<T> norm2_weight, norm2_bias;
  MatrixView<T> fc1_weight;  // (hidden,D)
  VectorView<T> fc1_bias;
  MatrixView<T> fc2_weight;  // (D,hidden)
  VectorView<T> fc2_bias;

  static BlockParameters bind(ParameterCursor<T>& next) {
    BlockParameters p;
    p.norm1_weight = next.vector();
    p.norm1_bias = next.vector();
    p.qkv_weight = next.matrix();
    p.qkv_bias = next.vector();
    p.proj_weight = next.matrix();
    p.proj_bias = next.vector();
    p.norm2_weight = next.vector();
    p.norm2_bias = next.vector();
    p.fc1_weight = next.matrix();
    p.fc1_bias = next.vector();
    p.fc2_weight = next.matrix();
    p.fc2_bias = next.vector();
    return p;
  }
};

/// Appends a block's parameters to a layout, in the order in which `BlockParameters::bind` takes them.
constexpr void add_block_parameters(ParameterLayout& layout, const BlockSize& size) {
  constexpr ParameterLayout::Options weight{.initial = InitialValues::truncated_normal};
  constexpr ParameterLayout::Options scale{.initial = InitialValues::one};
  constexpr ParameterLayout::Options zero{};
  const Index d = size.width;
  layout.add("norm1.weight", {d}, scale);
  layout.add("norm1.bias", {d}, zero);
  layout.add("attn.qkv.weight", {3 * d, d}, weight);
  layout.add("attn.qkv.bias", {3 * d}, zero);
  layout.add("attn.proj.weight", {d, d}, weight);
  layout.add("attn.proj.bias", {d}, zero);
  layout.add("norm2.weight", {d}, scale);
  layout.add("norm2.bias", {d}, zero);
  layout.add("mlp.fc1.weight", {size.hidden, d}, weight);
  layout.add("mlp.fc1.bias", {size.hidden}, zero);
  layout.add("mlp.fc2.weight", {d, size.hidden}, weight);
  layout.add("mlp.fc2.bias", {d}, zero);
}

/// What a block computes. M rows enter; in the last block only the M' rows that somebody reads go beyond
/// attention (M' = M elsewhere).
template <class T>
struct BlockActivations {
  MatrixView<T> normal1;  // (M,D)
  VectorView<T> mean1, inverse_std1;
  MatrixView<T> qkv;         // (M,3D)
  MatrixView<T> log_sum;     // (M,H)
  MatrixView<T> attended;    // (M,D)
  MatrixView<T> tail_x;      // (M',D), last block only: the rows of x that are read
  MatrixView<T> tail_attended;  // (M',D), last block only
  MatrixView<T> middle;      // (M',D) after the attention's residual
  MatrixView<T> normal2;     // (M',D)
  VectorView<T> mean2, inverse_std2;
  MatrixView<T> hidden;      // (M',hidden) before GELU
  MatrixView<T> activated;   // (M',hidden) after GELU
  MatrixView<T> out;         // (M',D)

  /// Buffers for a block whose gradients will be asked for.
  static BlockActivations saved(Arena& arena, const BlockSize& size, Index rows, Index tail_rows, bool last) {
    BlockActivations a = x_common(arena, size, rows, tail_rows, last);
    a.middle = arena.matrix<T>(tail_rows, size.width);
    a.out = arena.matrix<T>(tail_rows, size.width);
    return a;
  }

  /// Buffers for a block that only goes forward: middle and out overwrite x in place.
  static BlockActivations forward_only(Arena& arena, const BlockSize& size, MatrixView<T> x, Index tail_rows,
                                       bool last) {
    BlockActivations a = x_common(arena, size, x.rows(), tail_rows, last);
    a.middle = last ? a.tail_x : x;
    a.out = a.middle;
    return a;
  }

 private:
  static BlockActivations x_common(Arena& arena, const BlockSize& size, Index rows, Index tail_rows, bool last) {
    BlockActivations a;
    a.normal1 = arena.matrix<T>(rows, size.width);
    a.mean1 = arena.vector<T>(rows);
    a.inverse_std1 = arena.vector<T>(rows);
    a.qkv = arena.matrix<T>(rows, 3 * size.width);
    a.log_sum = arena.matrix<T>(rows, size.heads);
    a.attended = arena.matrix<T>(rows, size.width);
    if (last) {
      a.tail_x = arena.matrix<T>(tail_rows, size.width);
      a.tail_attended = arena.matrix<T>(tail_rows, size.width);
    }
    a.normal2 = arena.matrix<T>(tail_rows, size.width);
    a.mean2 = arena.vector<T>(tail_rows);
    a.inverse_std2 = arena.vector<T>(tail_rows);
    a.hidden = arena.matrix<T>(tail_rows, size.hidden);
    a.activated = arena.matrix<T>(tail_rows, size.hidden);
    return a;
  }
};

/// Multipliers of a block's two residual branches for each sequence (0 or 1/(1 - rate)); empty: 1.
template <class T>
struct BranchKeep {
  VectorView<const T> attention;
  VectorView<const T> mlp;
};

/// Buffers that every block's backward pass uses in turn.
template <class T>
struct BlockGradients {
  MatrixView<T> d_x;       // (M,D)
  MatrixView<T> d_normal;  // (M,D)
  MatrixView<T> d_branch;  // (M,D)
  MatrixView<T> d_qkv;     // (M,3D)
  MatrixView<T> d_hidden;  // (M,hidden)
  MatrixView<T> d_tail;    // (M',D) gradient of the last block's output, then of its middle

  static BlockGradients take(Arena& arena, const BlockSize& size, Index rows, Index tail_rows) {
    return {.d_x = arena.matrix<T>(rows, size.width),
            .d_normal = arena.matrix<T>(rows, size.width),
            .d_branch = arena.matrix<T>(rows, size.width),
            .d_qkv = arena.matrix<T>(rows, 3 * size.width),
            .d_hidden = arena.matrix<T>(rows, size.hidden),
            .d_tail = arena.matrix<T>(tail_rows, size.width)};
  }
};

/// Forward pass of a block: x (M,D) -> a.out (M',D).
///
///   middle = x + keep attention(LN(x)), out = middle + keep MLP(LN(middle)).
///
/// `last`: only rows in layout.reads() go beyond attention and come out, in output order. `branch` (M,D) is
/// overwritten. Cost: 24 M D^2 FLOP for hidden = 4D, and attention's.
/// Test: fixtures `backbone_*`; central differences in tests/backbone.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void block_forward(const B& backend, const BlockActivations<T>& a, MatrixView<const T> x,
                   const BlockParameters<const T>& p, const BlockSize& size, const DeviceTokenLayout& layout,
                   const BranchKeep<T>& keep, MatrixView<T> branch, GroupSet reads, bool last) {
  backend.layer_norm_forward(a.normal1, a.mean1, a.inverse_std1, x, p.norm1_weight, p.norm1_bias,
                             layer_norm_epsilon);
  backend.linear_forward(a.qkv, a.normal1, p.qkv_weight, p.qkv_bias);
  backend.template attention_forward<R>(a.attended, a.log_sum, a.qkv, layout.batch, size.heads,
                                        last ? reads : all_groups);
  if (last) {
    backend.copy_rows(a.tail_x, {}, x, layout.read_rows);
    backend.copy_rows(a.tail_attended, {}, a.attended, layout.read_rows);
  }
  const MatrixView<const T> tail_x = last ? MatrixView<const T>(a.tail_x) : x;
  const RowIndex sequences = last ? layout.sequence_of_read_row : layout.sequence_of_row;
  const MatrixView<T> tail_branch = branch.rows(0, a.middle.rows());
  backend.linear_forward(tail_branch, last ? a.tail_attended : a.attended, p.proj_weight, p.proj_bias);
  backend.residual_forward(a.middle, tail_x, tail_branch, keep.attention, sequences);
  backend.layer_norm_forward(a.normal2, a.mean2, a.inverse_std2, a.middle, p.norm2_weight, p.norm2_bias,
                             layer_norm_epsilon);
  backend.linear_forward(a.hidden, a.normal2, p.fc1_weight, p.fc1_bias);
  backend.gelu_forward(a.activated, a.hidden);
  backend.linear_forward(tail_branch, a.activated, p.fc2_weight, p.fc2_bias);
  backend.residual_forward(a.out, a.middle, tail_branch, keep.mlp, sequences);
}

/// Backward pass of a block. In: the gradient of a.out in g.d_x (in g.d_tail where `last`).
/// Out: the gradient of x in g.d_x (M,D) =; d_p +=.
template <AttentionRelation R, Backend B, class T = typename B::Scalar>
void block_backward(const B& backend, const BlockGradients<T>& g, const BlockParameters<T>& d_p,
                    const BlockActivations<T>& a, MatrixView<const T> x, const BlockParameters<const T>& p,
                    const BlockSize& size, const DeviceTokenLayout& layout, const BranchKeep<T>& keep, GroupSet reads,
                    bool last) {
  const Index tail_rows = a.out.rows();
  const MatrixView<T> d_tail = last ? g.d_tail : g.d_x;
  const MatrixView<T> d_branch = g.d_branch.rows(0, tail_rows);
  const MatrixView<T> d_normal = g.d_normal.rows(0, tail_rows);
  const MatrixView<T> d_hidden = g.d_hidden.rows(0, tail_rows);
  const RowIndex sequences = last ? layout.sequence_of_read_row : layout.sequence_of_row;

  // The residual paths hand d_tail through; each branch adds to it.
  backend.residual_backward(d_branch, d_tail, keep.mlp, sequences);
  backend.linear_backward_weight(d_p.fc2_weight, d_p.fc2_bias, d_branch, a.activated);
  backend.linear_backward_input(d_hidden, d_branch, p.fc2_weight);
  backend.gelu_backward(d_hidden, d_hidden, a.hidden);
  backend.linear_backward_weight(d_p.fc1_weight, d_p.fc1_bias, d_hidden, a.normal2);
  backend.linear_backward_input(d_normal, d_hidden, p.fc1_weight);
  backend.layer_norm_backward(d_tail, d_p.norm2_weight, d_p.norm2_bias, d_normal, a.middle, a.mean2, a.inverse_std2,
                              p.norm2_weight);

  backend.residual_backward(d_branch, d_tail, keep.attention, sequences);
  backend.linear_backward_weight(d_p.proj_weight, d_p.proj_bias, d_branch, last ? a.tail_attended : a.attended);
  backend.linear_backward_input(d_normal, d_branch, p.proj_weight);
  if (last) {
    // Rows that nobody read have no gradient: zero on the residual path, not looked at by attention.
    backend.fill(VectorView<T>(g.d_x.data(), g.d_x.size()), T{0});
    backend.copy_rows(g.d_x, layout.read_rows, d_tail, {});
    backend.copy_rows(g.d_branch, layout.read_rows, d_normal, {});
  }
  backend.template attention_backward<R>(g.d_qkv, last ? g.d_branch : g.d_normal, a.attended, a.log_sum, a.qkv,
                                         layout.batch, size.heads, last ? reads : all_groups);
  backend.linear_backward_weight(d_p.qkv_weight, d_p.qkv_bias, g.d_qkv, a.normal1);
  backend.linear_backward_input(g.d_normal, g.d_qkv, p.qkv_weight);
  backend.layer_norm_backward(g.d_x, d_p.norm1_weight, d_p.norm1_bias, g.d_normal, x, a.mean1, a.inverse_std1,
                              p.norm1_weight);
}

}  // namespace dssl
