// Sizes and options of a vision transformer, and its parameters under their published names.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/packed_weights.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block_parameters.hpp>
#include <dssl/nn/derived_weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// How tokens know where they stand.
enum class Positions : std::uint8_t {
  learned,  ///< a table that is added to class token and patches, read at reference points
  rotary,   ///< queries and keys of patches and references are turned by their coordinates in every block. DINOv3
  sincos,   ///< a table of sines and cosines (`sincos_positions`) that is not trained, read as a learned one. MAE, MoCo v3
  none      ///< they do not: a token scheme with references is refused
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
  bool qk_norm = false;            ///< queries and keys of each head go through a layer norm of their own before attention
  bool class_norm = false;         ///< class tokens and registers have a last norm of their own. DINOv3
  bool local_class_norm = false;   ///< so have those of local views, in training alone. DINOv3
  Index mlp_hidden = 0;            ///< hidden width of the MLP, or of SwiGLU, where no ratio gives it; 0: as those say

  [[nodiscard]] constexpr double norm_epsilon() const { return negative_power_of_ten(norm_exponent); }
  [[nodiscard]] constexpr BlockSize block() const {
    return {.width = width,
            .heads = heads,
            .hidden = mlp_hidden > 0 ? mlp_hidden
                      : swiglu       ? swiglu_hidden(mlp_ratio * width, swiglu_multiple)
                                     : mlp_ratio * width,
            .gated = swiglu,
            .qkv_bias = qkv_bias,
            .norm_epsilon = norm_epsilon(),
            .layer_scale = layer_scale,
            .layer_scale_exponent = layer_scale_exponent,
            .qk_norm = qk_norm};
  }
  [[nodiscard]] constexpr bool rotary() const { return positions == Positions::rotary; }
  /// Whether there is a table that is added to tokens.
  [[nodiscard]] constexpr bool table() const { return positions == Positions::learned || positions == Positions::sincos; }
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
  MatrixView<T> class_position;   // (1,D), empty without a table, as is the next one
  MatrixView<T> patch_position;   // (g*g,D)
  VectorView<T> periods;          // (D/H/4) of rotary positions, never trained
  MatrixView<T> register_tokens;  // (registers,D), empty where there are none
  MatrixView<T> reference_token;  // (1,D), empty unless learned
  MatrixView<T> mask_token;       // (1,D), empty unless patches are masked
  WeightView<T> patch_weight;     // (D,C*p*p)
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
    }
    if (config.table()) {
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

/// Appends a ViT's parameters to a layout under their published names, after `prefix`. Throws `OptionError` for a hidden width
/// of the MLP below 0. Test: tests/nn/parameters.cpp.
constexpr void add_vit_parameters(ParameterLayout& layout, const ViTConfig& c, LearnedTokens learned,
                                  std::string_view prefix) {
  if (c.mlp_hidden < 0) throw OptionError("mlp_hidden", c.mlp_hidden, "at least 1, or 0 for what the ratio gives");
  constexpr ParameterLayout::Options drawn{.initial = InitialValues::truncated_normal};
  const Index fan_in = c.channels * c.patch * c.patch;
  const ParameterLayout::Options convolution{.initial = InitialValues::uniform, .fan_in = fan_in};
  layout.prefix(prefix);
  layout.add("cls_token", {1, 1, c.width}, drawn);
  if (c.rotary()) {
    layout.add("rope_embed.periods", {c.width / c.heads / 4},
               {.initial = InitialValues::rotary_periods, .trained = false});
  }
  if (c.table()) {
    const bool learnt = c.positions == Positions::learned;
    layout.add("cls_pos_embed", {1, 1, c.width}, learnt ? drawn : ParameterLayout::Options{.trained = false});
    layout.add("patch_pos_embed", {1, c.native_grid().size(), c.width},
               learnt ? drawn : ParameterLayout::Options{.initial = InitialValues::sincos_table, .trained = false});
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

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE struct dssl::ViTParameters<float>;
DSSL_INSTANCE struct dssl::ViTParameters<const float>;
DSSL_INSTANCE struct dssl::ViTParameters<double>;
DSSL_INSTANCE struct dssl::ViTParameters<const double>;
#endif
