// What of a training step lasts from step to step, tensor by tensor, and whether all of it is finite.
// Tests: tests/train/not_finite.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/rank_part.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/optim/optimiser.hpp>

namespace dssl {

namespace detail {

template <class T>
[[nodiscard]] bool all_finite(std::span<const T> values) {
  return std::all_of(values.begin(), values.end(), [](T value) { return std::isfinite(value); });
}

/// The flat buffers of a step, each with what stands before its parameters' names in a checkpoint.
template <class T>
using FlatStates = std::array<std::pair<std::string_view, VectorView<T>>, 5>;
/// First and second moments of an optimiser.
template <class T>
using Moments = std::array<VectorView<T>, 2>;
/// Those of all weights in the backend's memory; none where this rank has but a part of them.
template <class Step>
[[nodiscard]] Moments<typename Step::T> whole_moments(const Step& step) {
  if (step.sharded()) return {};
  return {step.optimiser_states().front().first(), step.optimiser_states().front().second()};
}
template <class Step>
[[nodiscard]] FlatStates<typename Step::T> flat_states(const Step& step, const Moments<typename Step::T>& moments) {
  using View = VectorView<typename Step::T>;
  return {{{"student.", step.student()},
           {"teacher.", step.teacher().data() == step.student().data() ? View{} : step.teacher()},
           {"snapshot.", step.snapshot()},
           {"optimiser.first.", moments[0]},
           {"optimiser.second.", moments[1]}}};
}

/// Looks at a lasting tensor: its name in checkpoints, its numbers in the backend's memory, its shape.
template <class T>
using StateVisitor = std::function<void(std::string_view name, VectorView<T> values, const std::vector<Index>& shape)>;

template <class T>
void visit(const FlatStates<T>& states, const ParameterLayout& layout, const StateVisitor<T>& f) {
  for (const auto& [prefix, buffer] : states) {
    if (buffer.empty()) continue;
    for (const ParameterSpec& spec : layout.specs()) {
      f(join(prefix, spec.name.view()), VectorView<T>(buffer.data() + spec.offset, spec.size), spec.shape());
    }
  }
}

/// Calls `f(name, view, shape)` for every lasting tensor of a step: flat buffers by parameter, then what the loss's terms
/// keep, as centres.
template <class Step>
void for_each_state(const Step& step, const Moments<typename Step::T>& moments, const StateVisitor<typename Step::T>& f) {
  detail::visit(flat_states(step, moments), step.layout(), f);  // std has a function of that name
  step.for_each_term_state(f);
}
template <class Step>
void for_each_state(const Step& step, const StateVisitor<typename Step::T>& f) {
  for_each_state(step, whole_moments(step), f);
}

/// Whether numbers of the backend's memory are finite, which are looked at on the host.
template <class T, class B>
[[nodiscard]] bool finite_there(const B& backend, const T* values, Index size) {
  std::vector<T> host(static_cast<std::size_t>(size));
  backend.download(std::span<T>(host), values);
  return all_finite(std::span<const T>(host));
}

/// The first parameter that holds a value that is not finite in one of the flat buffers, which are of the optimiser's part, by
/// its name in checkpoints.
template <class T, class B, class Optimiser>
[[nodiscard]] std::string non_finite_parameter(const B& backend, const Optimiser& optimiser, const ParameterLayout& layout,
                                               const FlatStates<T>& states) {
  std::vector<double> norms(layout.size());
  for (const auto& [prefix, buffer] : states) {
    if (buffer.empty()) continue;
    optimiser.measure(backend, buffer);
    backend.download(std::span<double>(norms), optimiser.squared_norms().data());
    for (std::size_t i = 0; i < norms.size(); ++i) {
      const ParameterSpec& spec = layout.specs()[i];
      const auto [begin, size] = optimiser.part().overlap(spec.offset, spec.size);
      // Sums overflow before their terms do.
      if (std::isfinite(norms[i]) || finite_there<T>(backend, buffer.data() + begin, size)) continue;
      return join(prefix, spec.name.view());
    }
  }
  return {};
}

}  // namespace detail

/// The first lasting tensor of a step that holds a value that is not finite, by its name in checkpoints; empty where
/// there is none. Of a sharded step a rank looks at its parts of what is laid out as the weights, one after the other.
///
/// Cost: a pass over weights and the optimiser's state in the backend's memory; only tensors whose sum of squares is
/// not finite are looked at on the host. Overwrites `OptimiserState::squared_norms()`: not between `measure` and an
/// update. Test: tests/train/not_finite.cpp.
template <class Step>
[[nodiscard]] std::string non_finite_tensor(const Step& step) {
  using T = typename Step::T;
  std::string unsound;
  for (const OptimiserState<T>& optimiser : step.optimiser_states()) {
    detail::FlatStates<T> states = detail::flat_states(step, {optimiser.first(), optimiser.second()});
    for (std::size_t i = 0; i < 3; ++i) states[i].second = optimiser.part_of(states[i].second);
    unsound = detail::non_finite_parameter<T>(step.backend(), optimiser, step.layout(), states);
    if (!unsound.empty()) return unsound;
  }
  step.for_each_term_state([&](std::string_view name, VectorView<T> state, const std::vector<Index>&) {
    if (unsound.empty() && !detail::finite_there<T>(step.backend(), state.data(), state.size())) unsound = name;
  });
  return unsound;
}

/// A lasting tensor, in the backend's memory.
struct LastingTensor {
  std::string name;  ///< in checkpoints
  std::vector<Index> shape;
  void* data = nullptr;
  Index size = 0;
};

/// Which weights a frozen teacher was given.
struct FrozenWeights {
  std::uint64_t check_sum = 0;
  std::string from;  ///< the file; empty where it is not known
};

/// What lasts of a step of any kind on any backend: what checkpoints hold, and ranks agree on.
class LastingState {
 public:
  LastingState() = default;
  LastingState(const LastingState&) = delete;
  LastingState& operator=(const LastingState&) = delete;
  virtual ~LastingState() = default;

