// Tensor files: opened, read as every kind of number, and written again to the same tensors.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <dssl/io/safetensors.hpp>

#include "fuzz.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path = fuzz::file_of("in.safetensors", fuzz::bytes_of(data, size));
  fuzz::parses<FileError>([&] {
    const auto file = SafetensorsFile::open(path);
    SafetensorsWriter writer;
    std::size_t bytes = 0;
    for (const StoredTensor& tensor : file.tensors()) {
      fuzz::require(file.contains(tensor.name) && &file.tensor(tensor.name) == &tensor, "a tensor is found by its name");
      const auto stored = file.bytes(tensor.name);
      fuzz::require(static_cast<std::size_t>(tensor.size()) * element_bytes(tensor.type) == stored.size(),
                    "a tensor has the bytes of its shape");
      bytes += stored.size();
      writer.add_bytes(tensor.name, tensor.type, tensor.shape, stored);
      fuzz::parses<CheckpointError>([&] { static_cast<void>(file.read<float>(tensor.name)); });
      fuzz::parses<CheckpointError>([&] { static_cast<void>(file.read<double>(tensor.name)); });
      fuzz::parses<CheckpointError>([&] { static_cast<void>(file.read<std::int8_t>(tensor.name)); });
      fuzz::parses<CheckpointError>([&] { static_cast<void>(file.read<std::uint64_t>(tensor.name)); });
    }
    fuzz::require(bytes <= size, "tensors lie in the file");
    for (const auto& [key, value] : file.metadata()) writer.metadata(key, value);
    const std::string again = fuzz::scratch() / "out.safetensors";
    writer.write(again);
    const auto same = SafetensorsFile::open(again);
    fuzz::require(same.metadata() == file.metadata(), "strings come back as they were written");
    fuzz::require(same.tensors().size() == file.tensors().size(), "tensors come back, all of them");
    for (const StoredTensor& tensor : file.tensors()) {
      fuzz::require(same.shape(tensor.name) == tensor.shape && same.tensor(tensor.name).type == tensor.type &&
                        std::ranges::equal(same.bytes(tensor.name), file.bytes(tensor.name)),
                    "a tensor comes back as it was written");
    }
  });
  return 0;
}
