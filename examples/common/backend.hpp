// The backends that programs know by name.
#pragma once

#include <concepts>
#include <cstdio>
#include <string>
#include <string_view>

#include <common/cpu.hpp>
#include <common/precision.hpp>
#ifdef DSSL_WITH_CUDA
#include <dssl/backend/cuda.hpp>
#endif
#include <dssl/core/error.hpp>

namespace dssl::programs {

/// What `--backend` does, for the help texts.
inline constexpr const char* backend_help = "Where to compute: cpu, or cuda for the first GPU, or where ranks share the work one each";

/// GPUs that `--backend cuda` may take.
[[nodiscard]] inline int gpus() {
#ifdef DSSL_WITH_CUDA
  return Cuda::devices();
#else
  return 0;
#endif
}

/// The precision that "auto" stands for on a backend; any other name stands for itself.
[[nodiscard]] inline std::string precision_on(std::string_view backend, std::string_view precision) {
  if (precision != "auto") return std::string(precision);
  return backend == "cuda" || cpu_multiplies_bf16() ? "bf16" : "f32";
}

/// Throws `OptionError` where a backend is unknown, not in this program, or does not have the precision.
inline void check_backend(std::string_view name, std::string_view precision) {
  const Precision asked = precision_of(precision_on(name, precision));
  if (name == "cpu") {
    if (asked == Precision::tf32) throw OptionError("precision", precision, "f32, bf16 or auto on the CPU");
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

/// Says once, on stderr, that the processor has no instructions for a precision that was asked for.
inline void warn_of_float_products() {
  [[maybe_unused]] static const bool said = [] {
    std::fflush(stdout);
    std::fprintf(stderr, "warning: --precision bf16: this processor (or the flags this program was compiled with) has "
                         "no instructions for bf16; products and attention are in f32\n");
    return true;
  }();
}

/// Settings that name a backend.
template <class S>
concept NamesBackend = requires(const S& settings) {
  { settings.backend } -> std::convertible_to<std::string_view>;
  { settings.threads } -> std::convertible_to<int>;
  { settings.precision } -> std::convertible_to<std::string_view>;
};

/// visit(backend) with the backend that settings name. Throws `OptionError`, and `CudaError` without a device.
template <NamesBackend Settings, class Visit>
decltype(auto) with_backend(const Settings& settings, const Visit& visit) {
  const std::string_view name = settings.backend;
  const std::string_view precision = settings.precision;
  check_backend(name, precision);
#ifdef DSSL_WITH_CUDA
  if (name == "cuda") {
    int device = 0;
    if constexpr (requires { settings.device; }) device = settings.device;
    return visit(Cuda(CudaOptions{.device = device, .precision = precision_of(precision_on(name, precision))}));
  }
#endif
  const Cpu backend(CpuOptions{.threads = settings.threads, .precision = precision_of(precision_on(name, precision))});
  if (precision == "bf16" && backend.precision() != Precision::bf16) warn_of_float_products();
  return visit(backend);
}

}  // namespace dssl::programs