  /// Of all numbers: f32 or f64.
  [[nodiscard]] virtual ElementType element() const = 0;
  /// In the order of checkpoints.
  [[nodiscard]] virtual std::vector<LastingTensor> tensors() const = 0;
  /// Numbers of the backend's memory from and to the host's.
  virtual void download(std::span<std::byte> to, const LastingTensor& tensor) const = 0;
  virtual void upload(const LastingTensor& tensor, std::span<const std::byte> from) const = 0;
  /// As `dssl::non_finite_tensor`.
  [[nodiscard]] virtual std::string non_finite_tensor() const = 0;
  /// Of a step that has a frozen teacher.
  [[nodiscard]] virtual std::optional<FrozenWeights> frozen() const = 0;
  /// Throws `Error` where a frozen teacher was given no weights.
  virtual void require_taught() const = 0;

  // Where ranks have a part of the optimiser's state each, `tensors` are without it but from `gather` or `make_room` to
  // `release` or `take_parts`, while it lies whole on the host. Elsewhere these do nothing.
  /// On all ranks, for a checkpoint: the first rank has all of it.
  virtual void gather() const {}
  virtual void release() const {}
  /// For a checkpoint that is put back: room for all of it, of which `take_parts` keeps this rank's.
  virtual void make_room() const {}
  virtual void take_parts() const {}

  [[nodiscard]] std::size_t bytes(const LastingTensor& tensor) const {
    return static_cast<std::size_t>(tensor.size) * element_bytes(element());
  }
  /// Whether so many numbers on the host are finite.
  [[nodiscard]] bool finite(std::span<const std::byte> numbers) const {
    const auto all = [&]<class T>(T /*type*/) {
      return detail::all_finite(std::span(reinterpret_cast<const T*>(numbers.data()), numbers.size() / sizeof(T)));
    };
    return element() == ElementType::f32 ? all(float{}) : all(double{});
  }
};

/// That of a step, which outlives it.
template <class Step>
class LastingStateOf final : public LastingState {
 public:
  using T = typename Step::T;

