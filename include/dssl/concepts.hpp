// Every extension point on one page: what a part of a recipe must offer.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

// Roles of a recipe: backbone, tokens, views, points, loss, head. The other extension points have pages of their
// own: backends (dssl/backend/concept.hpp), the matrix products of the CPU's (dssl/backend/cpu/product_policy.hpp), and
// image sources (dssl/data/source.hpp).

namespace dssl {

/// Sizes known at compile time, as a structural type with `==`.
template <class X>
concept HasConfig = requires {
  X::config;
  requires std::equality_comparable<std::remove_cvref_t<decltype(X::config)>>;
};

/// A backbone: tokens in, features out, with a backward pass. Do-nothing example: none is possible; copy
/// `ViT` (dssl/backbone/vit.hpp), whose last forty lines are the whole interface.
template <class X>
concept BackbonePolicy = HasConfig<X> && requires {
  typename X::Config;
  typename X::template Parameters<float>;
  typename X::template Inputs<float>;
  typename X::template Activations<float>;
  typename X::template Gradients<float>;
};

/// A token scheme: who attends to whom, where point features come from. Which output rows are read follows from
/// that and from the loss.
///
///   struct MyTokens {                                     // patches only see patches, class sees all
///     static constexpr AttentionRelation relation{...};
///     static constexpr PointFeatures point_features = PointFeatures::reference_tokens;
///     static constexpr ReferenceConfig reference{};
///   };
template <class X>
concept TokenScheme = requires {
  { X::relation } -> std::convertible_to<AttentionRelation>;
  X::point_features;
  { X::reference.learned } -> std::convertible_to<bool>;
  { X::reference.detached } -> std::convertible_to<bool>;
};

/// A view generator: plans V views of an image (where each lies in the scene, and what is done to it), then
/// renders them. The first two views are the global ones. `plan` and `render` are pure functions of their
/// arguments and are called by several threads at once, each with a workspace of its own. One that also models
/// `PlansViews` (dssl/views/view_pack.hpp) can have its views rendered by the backend.
template <class X>
concept ViewGenerator = requires(const X& x, std::vector<typename X::Plan>& plans, Index i, const RandomKey& key,
                                 const AnyImage& image, std::span<float> out, typename X::Workspace& workspace) {
  typename X::Plan;
  typename X::Workspace;
  plans.front().map;  // a ViewMap (dssl/views/geometry.hpp): points follow the view through it
  { x.views() } -> std::convertible_to<Index>;
  { x.size(i).height } -> std::convertible_to<Index>;
  { x.size(i).width } -> std::convertible_to<Index>;
  x.plan(plans, i, i, key);
  x.render(image, plans.front(), out, workspace);
};

/// A point sampler: K points of the overlap of two views, relative to it, in [0, 1]^2.
///
///   struct CentrePoint {
///     Index count() const { return 1; }
///     void sample(std::span<Point> out, RandomStream&) const { out[0] = {0.5, 0.5}; }
///   };
template <class X>
concept PointSampler = requires(const X& x, std::span<Point> out, RandomStream& random) {
  { x.count() } -> std::convertible_to<Index>;
  x.sample(out, random);
};

/// A loss: which levels the objective has.
///
///   struct MyLoss { static constexpr bool image = true, point = false; };
template <class X>
concept LossPolicy = requires {
  { X::image } -> std::convertible_to<bool>;
  { X::point } -> std::convertible_to<bool>;
};

/// A head: the sizes of a projection head.
template <class X>
concept HeadPolicy = HasConfig<X> && requires {
  { X::config.prototypes } -> std::convertible_to<Index>;
  { X::config.bottleneck } -> std::convertible_to<Index>;
};

}  // namespace dssl
