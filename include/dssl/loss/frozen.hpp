// A teacher that is given: a network of another shape whose weights never move.
// Tests: tests/train/imitation_term.cpp.
#pragma once

#include <type_traits>

namespace dssl {

/// A backbone of a shape of its own, on the two global views. Its weights are given once (`TrainingRun::teach_with`), are
/// never updated and are in no checkpoint, which knows their check sum.
///
/// `BackboneT`: a backbone whose sizes are its type's, as `ViT<vit_base16>`, or a family of them, `ViTFamily`: then sizes are
/// numbers of the run (`NetworkConfig::teacher`), and whatever they are, the same code is compiled.
template <class BackboneT>
struct Frozen {
  static constexpr bool sized = requires { BackboneT::config; };  ///< the type says the sizes
  static constexpr bool weights = false;  ///< that follow the student's
  static constexpr bool pass = false;     ///< of weights that follow it
  using Backbone = BackboneT;
};

/// Whether a term's teacher is a frozen one.
template <class Teacher>
inline constexpr bool is_frozen = false;
template <class Backbone>
inline constexpr bool is_frozen<Frozen<Backbone>> = true;

namespace detail {

/// What is left to a run of the sizes of a teacher: nothing.
struct NoSizes {
  [[nodiscard]] constexpr bool operator==(const NoSizes&) const = default;
};
/// Sizes that a run gives a frozen teacher, or nothing where its type has them, or there is none.
template <class Teacher>
struct SizesOfRun {
  using type = NoSizes;
};
template <class Backbone>
  requires(!Frozen<Backbone>::sized)
struct SizesOfRun<Frozen<Backbone>> {
  using type = typename Backbone::Config;
};

/// The first frozen teacher of a list, or void.
template <class... Teachers>
struct FirstFrozen {
  using type = void;
};
template <class Backbone, class... Rest>
struct FirstFrozen<Frozen<Backbone>, Rest...> {
  using type = Frozen<Backbone>;
};
template <class Teacher, class... Rest>
struct FirstFrozen<Teacher, Rest...> : FirstFrozen<Rest...> {};

}  // namespace detail

}  // namespace dssl
