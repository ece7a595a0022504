// What computes with bf16 operands on the Cpu backend.
#pragma once

namespace dssl::cpu {

/// How the products are computed.
enum class Bf16Engine {
  tile_unit,    ///< AMX: 16 x 16 x 32 an instruction
  dot_product,  ///< AVX-512: 16 pairs an instruction
  emulated,     ///< rounded to bf16, multiplied in float
};

/// How products of float operands are computed, where not in float.
struct Bf16Mode {
  Bf16Engine engine = Bf16Engine::emulated;
  int parts = 1;  ///< of an operand: 1 or 3
};

}  // namespace dssl::cpu
