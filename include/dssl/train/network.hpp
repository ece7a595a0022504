// A recipe's network: the layout of all its parameters, bound to a flat buffer.
// Tests: tests/train/model_gradients.cpp.
#pragma once

#include <tuple>
#include <type_traits>

#include <dssl/loss/frozen.hpp>
#include <dssl/loss/objective.hpp>
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

/// Learned vectors that a network of a kind has: a scheme's reference token, and the mask token where a term of the loss
/// reads masked patches.
template <class Kind>
inline constexpr LearnedTokens learned_tokens{.reference = Kind::Tokens::reference.learned, .mask = Kind::Loss::reads.masked};

/// Sizes of a network. `TeacherConfig`: of a frozen teacher whose type does not say them, `Frozen<ViTFamily>`.
template <class BackboneConfig, class TeacherConfig = detail::NoSizes>
struct NetworkConfig {
  BackboneConfig backbone{};
  HeadConfig head{};
  TeacherConfig teacher{};

  /// The same with other channels of images and other prototypes; 0: as they are.
  [[nodiscard]] constexpr NetworkConfig with(Index channels, Index prototypes) const {
    NetworkConfig out = *this;
    if (channels > 0) out.backbone.channels = channels;
    if (prototypes > 0) out.head.prototypes = prototypes;
    return out;
  }
};

/// Those of a recipe's network, or of its kind's.
template <class RecipeOrKind>
using NetworkConfigOf =
    NetworkConfig<typename RecipeOrKind::Backbone::Config, typename RecipeOrKind::Loss::FrozenSizes>;

/// Sizes of a recipe's network, after the run-time options had their say. `channels` and `prototypes`: 0 for the
/// recipe's own.
template <class Recipe>
[[nodiscard]] constexpr NetworkConfigOf<Recipe> network_config(Index channels = 0, Index prototypes = 0) {
  static_assert(std::is_same_v<typename Recipe::Loss::FrozenSizes, detail::NoSizes>,
                "Frozen<Family>: the teacher's sizes are the run's; say all sizes: "
                "Trainer(options, backend, points, NetworkConfigOf<Recipe>{backbone, head, teacher})");
  return NetworkConfigOf<Recipe>{Recipe::Backbone::config, Recipe::Head::config}.with(channels, prototypes);
}

/// Sizes of the frozen teacher of a loss: its type's, or the run's.
template <class Loss, class Config>
  requires(Loss::has_frozen)
[[nodiscard]] constexpr typename Loss::FrozenTeacher::Backbone::Config frozen_sizes([[maybe_unused]] const Config& config) {
  if constexpr (Loss::FrozenTeacher::sized) {
    return Loss::FrozenTeacher::Backbone::config;
  } else {
    return config.teacher;
  }
}

namespace detail {

template <class List, class T>
struct ParametersOfTerms;
template <class... Terms, class T>
struct ParametersOfTerms<TypeList<Terms...>, T> {
  using type = std::tuple<TermParameters<Terms, T>...>;

  /// Heads first, then what is the student's alone, each in the order of the terms.
  static type bind(ParameterCursor<T>& next, const HeadConfig& head) {
    type out;
    const auto bind_head = [&]<class Term>(TermParameters<Term, T>& p) {
      if constexpr (requires { Term::template bind<T>(next, head); }) p.head = Term::template bind<T>(next, head);
    };
    const auto bind_predictor = [&]<class Term>(TermParameters<Term, T>& p) {
      if constexpr (requires { Term::template bind_student<T>(next, head); }) {
        p.predictor = Term::template bind_student<T>(next, head);
      }
    };
    const auto share_head = [&]<class Term>(TermParameters<Term, T>& p) {
      if constexpr (SharesHead<Term>) p.head = std::get<TermParameters<typename Term::HeadOf, T>>(out).head;
    };
    (bind_head(std::get<TermParameters<Terms, T>>(out)), ...);
    (share_head(std::get<TermParameters<Terms, T>>(out)), ...);
    (bind_predictor(std::get<TermParameters<Terms, T>>(out)), ...);
    return out;
  }

  /// `teacher_width`: E of a frozen teacher, which adapters lead to.
  static constexpr void add(ParameterLayout& layout, const HeadConfig& head, Index width, Index teacher_width) {
    const auto add_head = [&]<class Term>(std::type_identity<Term>) {
      if constexpr (requires { Term::add_parameters(layout, head, width); }) Term::add_parameters(layout, head, width);
    };
    const auto add_predictor = [&]<class Term>(std::type_identity<Term>) {
      if constexpr (requires { Term::add_student_parameters(layout, head, width, teacher_width); }) {
        Term::add_student_parameters(layout, head, width, teacher_width);
      } else if constexpr (requires { Term::add_student_parameters(layout, head, width); }) {
        Term::add_student_parameters(layout, head, width);
      }
    };
    (add_head(std::type_identity<Terms>{}), ...);
    (add_predictor(std::type_identity<Terms>{}), ...);
  }
};

}  // namespace detail

/// The layout of a network's parameters: backbone, then the heads of the loss's terms in their order (`head`, `ref_head`
/// of the published levels), then what of them only the student reads, as predictors (the teacher's copy follows like all else and is not read). Can be computed at compile time.
template <class Kind>
[[nodiscard]] constexpr ParameterLayout network_layout(const NetworkConfigOf<Kind>& config) {
  ParameterLayout layout;
  Index teacher_width = 0;
  if constexpr (Kind::Loss::has_frozen) teacher_width = frozen_sizes<typename Kind::Loss>(config).width;
  Kind::Backbone::add_parameters(layout, config.backbone, learned_tokens<Kind>, "backbone.");
  detail::ParametersOfTerms<typename Kind::Loss::Terms, float>::add(layout, config.head, config.backbone.width,
                                                                    teacher_width);
  return layout;
}

/// Views of a network's parameters (or gradients) in a flat buffer.
template <class Kind, class T>
struct NetworkParameters {
  using Terms = detail::ParametersOfTerms<typename Kind::Loss::Terms, T>;

  typename Kind::Backbone::template Parameters<T> backbone;
  typename Terms::type terms;

  /// Those of a term.
  template <class Term>
  [[nodiscard]] const TermParameters<Term, T>& of() const {
    return std::get<TermParameters<Term, T>>(terms);
  }

  static NetworkParameters bind(const ParameterLayout& layout, T* base, const NetworkConfigOf<Kind>& config) {
    ParameterCursor<T> next(layout, base);
    NetworkParameters p;
    p.backbone = Kind::Backbone::template Parameters<T>::bind(next, config.backbone, learned_tokens<Kind>);
    p.terms = Terms::bind(next, config.head);
    return p;
  }
};

}  // namespace dssl
