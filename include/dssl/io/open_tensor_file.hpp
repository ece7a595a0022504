// A file of tensors opened by what it is, not by how it is called.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <dssl/io/mapped_file.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/io/torch_file.hpp>

namespace dssl {

/// Opens a safetensors file or a file of torch.save (`.pth`, `.pt`), whichever its first bytes say it is.
///
/// Throws `FileError` if it cannot be read, `CheckpointError` in one line if it is neither, or damaged; for
/// files that are often taken for weights (a page of a server, a Git LFS pointer) the line says what they
/// are. Test: tests/io/torch_file.cpp.
[[nodiscard]] inline std::unique_ptr<TensorFile> open_tensor_file(const std::string& path) {
  bool safetensors = false;
  {
    const MappedFile file(path);
    const std::span<const std::byte> bytes = file.bytes();
    // A header's length, and the header, which begins so. In a zip file the ninth byte is 0 or 8.
    safetensors = bytes.size() > 8 && bytes[8] == std::byte{'{'};
    if (!safetensors && path.ends_with(".safetensors") && !TorchFile::is_one(bytes)) {
      if (const std::string other = TorchFile::what_else(bytes); !other.empty()) throw CheckpointError(path, other);
      safetensors = true;
    }
  }
  if (safetensors) return std::make_unique<SafetensorsFile>(SafetensorsFile::open(path));
  return std::make_unique<TorchFile>(TorchFile::open(path));
}

}  // namespace dssl
