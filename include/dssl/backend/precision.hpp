// What numbers a backend multiplies.
#pragma once

namespace dssl {

/// Numbers that products and attention work on.
enum class Precision {
  full,  ///< the backend's own
  tf32,  ///< Cuda: operands of float products rounded to 11 bits of precision by the tensor cores
  bf16,  ///< operands rounded to bf16 (8 bits of precision), sums, statistics, losses and weights in float
};

}  // namespace dssl
