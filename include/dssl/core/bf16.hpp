// Numbers of 16 bits with the range of a float: its upper half.
// Tests: tests/core/communicator.cpp, tests/io/safetensors.cpp.
#pragma once

#include <bit>
#include <cstdint>

namespace dssl {

/// Value of a bfloat16 (the upper half of a float); exact.
[[nodiscard]] constexpr float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

/// A number of 8 bits of precision: to nearest, ties to even, off by at most 2^-8 of itself (below 1.2e-38 by 2^-134);
/// infinite beyond the largest, and of NaN a quiet one.
class Bf16 {
 public:
  Bf16() = default;
  constexpr explicit Bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    // Rounding could turn a NaN into an infinity.
    const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
    x_bits = static_cast<std::uint16_t>((is_nan ? bits | 0x00400000U : bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
  }
  [[nodiscard]] constexpr explicit operator float() const { return float_from_bfloat16(x_bits); }

 private:
  std::uint16_t x_bits = 0;
};

}  // namespace dssl
