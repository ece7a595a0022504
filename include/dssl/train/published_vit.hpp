// The ViT that runs the weights of a published backbone: its sizes and rules, from what a file says.
// Tests: tests/features/published.cpp, tests/programs/weights.sh.
#pragma once

#include <cmath>
#include <string>
#include <string_view>

#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// How a ViT reads its position table where a published one does by this scheme; a rotary one has none.
[[nodiscard]] inline PositionRule position_rule_of(PositionScheme scheme) {
  switch (scheme) {
    case PositionScheme::size: return PositionRule::size;
    case PositionScheme::size_antialiased: return PositionRule::size_antialiased;
    case PositionScheme::corners: return PositionRule::corners;
    default: return PositionRule::offset;
  }
}

/// The sizes and rules of a published backbone as a `ViTConfig`. `heads`: where the file does not say their number and it is
/// not the usual one; `field`: what messages call it. LayerScale is left out: `BackboneFileOptions::fold_layer_scale` multiplies
/// it into the layers before it. Biases that a backbone which rotates does not have, its ViT has neither: trained, it goes back
/// into its family's code.
/// Throws `CheckpointError` naming what the ViT does not run, `OptionError` where the number of heads has to be given.
/// Test: tests/features/published.cpp.
[[nodiscard]] inline ViTConfig published_config(const BackboneDescription& d, const std::string& path, Index heads = 0,
                                                std::string_view field = "heads") {
  const auto refuse = [&](const auto&... what) {
    throw CheckpointError(path, join("is of the family ", family_name(d.family), " and ", what...,
                                     ", which this ViT does not run"));
  };
  const Index asked = heads;
  if (heads == 0) heads = d.heads;
  if (heads == 0 || d.width % heads != 0) {
    throw OptionError(field, asked,
                      join("the number of heads that ", path, " of width ", d.width, " was trained with"));
  }
  const bool rotary = d.position == PositionScheme::rotary;
  ViTConfig config{.image = rotary ? 16 * d.patch : d.native_image(),
                   .patch = d.patch,
                   .width = d.width,
                   .depth = d.depth,
                   .heads = heads,
                   .channels = d.channels,
                   .registers = d.registers,
                   .positions = rotary ? Positions::rotary : Positions::learned,
                   .position_rule = position_rule_of(d.position),
                   .qkv_bias = !rotary ? QkvBias::full : !d.qkv_bias ? QkvBias::none : d.key_bias ? QkvBias::full : QkvBias::no_key,
                   .class_norm = d.class_norm,
                   .local_class_norm = d.local_class_norm};
  while (config.norm_exponent < 16 && config.norm_epsilon() > 1.5 * d.norm_epsilon) ++config.norm_exponent;
  while (config.norm_exponent > 1 && 1.5 * config.norm_epsilon() < d.norm_epsilon) --config.norm_exponent;
  if (std::abs(config.norm_epsilon() / d.norm_epsilon - 1) > 1e-6) {
    refuse("has norms with an epsilon of ", d.norm_epsilon, ", no power of ten");
  }
  if (d.mlp == MlpKind::gelu) {
    config.mlp_ratio = std::max(d.hidden / d.width, Index{1});
    if (d.hidden % d.width != 0) config.mlp_hidden = d.hidden;
    return config;
  }
  // SwiGLU's width is two thirds of a multiple of the width, rounded up to a multiple of a number that no file says.
  config.swiglu = true;
  for (const Index multiple : {8, 1, 64, 128, 256, 16, 32}) {
    for (Index ratio = 1; ratio <= 12; ++ratio) {
      config.mlp_ratio = ratio;
      config.swiglu_multiple = multiple;
      if (config.block().hidden == d.hidden) return config;
    }
  }
  config.mlp_hidden = d.hidden;
  return config;
}

/// Throws `CheckpointError` where a ViT of these sizes, which an architecture's name chose, has others than the weights; the
/// images' channels are compared with the tensors. Test: tests/features/published.cpp.
inline void require_same_sizes(const BackboneDescription& d, const ViTConfig& config, const std::string& path) {
  std::string theirs, own;
  const auto compare = [&](std::string_view what, Index of_weights, Index of_config) {
    if (of_weights == of_config) return;
    const std::string_view comma = theirs.empty() ? "" : ", ";
    theirs += join(comma, what, " ", of_weights);
    own += join(comma, of_config);
  };
  compare("width", d.width, config.width);
  compare("depth", d.depth, config.depth);
  compare("patch", d.patch, config.patch);
  compare("MLP", d.hidden, config.block().hidden);
  compare("registers", d.registers, config.registers);
  compare("positions a side", d.table_side, config.rotary() ? 0 : config.image / config.patch);
  if (theirs.empty()) return;
  throw CheckpointError(path, join("does not fit this architecture: it has ", theirs, ", expected ", own,
                                   "; --arch auto takes the weights' own sizes"));
}

/// Throws `CheckpointError` where a ViT of these sizes, which an architecture's name chose, goes by other rules than the
/// weights: another number of heads, where theirs is known, another epsilon in its norms, or another way to read the position
/// table for a grid of patches, which at its own size every rule reads as it is. Test: tests/features/published.cpp.
inline void require_same_rules(const BackboneDescription& d, const ViTConfig& config, GridSize grid, const std::string& path) {
  const auto refuse = [&](const auto&... what) {
    throw CheckpointError(path, join("is of the family ", family_name(d.family), ", which ", what...));
  };
  // The same tensors are of any number of heads: nothing else tells.
  if (d.heads_are_known && d.heads != config.heads)
    refuse("has ", d.heads, " heads, and this architecture ", config.heads, "; expected --arch auto without other --heads");
  if (std::abs(config.norm_epsilon() / d.norm_epsilon - 1) > 1e-6) {
    refuse("has norms with an epsilon of ", d.norm_epsilon, ", and this architecture one of ", config.norm_epsilon(),
           "; expected --arch auto");
  }
  if (config.rotary() || d.position == PositionScheme::rotary || grid == GridSize{d.table_side, d.table_side}) return;
  if (config.position_rule == position_rule_of(d.position)) return;
  refuse("reads its ", d.table_side, "x", d.table_side, " positions for other sizes by the rule '",
         position_scheme_name(d.position), "', and this architecture by '", name_of(config.position_rule),
         "'; expected --arch auto, or inputs of ", d.native_image(), " pixels");
}

}  // namespace dssl
