// The backends that programs know by name.
#pragma once

#include <string_view>

#include <common/cpu.hpp>
#include <common/precision.hpp>
#ifdef DSSL_WITH_CUDA
#include <dssl/backend/cuda.hpp>
#endif
#include <dssl/core/error.hpp>

namespace dssl::programs {

/// What `--backend` does, for the help texts.
inline constexpr const char* backend_help = "Where to compute: cpu, or cuda for the first GPU";

/// Throws `OptionError` where a backend is unknown, not in this program, or does not have the precision.
inline void check_backend(std::string_view name, std::string_view precision) {
  const Precision asked = precision_of(precision);
  if (name == "cpu") {
    if (asked == Precision::tf32) throw OptionError("precision", precision, "f32 or bf16 on the CPU");
    return;
  }
#ifdef DSSL_WITH_CUDA
  if (name == "cuda") return;
  throw OptionError("backend", name, "cpu or cuda");
#else
  if (name == "cuda") {
    throw OptionError("backend", name, "cpu: this program was built without CUDA (in CMake: DSSL_CUDA)");
  }
  throw OptionError("backend", name, "cpu, or cuda in a program that was built with CUDA");
#endif
}

/// visit(backend) with the backend that a command line names. Throws `OptionError`, and `CudaError` without a device.
template <class Visit>
decltype(auto) with_backend(std::string_view name, int threads, std::string_view precision, const Visit& visit) {
  check_backend(name, precision);
#ifdef DSSL_WITH_CUDA
  if (name == "cuda") return visit(Cuda(CudaOptions{.precision = precision_of(precision)}));
#endif
  return visit(Cpu(CpuOptions{.threads = threads, .precision = precision_of(precision)}));
}

}  // namespace dssl::programs
