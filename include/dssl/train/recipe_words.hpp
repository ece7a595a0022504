// A recipe in words, by which a checkpoint tells whether it is of the same one.
// Tests: tests/train/trainer.cpp.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/frozen.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/network.hpp>

namespace dssl {

namespace detail {

/// The name that a policy gives itself in a static member `name`, or "own".
template <class Policy>
[[nodiscard]] constexpr std::string_view policy_name() {
  if constexpr (requires { std::string_view(Policy::name); }) {
    return Policy::name;
  } else {
    return "own";
  }
}

/// Sizes of a frozen teacher that are the run's, in words; empty where they are a type's, as its term says.
template <class Loss, class Config>
[[nodiscard]] std::string words_of_teacher([[maybe_unused]] const Config& config) {
  if constexpr (std::is_same_v<typename Loss::FrozenSizes, NoSizes>) {
    return {};
  } else {
    return join("; frozen teacher: ", Loss::FrozenTeacher::Backbone::describe(config.teacher));
  }
}

/// What a recipe's types say of it.
struct RecipeParts {
  std::string backbone;
  PointFeatures features{};
  AttentionRelation relation{};
  ReferenceConfig reference{};
  PointContent content{};
  std::string_view sampler;
  Index points = 0;
  std::string_view views;
  std::string loss;
  HeadConfig head{};
  std::string teacher;
};
[[nodiscard]] DSSL_INLINE std::string words_of(const RecipeParts& parts);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE std::string words_of(const RecipeParts& parts) {
  std::string relation = join("code ", parts.relation.code);
  for (const auto& named : named_relations) {
    if (named.relation == parts.relation) relation = named.name;
  }
  const std::string_view features = parts.features == PointFeatures::none               ? "none"
                                    : parts.features == PointFeatures::reference_tokens ? "reference tokens"
                                                                                        : "sampled patches";
  const HeadConfig& h = parts.head;
  return join("backbone: ", parts.backbone, "; tokens: ", features, ", relation ", relation, ", learned ",
              parts.reference.learned, ", detached ", parts.reference.detached,
              parts.content == PointContent::none       ? ""
              : parts.content == PointContent::attached ? ", content attached"
                                                        : ", content detached",
              "; points: ", parts.sampler, " ", parts.points, "; views: ", parts.views, "; loss: ", parts.loss,
              "; head: layers ", h.layers, ", hidden ", h.hidden, ", bottleneck ", h.bottleneck, ", prototypes ",
              h.prototypes, ", learned norm ", h.learned_norm,
              // Said only where there is one: runs from before there could be are resumed as they were.
              h.batch_norm ? ", batch norm" : "", h.plain_prototypes ? ", plain prototypes" : "", parts.teacher);
}
#endif

}  // namespace detail

/// The recipe in words: what a checkpoint must agree with to be resumed. `sampler`: of its points, where the type does not say.
template <class Recipe>
[[nodiscard]] std::string describe_recipe(const NetworkConfigOf<Recipe>& config, Index points,
                                          std::string_view sampler = detail::policy_name<typename Recipe::Points>()) {
  using Tokens = typename Recipe::Tokens;
  return detail::words_of({.backbone = Recipe::Backbone::describe(config.backbone),
                           .features = Tokens::point_features,
                           .relation = Tokens::relation,
                           .reference = Tokens::reference,
                           .content = content_of<Tokens>,
                           .sampler = sampler,
                           .points = points,
                           .views = detail::policy_name<typename Recipe::Views>(),
                           .loss = std::string(Recipe::Loss::describe()),
                           .head = config.head,
                           .teacher = detail::words_of_teacher<typename Recipe::Loss>(config)});
}

}  // namespace dssl
