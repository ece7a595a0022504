// The loss of a term in a step: numbers that a pass adds to on the backend, and their sum in its report.
// Tests: tests/train/two_view_terms.cpp, not_finite.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/term.hpp>

namespace dssl {

/// `Count` numbers whose sum is a term's loss. Lasting, as the report reads them when the pass is over.
template <class T, std::size_t Count = 1>
class TermLoss {
 public:
  void place(Arena& arena) { x_value = arena.vector<T>(static_cast<Index>(Count)); }
  template <Backend B>
  void clear(const B& backend) const {
    backend.fill(x_value, T{0});
  }
  /// What losses add to.
  [[nodiscard]] VectorView<T> value() const { return x_value; }

  /// Adds this pass's share to a report. Waits for the backend. Throws `NonFiniteError`.
  template <Backend B>
  void add_to(const B& backend, TermReport& report, double share) const {
    std::array<T, Count> host{};
    backend.download(std::span<T>(host), static_cast<const T*>(x_value.data()));
    for (const T value : host) report.loss += share * static_cast<double>(value);
    require_finite_loss(report);
  }

 private:
  VectorView<T> x_value;
};

}  // namespace dssl
