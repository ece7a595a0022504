// The CPU backend of programs, with the products that were chosen in CMake (DSSL_PRODUCTS).
#pragma once

#include <dssl/backend/cpu.hpp>
#if defined(DSSL_PRODUCTS_ONEDNN)
#include <dssl/backend/onednn.hpp>
#elif defined(DSSL_PRODUCTS_CBLAS)
#include <dssl/backend/cblas.hpp>
#endif

namespace dssl::programs {

#if defined(DSSL_PRODUCTS_ONEDNN)
using Cpu = OneDnnCpu;
#elif defined(DSSL_PRODUCTS_CBLAS)
using Cpu = CblasCpu;
#else
using Cpu = dssl::Cpu;
#endif

/// Whether products in bf16 are sooner than in float on this backend.
[[nodiscard]] inline bool cpu_multiplies_bf16() {
#if defined(DSSL_PRODUCTS_CBLAS)
  return false;
#else
  return Cpu::multiplies_bf16();
#endif
}

}  // namespace dssl::programs
