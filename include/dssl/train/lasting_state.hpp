// What of a training step lasts from step to step, tensor by tensor, and whether all of it is finite.
// Tests: tests/train/not_finite.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

namespace detail {

template <class T>
[[nodiscard]] bool all_finite(std::span<const T> values) {
  return std::all_of(values.begin(), values.end(), [](T value) { return std::isfinite(value); });
}

/// A 64-bit check sum of bytes, eight at a time (multiply and rotate; not for secrets).
[[nodiscard]] inline std::uint64_t check_sum(std::uint64_t sum, std::span<const std::byte> bytes) {
  const auto mix = [&sum](std::uint64_t word) {
    sum = (sum ^ word) * 0x9E3779B97F4A7C15ULL;
    sum ^= sum >> 29;
  };
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, 8);
    mix(word);
  }
  std::uint64_t tail = bytes.size();
  for (; i < bytes.size(); ++i) tail = (tail << 8) | static_cast<std::uint64_t>(bytes[i]);
  mix(tail);
  return sum;
}

/// The flat buffers of a step, each with what stands before its parameters' names in a checkpoint.
template <class Step>
[[nodiscard]] auto flat_states(const Step& step) {
  using Named = std::pair<std::string_view, VectorView<typename Step::T>>;
  return std::array<Named, 5>{{{"student.", step.student()},
                               {"teacher.", step.teacher().data() == step.student().data() ? VectorView<typename Step::T>{} : step.teacher()},
                               {"snapshot.", step.snapshot()},
                               {"optimiser.first.", step.optimiser_state().first()},
                               {"optimiser.second.", step.optimiser_state().second()}}};
}

/// Calls `f(name, view, shape)` for every lasting tensor of a step: flat buffers by parameter, then what the loss's terms
/// keep, as centres.
template <class Step, class F>
void for_each_state(const Step& step, F&& f) {
  using T = typename Step::T;
  for (const auto& [prefix, buffer] : flat_states(step)) {
    if (buffer.empty()) continue;
    for (const auto& spec : step.layout().specs()) {
      f(join(prefix, spec.name.view()), VectorView<T>(buffer.data() + spec.offset, spec.size), spec.shape());
    }
  }
  step.for_each_term_state([&](std::string_view name, VectorView<T> state, const std::vector<Index>& shape) {
    f(std::string(name), state, shape);
  });
}

}  // namespace detail

/// The first lasting tensor of a step that holds a value that is not finite, by its name in checkpoints; empty where
/// there is none.
///
/// Cost: a pass over weights and the optimiser's state in the backend's memory; only tensors whose sum of squares is
/// not finite are looked at on the host. Overwrites `optimiser_state().squared_norms()`: not between `measure` and an
/// update. Test: tests/train/not_finite.cpp.
template <class Step>
[[nodiscard]] std::string non_finite_tensor(const Step& step) {
  using T = typename Step::T;
  std::vector<T> host;
  const auto finite = [&](const T* values, Index size) {
    host.resize(static_cast<std::size_t>(size));
    step.backend().download(std::span<T>(host), values);
    return detail::all_finite(std::span<const T>(host));
  };
  std::vector<double> norms(step.layout().size());
  for (const auto& [prefix, buffer] : detail::flat_states(step)) {
    if (buffer.empty()) continue;
    step.optimiser_state().measure(step.backend(), buffer);
    step.backend().download(std::span<double>(norms), step.optimiser_state().squared_norms().data());
    for (std::size_t i = 0; i < norms.size(); ++i) {
      const auto& spec = step.layout().specs()[i];
      // Sums overflow before their terms do.
      if (std::isfinite(norms[i]) || finite(buffer.data() + spec.offset, spec.size)) continue;
      return join(prefix, spec.name.view());
    }
  }
  std::string unsound;
  step.for_each_term_state([&](std::string_view name, VectorView<T> state, const std::vector<Index>&) {
    if (unsound.empty() && !finite(state.data(), state.size())) unsound = name;
  });
  return unsound;
}

}  // namespace dssl