  explicit LastingStateOf(const Step& step) : x_step(step) {}

  [[nodiscard]] ElementType element() const override { return *element_type_of<T>(); }
  [[nodiscard]] std::vector<LastingTensor> tensors() const override {
    std::vector<LastingTensor> out;
    const auto add = [&](std::string_view name, VectorView<T> values, const std::vector<Index>& shape) {
      out.push_back({std::string(name), shape, values.data(), values.size()});
    };
    detail::Moments<T> moments = detail::whole_moments(x_step);
    if (x_step.sharded()) {
      for (std::size_t i = 0; i < 2; ++i) moments[i] = VectorView<T>(x_whole[i].data(), static_cast<Index>(x_whole[i].size()));
    }
    detail::for_each_state(x_step, moments, add);
    return out;
  }
  void download(std::span<std::byte> to, const LastingTensor& tensor) const override {
    x_step.backend().download(std::span(reinterpret_cast<T*>(to.data()), to.size() / sizeof(T)),
                              static_cast<const T*>(tensor.data));
  }
  void upload(const LastingTensor& tensor, std::span<const std::byte> from) const override {
    x_step.backend().upload(static_cast<T*>(tensor.data),
                            std::span(reinterpret_cast<const T*>(from.data()), from.size() / sizeof(T)));
  }
  [[nodiscard]] std::string non_finite_tensor() const override { return dssl::non_finite_tensor(x_step); }
  [[nodiscard]] std::optional<FrozenWeights> frozen() const override {
    if constexpr (has_frozen) return FrozenWeights{x_step.frozen().check_sum(), x_step.frozen().from()};
    return std::nullopt;
  }
  void require_taught() const override {
    if constexpr (has_frozen) x_step.frozen().require_given();
  }

  void gather() const override {
    const Communicator& ranks = x_step.options().ranks;
    if (ranks.first()) make_room();
    x_each_part([&](const SharedRange& range, VectorView<T> part, std::vector<T>& whole) {
      const auto read = [&](Index first, std::span<T> to) {
        x_step.backend().download(to, static_cast<const T*>(part.data() + (first - range.part.first)));
      };
      const auto write = [&](Index first, std::span<const T> from) {
        if (ranks.first()) std::ranges::copy(from, whole.begin() + range.begin + first);
      };
      ranks.template gather_parts<T>(range.part, range.count, read, write);
    });
  }
  void release() const override { x_whole = {}; }
  void make_room() const override {
    x_each_part([&](const SharedRange& /*range*/, VectorView<T> /*part*/, std::vector<T>& whole) {
      whole.resize(static_cast<std::size_t>(x_step.layout().total()));
    });
  }
  void take_parts() const override {
    x_each_part([&](const SharedRange& range, VectorView<T> part, std::vector<T>& whole) {
      const auto first = static_cast<std::size_t>(range.own().first);
      x_step.backend().upload(part.data(), std::span<const T>(whole).subspan(first, static_cast<std::size_t>(part.size())));
    });
    release();
  }

 private:
  static constexpr bool has_frozen = Step::Loss::has_frozen;

  /// f(range, this rank's part of it, all weights') of each moment that the optimiser has.
  template <class F>
  void x_each_part(const F& f) const {
    if (!x_step.sharded()) return;
    for (std::size_t i = 0; i < x_step.optimiser_states().size(); ++i) {
      const SharedRange& range = x_step.exchange().ranges()[i];
      const OptimiserState<T>& state = x_step.optimiser_states()[i];
      f(range, state.first(), x_whole[0]);
      if (x_step.options().optimiser.kind == OptimiserKind::adamw) f(range, state.second(), x_whole[1]);
    }
  }

  const Step& x_step;
  mutable std::array<std::vector<T>, 2> x_whole;  // moments on the host, while they are asked for
};

}  // namespace dssl
