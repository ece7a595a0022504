// Token schemes: which tokens a view has, who attends to whom, and where point features come from.
// Tests: tests/train/model_gradients.cpp, tests/backbone/vit_gradients.cpp.
#pragma once

#include <dssl/core/sequence.hpp>

namespace dssl {

/// Where the features of points come from.
enum class PointFeatures {
  none,              ///< there are none: class token only
  reference_tokens,  ///< the outputs of reference tokens placed at the points
  sampled_patches    ///< the output patch tokens, read bicubically at the points
};

/// Whether a reference token begins with what the image shows at its point: the patch embeddings of its view, without
/// positions, read there bicubically as `FeatureMap` reads output patches (`point_read`).
///
/// The published references are positions alone, and must find their patches by attention; at small budgets they do not
/// (docs/results.md). Since what is read is the view's own, references stay independent of each other, and the tokens that
/// do not see them stay what they are. Costs 16 rows of D read a reference, and no parameter.
enum class PointContent {
  none,      ///< as published
  attached,  ///< gradients flow into the patch embedding from there too
  detached   ///< they do not: the embedding is trained by the patches' way alone
};

/// Options of reference tokens that change which parameters or gradients exist.
struct ReferenceConfig {
  bool learned = false;   ///< one learned vector, shared by all, is added to the position
  bool detached = false;  ///< no gradient into the position table from the points it is read at
  PointContent content = PointContent::none;  ///< what the image shows at the point is added too

  [[nodiscard]] constexpr bool operator==(const ReferenceConfig&) const = default;
};

/// What references of a token scheme read of the image at their points; none where the scheme does not say.
template <class Tokens>
inline constexpr PointContent content_of = [] {
  if constexpr (requires { Tokens::reference.content; }) {
    return Tokens::reference.content;
  } else {
    return PointContent::none;
  }
}();

/// Class and patch tokens only, as in DINO.
struct ClassToken {
  static constexpr AttentionRelation relation = private_relation;
  static constexpr PointFeatures point_features = PointFeatures::none;
  static constexpr ReferenceConfig reference{};
};

/// Reference tokens under a relation: the published method.
template <AttentionRelation R = private_relation, ReferenceConfig C = ReferenceConfig{}>
struct ReferenceTokens {
  static constexpr AttentionRelation relation = R;
  static constexpr PointFeatures point_features = PointFeatures::reference_tokens;
  static constexpr ReferenceConfig reference = C;
};

/// The published relation, and references that begin with what the image shows at their points.
template <PointContent Content = PointContent::attached>
using ContentReferences = ReferenceTokens<private_relation, ReferenceConfig{.content = Content}>;

/// No reference tokens: point features are sampled from the output patch tokens, the paper's ablation.
struct FeatureMap {
  static constexpr AttentionRelation relation = private_relation;
  static constexpr PointFeatures point_features = PointFeatures::sampled_patches;
  static constexpr ReferenceConfig reference{};
};

}  // namespace dssl
