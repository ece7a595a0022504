// Token schemes: which tokens a view has, who attends to whom, and where point features come from.
// Tests: tests/train/model_gradients.cpp.
#pragma once

#include <dssl/core/sequence.hpp>

namespace dssl {

/// Where the features of points come from.
enum class PointFeatures {
  none,              ///< there are none: class token only
  reference_tokens,  ///< the outputs of reference tokens placed at the points
  sampled_patches    ///< the output patch tokens, read bicubically at the points
};

/// Options of reference tokens that change which parameters or gradients exist.
struct ReferenceConfig {
  bool learned = false;   ///< one learned vector, shared by all, is added to the position
  bool detached = false;  ///< no gradient into the position table from the points it is read at

  [[nodiscard]] constexpr bool operator==(const ReferenceConfig&) const = default;
};

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

/// No reference tokens: point features are sampled from the output patch tokens, the paper's ablation.
struct FeatureMap {
  static constexpr AttentionRelation relation = private_relation;
  static constexpr PointFeatures point_features = PointFeatures::sampled_patches;
  static constexpr ReferenceConfig reference{};
};

}  // namespace dssl
