// A file of tensors opened by what it is, not by how it is called.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <dssl/core/error.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/io/torch_file.hpp>

namespace dssl {

namespace detail {

/// What to do where weights lie in several files.
inline constexpr std::string_view expected_one_file = "expected one (save_pretrained with a larger max_shard_size)";

/// Whether a file is called as one of several that hold weights together ("model-00001-of-00002.safetensors").
[[nodiscard]] inline bool is_called_shard(const std::string& path) {
  const std::string name = std::filesystem::path(path).stem().string();
  constexpr std::string_view between = "-of-", digits = "0123456789";
  const std::size_t at = name.rfind(between);
  if (at == std::string::npos || at == 0 || digits.find(name[at - 1]) == std::string_view::npos) return false;
  const std::string count = name.substr(at + between.size());
  const std::size_t first = count.find_first_not_of('0');
  return count.find_first_not_of(digits) == std::string::npos && first != std::string::npos && count.substr(first) != "1";
}

/// The file of weights in a folder as Transformers keeps it; a path that is no folder is itself.
[[nodiscard]] inline std::string weights_in(const std::string& path) {
  std::error_code unknown;
  if (!std::filesystem::is_directory(path, unknown)) return path;
  const std::filesystem::path folder(path);
  for (const char* const name : {"model.safetensors", "pytorch_model.bin"}) {
    if (std::filesystem::exists(folder / name, unknown)) return (folder / name).string();
    if (std::filesystem::exists(folder / (std::string(name) + ".index.json"), unknown)) {
      throw CheckpointError(path, join("holds weights in several files; ", expected_one_file));
    }
  }
  throw FileError(path, "is a folder without 'model.safetensors' or 'pytorch_model.bin'; expected a file of weights");
}

}  // namespace detail

/// Opens a safetensors file or a file of torch.save (`.pth`, `.pt`), whichever its first bytes say it is.
///
/// A folder is Transformers': its `model.safetensors` or `pytorch_model.bin` is opened. Throws `FileError` if it cannot
/// be read, `CheckpointError` in one line if it is neither, or damaged; for files that are often taken for weights (a page
/// of a server, a Git LFS pointer) the line says what they are.
/// Tests: tests/io/torch_file.cpp, tests/io/hugging_face_config.cpp.
[[nodiscard]] inline std::unique_ptr<TensorFile> open_tensor_file(const std::string& name) {
  const std::string path = detail::weights_in(name);
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
