// Sizes and options of a transformer block, and its parameters under their published names.
#pragma once

#include <cstdint>

#include <dssl/backend/packed_weights.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/residual.hpp>

namespace dssl {

/// The bias of queries, keys and values.
enum class QkvBias : std::uint8_t {
  full,
  no_key,  ///< that of keys is 0: what is stored of it is passed over, and has no gradient. DINOv3, where it is masked
  none
};

/// Sizes and options of a block: width D, heads H, hidden width of the MLP.
struct BlockSize {
  Index width = 0;
  Index heads = 0;
  Index hidden = 0;                ///< what the MLP's second layer reads
  bool gated = false;              ///< SwiGLU, whose first layer gives a gate and a value for each of these
  QkvBias qkv_bias = QkvBias::full;
  double norm_epsilon = layer_norm_epsilon;
  bool layer_scale = false;        ///< each branch times a learned number a channel
  Index layer_scale_exponent = 5;  ///< these numbers begin as 10^-exponent
  bool qk_norm = false;            ///< queries and keys of each head go through a norm of their own before attention

  /// What the MLP's first layer gives.
  [[nodiscard]] constexpr Index first_layer() const { return gated ? 2 * hidden : hidden; }
};

/// Hidden width of a SwiGLU MLP that stands for one of `hidden`: two thirds of that, so that both have as many weights,
/// up to a multiple of `multiple`. Source: DINOv2 (multiple 8; the giant one), DINOv3 (8, the largest one 64).
[[nodiscard]] constexpr Index swiglu_hidden(Index hidden, Index multiple = 8) {
  return (2 * hidden / 3 + multiple - 1) / multiple * multiple;
}

/// Parameters of a block (or their gradients), as views into the flat buffer.
template <class T>
struct BlockParameters {
  VectorView<T> norm1_weight, norm1_bias;
  WeightView<T> qkv_weight;  // (3D,D)
  VectorView<T> qkv_bias;     // empty with QkvBias::none
  VectorView<T> query_norm_weight, query_norm_bias, key_norm_weight, key_norm_bias;  // (D/H), empty without norms of heads
  WeightView<T> proj_weight;  // (D,D)
  VectorView<T> proj_bias;
  VectorView<T> norm2_weight, norm2_bias;
  WeightView<T> fc1_weight;  // (hidden,D); with SwiGLU (2 hidden,D), the gates' rows before the values'
  VectorView<T> fc1_bias;
  WeightView<T> fc2_weight;  // (D,hidden)
  VectorView<T> fc2_bias;
  VectorView<T> scale1, scale2;  // (D) of attention's branch and the MLP's, empty without LayerScale

  static BlockParameters bind(ParameterCursor<T>& next, const BlockSize& size = {}) {
    BlockParameters p;
    p.norm1_weight = next.vector();
    p.norm1_bias = next.vector();
    p.qkv_weight = next.matrix();
    if (size.qkv_bias != QkvBias::none) p.qkv_bias = next.vector();
    if (size.qk_norm) {
      p.query_norm_weight = next.vector();
      p.query_norm_bias = next.vector();
      p.key_norm_weight = next.vector();
      p.key_norm_bias = next.vector();
    }
    p.proj_weight = next.matrix();
    p.proj_bias = next.vector();
    if (size.layer_scale) p.scale1 = next.vector();
    p.norm2_weight = next.vector();
    p.norm2_bias = next.vector();
    p.fc1_weight = next.matrix();
    p.fc1_bias = next.vector();
    p.fc2_weight = next.matrix();
    p.fc2_bias = next.vector();
    if (size.layer_scale) p.scale2 = next.vector();
    return p;
  }
};

/// Appends a block's parameters to a layout, in the order in which `BlockParameters::bind` takes them.
constexpr void add_block_parameters(ParameterLayout& layout, const BlockSize& size) {
  constexpr ParameterLayout::Options weight{.initial = InitialValues::truncated_normal};
  constexpr ParameterLayout::Options scale{.initial = InitialValues::one};
  constexpr ParameterLayout::Options zero{};
  const ParameterLayout::Options gamma{.initial = InitialValues::power_of_ten, .exponent = size.layer_scale_exponent};
  const Index d = size.width;
  layout.add("norm1.weight", {d}, scale);
  layout.add("norm1.bias", {d}, zero);
  layout.add("attn.qkv.weight", {3 * d, d}, weight);
  if (size.qkv_bias != QkvBias::none) layout.add("attn.qkv.bias", {3 * d}, zero);
  if (size.qk_norm) {
    const Index each = d / size.heads;
    layout.add("attn.q_norm.weight", {each}, scale);
    layout.add("attn.q_norm.bias", {each}, zero);
    layout.add("attn.k_norm.weight", {each}, scale);
    layout.add("attn.k_norm.bias", {each}, zero);
  }
  layout.add("attn.proj.weight", {d, d}, weight);
  layout.add("attn.proj.bias", {d}, zero);
  if (size.layer_scale) layout.add("ls1.gamma", {d}, gamma);
  layout.add("norm2.weight", {d}, scale);
  layout.add("norm2.bias", {d}, zero);
  layout.add(size.gated ? "mlp.w12.weight" : "mlp.fc1.weight", {size.first_layer(), d}, weight);
  layout.add(size.gated ? "mlp.w12.bias" : "mlp.fc1.bias", {size.first_layer()}, zero);
  layout.add(size.gated ? "mlp.w3.weight" : "mlp.fc2.weight", {d, size.hidden}, weight);
  layout.add(size.gated ? "mlp.w3.bias" : "mlp.fc2.bias", {d}, zero);
  if (size.layer_scale) layout.add("ls2.gamma", {d}, gamma);
}

}  // namespace dssl
