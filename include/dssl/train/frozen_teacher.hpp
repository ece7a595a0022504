// A teacher whose weights are given and never move: its weights and its pass.
// Tests: tests/train/imitation_term.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/hash.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/frozen.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/term_runs.hpp>
#include <dssl/train/view_batch.hpp>
#include <dssl/train/view_pass.hpp>

namespace dssl {

namespace detail {

/// What a frozen teacher's pass has to know of a loss: that points and masks are none of its.
struct FrozenLoss {
  static constexpr FeatureKinds reads{};
  static constexpr bool reads_local_points = false;
};

}  // namespace detail

/// Of a loss none of whose terms has a `Frozen` teacher.
class NoFrozenTeacher {};

/// The weights of a loss's frozen teacher, and their pass over the two global views, whose features terms copy before
/// anything else of the step runs.
template <class Loss, Backend B>
class FrozenTeacher {
 public:
  using T = typename B::Scalar;
  using Backbone = typename Loss::FrozenTeacher::Backbone;
  using Family = typename detail::FamilyOf<Backbone>::type;

  static_assert(PlacesInputs<Family, B> && GoesForward<Family, B>,
                "Frozen: the backbone has no place() or no forward() for this backend, see PlacesInputs and GoesForward in "
                "dssl/concepts.hpp");

  using Sizes = typename Family::Config;

  FrozenTeacher() = default;
  /// `patch`: pixels a side of the student's. Throws `OptionError` where the teacher cannot see the views.
  FrozenTeacher(const BatchShape& shape, const Sizes& sizes, Index patch) : x_sizes(sizes) {
    const ViewSize& view = shape.views.at(0);
    if (shape.channels != sizes.channels) {
      throw OptionError("channels", shape.channels, join(sizes.channels, ", those of the frozen teacher"));
    }
    if (view.height % sizes.patch != 0 || view.width % sizes.patch != 0) {
      throw OptionError("views.global_size", join(view.height, " x ", view.width),
                        join("multiples of ", std::lcm(sizes.patch, patch), ", of the student's patch of ", patch,
                             " and the frozen teacher's of ", sizes.patch));
    }
    x_grid = {view.height / sizes.patch, view.width / sizes.patch};
    Family::add_parameters(x_layout, sizes, LearnedTokens{}, "");
    x_pass = x_Pass(shape, 0, 2, 0, sizes.patch, Loss::frozen_reads, registers_of(sizes));
  }

  void place_lasting(const B& backend, Arena& arena, std::span<const TensorView<T, 4>> views) {
    x_weights = arena.vector<T>(x_layout.total());
    ParameterCursor<const T> next(x_layout, x_weights.data());
    x_parameters = Family::template Parameters<const T>::bind(next, x_sizes, LearnedTokens{});
    x_pass.place_lasting(backend, arena, x_sizes, views);
  }
  void place_passing(Arena& arena) { x_pass.place_passing(arena, x_sizes, false); }

  [[nodiscard]] const Sizes& sizes() const { return x_sizes; }
  /// Patches that it has of a global view.
  [[nodiscard]] GridSize grid() const { return x_grid; }
  /// Of the backbone alone, under its published names.
  [[nodiscard]] const ParameterLayout& layout() const { return x_layout; }
  [[nodiscard]] VectorView<const T> weights() const { return x_weights; }
  /// Of the weights that were given; 0 before.
  [[nodiscard]] std::uint64_t check_sum() const { return x_check_sum; }

  /// The file that they came from; empty where it is not known.
  [[nodiscard]] const std::string& from() const { return x_from; }

  /// Takes the weights of a file `from` that `write(flat)` puts into (layout.total()) zeros, laid out by `layout`: in a backend
  /// whose memory is the host's those that the teacher runs with, so that there is no second copy. Throws what `write` throws, and
  /// `NonFiniteError` naming the tensor; there are no weights then. Test: tests/train/imitation_term.cpp.
  template <std::invocable<std::span<T>> Write>
  void take(const B& backend, std::string from, Write&& write) {
    x_given = false;
    if constexpr (ComputesInHostMemory<B>) {
      std::ranges::fill(x_weights.flat(), T{0});
      write(x_weights.flat());
      x_accept(x_weights.flat());
    } else {
      std::vector<T> flat(static_cast<std::size_t>(x_layout.total()), T{0});
      write(std::span<T>(flat));
      x_accept(flat);
      backend.upload(x_weights.data(), std::span<const T>(flat));
    }
    x_from = std::move(from);
    x_given = true;
  }
  /// The same of weights in memory. Throws `ShapeError` too.
  void give(const B& backend, std::span<const T> flat, std::string from = {}) {
    require_shape(static_cast<Index>(flat.size()) == x_layout.total(), "weights of a frozen teacher: ", flat.size(),
                  " numbers; expected ", x_layout.total());
    take(backend, std::move(from), [&](std::span<T> own) { std::ranges::copy(flat, own.begin()); });
  }
  /// Throws `Error` where no weights were given.
  void require_given() const {
    if (!x_given) {
      throw Error("the loss has a frozen teacher, whose weights were not given; expected teach_with(file) before the first step");
    }
  }
  /// Lets a step rehearse before there are weights.
  void rehearse(bool now) { x_given = now; }

  /// Runs the teacher, and gives its features to the terms that have it. Throws `Error` where no weights were given.
  template <class Networks>
  void run(const B& backend, TermRuns<Loss, B>& terms, const Networks& networks, const PassNumbers& numbers) const {
    require_given();
    Family::template forward<ClassToken::relation>(backend, x_pass.activations(), x_pass.inputs(), x_parameters,
                                                   x_sizes, x_pass.tokens(), x_pass.device(), {});
    terms.each([&]<class Term>(std::type_identity<Term>, auto& run, std::size_t) {
      if constexpr (is_frozen<typename Term::Teacher>) {
        run.teacher(backend, TeacherPass<Term, T>{x_pass.features(Term::reads.teacher),
                                                  networks.teacher.template of<Term>(), numbers});
      }
    });
  }

 private:
  void x_accept(std::span<const T> flat) {
    for (const auto& spec : x_layout.specs()) {
      if (!detail::all_finite(flat.subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)))) {
        throw NonFiniteError(join("the frozen teacher's ", spec.name.view(), " is not finite; expected trained weights"));
      }
    }
    x_check_sum = detail::check_sum(0, std::as_bytes(flat));
  }

  using x_Pass = ViewPass<NetworkKind<Family, ClassToken, detail::FrozenLoss>, B>;

  Sizes x_sizes{};
  GridSize x_grid;
  ParameterLayout x_layout;
  x_Pass x_pass;
  VectorView<T> x_weights;
  typename Family::template Parameters<const T> x_parameters;
  std::uint64_t x_check_sum = 0;
  std::string x_from;
  bool x_given = false;
};

namespace detail {

template <class Loss, class B>
struct FrozenTeacherOf {
  using type = NoFrozenTeacher;
};
template <class Loss, class B>
  requires(Loss::has_frozen)
struct FrozenTeacherOf<Loss, B> {
  using type = FrozenTeacher<Loss, B>;
};

}  // namespace detail

}  // namespace dssl
