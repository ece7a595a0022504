// Which vector instructions the Cpu backend uses.
#pragma once

#include <string>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// Names of the vector instructions that loops were compiled for, the widest first: "FMA, AVX2, AVX, SSE4.2, ...".
/// (Eigen's own list leaves out AVX2 and FMA where there is no AVX-512.)
[[nodiscard]] inline std::string instruction_sets() {
#if defined(EIGEN_VECTORIZE_AVX)
  std::string names = "AVX, SSE, SSE2, SSE3, SSSE3, SSE4.1, SSE4.2";
#if defined(EIGEN_VECTORIZE_AVX2)
  names = "AVX2, " + names;
#endif
#if defined(EIGEN_VECTORIZE_FMA)
  names = "FMA, " + names;
#endif
#if defined(EIGEN_VECTORIZE_AVX512)
  names = "AVX512, " + names;
#endif
  return names;
#else
  return Eigen::SimdInstructionSetsInUse();
#endif
}

}  // namespace dssl::cpu::inline DSSL_ISA
