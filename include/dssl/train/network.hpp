// A recipe's network: the layout of all its parameters, bound to a flat buffer.
// Tests: tests/train/model_gradients.cpp.
#pragma once

#include <optional>

#include <dssl/nn/head.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/tokens/schemes.hpp>

namespace dssl {

/// Sizes of a recipe's network, after the run-time options had their say.
template <class Recipe>
struct NetworkConfig {
  typename Recipe::Backbone::Config backbone = Recipe::Backbone::config;
  HeadConfig head = Recipe::Head::config;

  /// `channels` and `prototypes`: 0 for the recipe's own.
  static constexpr NetworkConfig with(Index channels, Index prototypes) {
    NetworkConfig out;
    if (channels > 0) out.backbone.channels = channels;
    if (prototypes > 0) out.head.prototypes = prototypes;
    return out;
  }
};

/// The layout of a recipe's parameters: backbone, then the head of the class token (`head.`) and that of the
/// points (`ref_head.`), each only where the loss has its level. Can be computed at compile time.
template <class Recipe>
[[nodiscard]] constexpr ParameterLayout network_layout(const NetworkConfig<Recipe>& config) {
  ParameterLayout layout;
  Recipe::Backbone::add_parameters(layout, config.backbone, Recipe::Tokens::reference.learned, "backbone.");
  if constexpr (Recipe::Loss::image) add_head_parameters(layout, config.head, config.backbone.width, "head.");
  if constexpr (Recipe::Loss::point) add_head_parameters(layout, config.head, config.backbone.width, "ref_head.");
  return layout;
}

/// Views of a network's parameters (or gradients) in a flat buffer.
template <class Recipe, class T>
struct NetworkParameters {
  typename Recipe::Backbone::template Parameters<T> backbone;
  HeadParameters<T> head;            // empty without an image level
  HeadParameters<T> reference_head;  // empty without a point level

  static NetworkParameters bind(const ParameterLayout& layout, T* base, const NetworkConfig<Recipe>& config) {
    ParameterCursor<T> next(layout, base);
    NetworkParameters p;
    p.backbone = Recipe::Backbone::template Parameters<T>::bind(next, config.backbone,
                                                                Recipe::Tokens::reference.learned);
    if constexpr (Recipe::Loss::image) p.head = HeadParameters<T>::bind(next, config.head);
    if constexpr (Recipe::Loss::point) p.reference_head = HeadParameters<T>::bind(next, config.head);
    return p;
  }
};

}  // namespace dssl
