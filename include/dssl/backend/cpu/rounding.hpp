// In what numbers the Cpu backend in float multiplies, by its options and the processor.
#pragma once

#include <optional>

#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/options.hpp>
#include <dssl/backend/precision.hpp>

namespace dssl::cpu::inline DSSL_ISA::bf16 {

/// Whether the processor, and the flags that this program was compiled with, have instructions that multiply bf16
/// numbers.
[[nodiscard]] inline bool multiplies() { return best_engine() != Engine::emulated; }

/// What multiplies bf16 operands under these options; nothing where products are in float: because that was asked
/// for, or because without instructions for bf16 they are sooner done, see `CpuOptions::emulate_bf16`.
/// Test: tests/backend/bf16.cpp.
[[nodiscard]] inline std::optional<Engine> rounding_of(const CpuOptions& options) {
  if (options.precision != Precision::bf16 || !(multiplies() || options.emulate_bf16)) return {};
  return best_engine();
}

/// As the end of a sentence that says in what numbers products are.
inline constexpr const char* not_multiplied =
    " in place of bf16, for which this processor (or the flags dssl was compiled with) has no instructions";

}  // namespace dssl::cpu::inline DSSL_ISA::bf16
