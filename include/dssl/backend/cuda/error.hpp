// What goes wrong on a GPU, as an exception that any C++ compiler sees.
#pragma once

#include <string>
#include <utility>

#include <dssl/core/error.hpp>

namespace dssl {

/// A call of the CUDA runtime or of cuBLASLt failed, there is no usable device, or its memory does not
/// suffice.
///
/// The message is one line: the call, what it was for with the sizes of its operands, and why it failed.
class CudaError : public Error {
 public:
  CudaError(std::string call, const std::string& message) : Error(message), x_call(std::move(call)) {}

  /// Name of the call that failed, such as "cudaMalloc".
  [[nodiscard]] const std::string& call() const noexcept { return x_call; }

 private:
  std::string x_call;
};

}  // namespace dssl
