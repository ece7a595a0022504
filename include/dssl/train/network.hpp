// A recipe's network: the layout of all its parameters, bound to a flat buffer.
// Tests: tests/train/model_gradients.cpp.
#pragma once

#include <optional>

#include <dssl/nn/head.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/tokens/schemes.hpp>

namespace dssl {

namespace detail {

template <class Backbone>
struct FamilyOf {
  using type = Backbone;
};
template <class Backbone>
  requires requires { typename Backbone::Family; }
struct FamilyOf<Backbone> {
  using type = typename Backbone::Family;
};

}  // namespace detail

/// What of a recipe the code of a step depends on. Sizes are numbers to it (`NetworkConfig`), so recipes that differ in
/// sizes, views or points alone share one step, compiled once.
template <class BackboneT, class TokensT, class LossT>
struct NetworkKind {
  using Backbone = BackboneT;
  using Tokens = TokensT;
  using Loss = LossT;
};

/// The kind of a recipe's network. A backbone whose sizes are a template argument names its `Family`, the same backbone
/// with sizes as numbers (`ViTFamily` is that of `ViT<C>`); another one is its own.
template <class Recipe>
using NetworkKindOf = NetworkKind<typename detail::FamilyOf<typename Recipe::Backbone>::type, typename Recipe::Tokens,
                                  typename Recipe::Loss>;

/// Sizes of a network.
template <class BackboneConfig>
struct NetworkConfig {
  BackboneConfig backbone{};
  HeadConfig head{};

  /// The same with other channels of images and other prototypes; 0: as they are.
  [[nodiscard]] constexpr NetworkConfig with(Index channels, Index prototypes) const {
    NetworkConfig out = *this;
    if (channels > 0) out.backbone.channels = channels;
    if (prototypes > 0) out.head.prototypes = prototypes;
    return out;
  }
};

/// Sizes of a recipe's network, after the run-time options had their say. `channels` and `prototypes`: 0 for the
/// recipe's own.
template <class Recipe>
[[nodiscard]] constexpr NetworkConfig<typename Recipe::Backbone::Config> network_config(Index channels = 0,
                                                                                        Index prototypes = 0) {
  return NetworkConfig<typename Recipe::Backbone::Config>{Recipe::Backbone::config, Recipe::Head::config}.with(
      channels, prototypes);
}

/// The layout of a network's parameters: backbone, then the head of the class token and that of the points (named
/// after `head` and `ref_head`), each only where the loss has its level. Can be computed at compile time.
template <class Kind>
[[nodiscard]] constexpr ParameterLayout network_layout(const NetworkConfig<typename Kind::Backbone::Config>& config) {
  ParameterLayout layout;
  Kind::Backbone::add_parameters(layout, config.backbone, Kind::Tokens::reference.learned, "backbone.");
  if constexpr (Kind::Loss::image) add_head_parameters(layout, config.head, config.backbone.width, "head.");
  if constexpr (Kind::Loss::point) add_head_parameters(layout, config.head, config.backbone.width, "ref_head.");
  return layout;
}

/// Views of a network's parameters (or gradients) in a flat buffer.
template <class Kind, class T>
struct NetworkParameters {
  typename Kind::Backbone::template Parameters<T> backbone;
  HeadParameters<T> head;            // empty without an image level
  HeadParameters<T> reference_head;  // empty without a point level

  static NetworkParameters bind(const ParameterLayout& layout, T* base, const NetworkConfig<typename Kind::Backbone::Config>& config) {
    ParameterCursor<T> next(layout, base);
    NetworkParameters p;
    p.backbone = Kind::Backbone::template Parameters<T>::bind(next, config.backbone,
                                                                Kind::Tokens::reference.learned);
    if constexpr (Kind::Loss::image) p.head = HeadParameters<T>::bind(next, config.head);
    if constexpr (Kind::Loss::point) p.reference_head = HeadParameters<T>::bind(next, config.head);
    return p;
  }
};

}  // namespace dssl
