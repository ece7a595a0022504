// The products of the Cpu backend by dssl's own kernels.
#pragma once

#include <concepts>
#include <optional>
#include <string>

#include <dssl/backend/cpu/bf16_engine.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/matrix_product.hpp>
#include <dssl/backend/cpu/options.hpp>
#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/backend/cpu/workers.hpp>

namespace dssl::inline DSSL_CPU_KERNELS {

/// Matrix products by dssl's own kernels, which need no library: in the backend's numbers, in float by three
/// bf16 numbers for each where the processor multiplies these sooner, or in bf16.
///
/// Operands become bf16 numbers, one or three each, as they are packed. Products are cut into blocks by
/// shapes alone. Tests: tests/backend/cpu.cpp, tests/backend/bf16.cpp.
template <std::floating_point T>
class OwnProducts {
 public:
  explicit OwnProducts(const CpuOptions& options);

  /// c = or += a b [+ bias].
  void multiply(cpu::Workers& workers, const cpu::MatrixProduct<T>& p) const;

  /// How products are computed, where not in the backend's own numbers.
  [[nodiscard]] std::string describe() const;

 private:
  std::optional<cpu::Bf16Mode> x_mode;
  bool x_in_place_of_bf16 = false;
};

}  // namespace dssl::inline DSSL_CPU_KERNELS
