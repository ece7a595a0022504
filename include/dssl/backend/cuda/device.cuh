// Cuda backend: one device as a backend holds it, and what is said where there is none.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/cuda/pointwise.cuh>
#include <dssl/backend/cuda/product.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/core/error.hpp>

namespace dssl::cuda {

/// A stream, its products, and the device's name.
class Device {
 public:
  Device(const CudaOptions& options, std::string text)
      : stream(options.device),
        products(stream, options.precision),
        description(std::move(text)),
        graphs(options.graphs) {}

  Stream stream;
  Products products;
  std::string description;  ///< device, compute capability, versions
  bool graphs;              ///< whether work that repeats is recorded
};

/// One primitive's call: its name in messages, and its device current meanwhile.
class Call {
 public:
  Call(const Device& device, const char* operation, std::initializer_list<Index> sizes)
      : x_here(device.stream.device()) {
    device.stream.begin(operation, sizes);
  }

 private:
  OnDevice x_here;
};

/// 12040 as "12.4".
[[nodiscard]] inline std::string version_text(int version) {
  return join(version / 1000, ".", version % 1000 / 10);
}

/// The number of devices. Throws `CudaError` that says why there is none.
[[nodiscard]] inline int count_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  static_cast<void>(cudaGetLastError());
  int driver = 0;
  int runtime = 0;
  static_cast<void>(cudaDriverGetVersion(&driver));
  static_cast<void>(cudaRuntimeGetVersion(&runtime));
  if (driver == 0) throw CudaError("cudaGetDeviceCount", "no CUDA device: no CUDA driver is installed");
  if (status == cudaErrorInsufficientDriver) {
    throw CudaError("cudaGetDeviceCount",
                    join("the CUDA driver is too old: it supports CUDA ", version_text(driver),
                         ", and this program uses CUDA ", version_text(runtime), "; install a newer driver"));
  }
  if (status == cudaSuccess || status == cudaErrorNoDevice) {
    throw CudaError("cudaGetDeviceCount",
                    "no CUDA device: the driver finds none (is CUDA_VISIBLE_DEVICES set?)");
  }
  check(status, "cudaGetDeviceCount", "looking for devices");
  return count;
}

/// Makes what a backend of T runs on. Throws `OptionError` and `CudaError`.
template <class T>
[[nodiscard]] std::shared_ptr<const Device> make_device(const CudaOptions& options) {
  if (options.precision != Precision::full && !std::is_same_v<T, float>) {
    throw OptionError("precision", options.precision == Precision::bf16 ? "bf16" : "tf32",
                      "full on a backend in double");
  }
  const int count = count_devices();
  if (options.device < 0 || options.device >= count) {
    throw OptionError("device", options.device,
                      join("0 to ", count - 1, ", the CUDA devices of this machine"));
  }
  const OnDevice here(options.device);
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, options.device), "cudaGetDeviceProperties", "asking device ",
        options.device, " what it is");
  const std::string capability = join(properties.major, ".", properties.minor);
  cudaFuncAttributes attributes{};
  const cudaError_t status = cudaFuncGetAttributes(&attributes, over_elements<wide<T>, elements::Fill<T>>);
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    static_cast<void>(cudaGetLastError());
    throw CudaError("cudaFuncGetAttributes",
                    join("this program holds no code for device ", options.device, " (", properties.name,
                         ", compute capability ", capability, "); build it for architecture ",
                         properties.major, properties.minor, " (in CMake: DSSL_CUDA_ARCHITECTURES)"));
  }
  check(status, "cudaFuncGetAttributes", "looking for code for device ", options.device);
  int driver = 0;
  int runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion", "asking for versions");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion", "asking for versions");
  const std::size_t library = cublasLtGetVersion();
  return std::make_shared<const Device>(
      options,
      join("device ", options.device, ": ", properties.name, ", compute capability ", capability, ", ",
           bytes_text(properties.totalGlobalMem), "; driver for CUDA ", version_text(driver), ", runtime ",
           version_text(runtime), ", cuBLASLt ", library / 10000, ".", library / 100 % 100, ".",
           library % 100));
}

}  // namespace dssl::cuda
