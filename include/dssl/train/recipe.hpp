// A recipe: the parts of a method as one type, exchanged by name.
// Tests: tests/train/trainer.cpp, tests/compile_fail.
#pragma once

#include <string>

#include <dssl/backbone/vit.hpp>
#include <dssl/concepts.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/views/multi_crop.hpp>

namespace dssl {

/// What a method is made of. Equal parts are the same type, in whatever order they were named.
///
/// Parts are exchanged by name, one alias a part:
///
///   using Mine = DenseDino::with_points<GridPoints<3>>::with_backbone<ViT<vit_tiny16>>;
///
/// Each part is checked where it is named; whether the parts go together is checked by the trainer (in between,
/// a recipe may be half exchanged). Add a role: one parameter here, one concept in concepts.hpp.
template <class BackboneT, class TokensT, class ViewsT, class PointsT, class LossT, class HeadT>
struct Recipe {
  static_assert(BackbonePolicy<BackboneT>, "with_backbone: not a backbone, see BackbonePolicy in dssl/concepts.hpp");
  static_assert(TokenScheme<TokensT>, "with_tokens: not a token scheme, see TokenScheme in dssl/concepts.hpp");
  static_assert(ViewGenerator<ViewsT>, "with_views: not a view generator, see ViewGenerator in dssl/concepts.hpp");
  static_assert(PointSampler<PointsT>, "with_points: not a point sampler, see PointSampler in dssl/concepts.hpp");
  static_assert(Objective<LossT>, "with_loss: not an objective, see Objective in dssl/concepts.hpp; a term alone is WeightedSum<Term>");
  static_assert(HeadPolicy<HeadT>, "with_head: not a head, see HeadPolicy in dssl/concepts.hpp");

  using Backbone = BackboneT;
  using Tokens = TokensT;
  using Views = ViewsT;
  using Points = PointsT;
  using Loss = LossT;
  using Head = HeadT;

  template <class X>
  using with_backbone = Recipe<X, Tokens, Views, Points, Loss, Head>;
  template <class X>
  using with_tokens = Recipe<Backbone, X, Views, Points, Loss, Head>;
  template <class X>
  using with_views = Recipe<Backbone, Tokens, X, Points, Loss, Head>;
  template <class X>
  using with_points = Recipe<Backbone, Tokens, Views, X, Loss, Head>;
  template <class X>
  using with_loss = Recipe<Backbone, Tokens, Views, Points, X, Head>;
  template <class X>
  using with_head = Recipe<Backbone, Tokens, Views, Points, Loss, X>;
};

/// DenseDINO as published: ViT-S/16, private reference tokens, 2 random points a pair, both levels.
using DenseDino = Recipe<ViT<vit_small16>, ReferenceTokens<>, MultiCrop<>, RandomPoints<2>, ImageAndPointLoss,
                         ProjectionHead<HeadConfig{}>>;

/// DenseDINO whose reference tokens begin with what the image shows at their points: local from the first step, where
/// published ones must learn to find their patches. Measured against it: docs/results.md.
using LocalDenseDino = DenseDino::with_tokens<ContentReferences<>>;

/// DINO: class token and image level only.
using Dino = DenseDino::with_tokens<ClassToken>::with_loss<ImageLoss>;

/// The paper's ablation: point features sampled from the output patch tokens.
using FeatureMapDino = DenseDino::with_tokens<FeatureMap>;

}  // namespace dssl
