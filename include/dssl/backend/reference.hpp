// The oracle: every primitive as plain loops over the standard library, in float or double.
#pragma once

#include <concepts>
#include <string>
#include <type_traits>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/reference/attention.hpp>
#include <dssl/backend/reference/block_parts.hpp>
#include <dssl/backend/reference/dense.hpp>
#include <dssl/backend/reference/mlp.hpp>
#include <dssl/backend/reference/optimiser.hpp>
#include <dssl/backend/reference/rows.hpp>
#include <dssl/backend/reference/terms.hpp>

namespace dssl {

/// The backend that every other one is checked against: one thread, no dependencies, sums in double.
///
/// `Reference<double>` is what gradients are checked in; `Reference<float>` rounds only what it stores.
/// Tests: fixtures (tests/backend, tests/backbone, tests/train) and central differences.
template <std::floating_point T = double>
class Reference : public reference::HostMemory,
                  public reference::Dense<T>,
                  public reference::Mlp<T>,
                  public reference::BlockParts<T>,
                  public reference::Attention<T>,
                  public reference::Rows<T>,
                  public reference::Loss<T>,
                  public reference::Terms<T>,
                  public reference::Optimiser<T> {
 public:
  using Scalar = T;

  [[nodiscard]] std::string describe() const {
    return std::is_same_v<T, double> ? "Reference (plain loops, float64)" : "Reference (plain loops, float32)";
  }
};

static_assert(Backend<Reference<float>> && Backend<Reference<double>>);

}  // namespace dssl
