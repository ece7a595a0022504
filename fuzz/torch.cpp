// Files of torch.save: whole, a pickle alone in a good zip file, or a deflated stream; and the backbone in
// what was read.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/io/backbone_file.hpp>
#include <dssl/io/inflate.hpp>
#include <dssl/io/open_tensor_file.hpp>

#include "../tests/io/zip_samples.hpp"
#include "fuzz.hpp"

using namespace dssl;

namespace {

/// Everything of a file that can be read, of as many elements as a file of weights that fuzzing makes has.
void read_all(const std::string& path) {
  fuzz::parses<FileError>([&] {
    const auto file = open_tensor_file(path);
    for (const StoredTensor& tensor : file->tensors()) {
      fuzz::require(file->contains(tensor.name) && &file->tensor(tensor.name) == &tensor,
                    "a tensor is found by its name");
      fuzz::require(std::ranges::all_of(tensor.shape, [](Index extent) { return extent >= 0; }),
                    "extents are not negative");
      if (tensor.size() > 100'000) continue;
      fuzz::parses<CheckpointError>([&] {
        std::vector<std::byte> scratch;
        fuzz::require(file->elements(tensor.name, scratch).size() ==
                          static_cast<std::size_t>(tensor.size()) * element_bytes(tensor.type),
                      "a tensor has the bytes of its shape");
        static_cast<void>(file->read<float>(tensor.name));
      });
    }
  });
  fuzz::parses<FileError>([&] {
    const BackboneFile file = BackboneFile::open(path);
    const BackboneDescription& d = file.description();
    fuzz::require(d.width > 0 && d.depth > 0 && d.patch > 0 && d.channels > 0 && !describe(d).empty(),
                  "a backbone has sizes");
    for (const StoredTensor& tensor : file.tensors()) {
      if (tensor.size() > 100'000) continue;
      fuzz::parses<CheckpointError>([&] {
        fuzz::require(file.read<float>(tensor.name).size() == static_cast<std::size_t>(tensor.size()),
                      "a tensor has its elements");
      });
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = fuzz::bytes_of(data, size);
  const std::byte how = size > 0 ? bytes[0] : std::byte{0};
  if (how == std::byte{'p'}) {
    std::array<std::byte, 256> storage{};
    std::ranges::fill(storage, std::byte{0x3F});
    test::ZipSample zip;
    zip.add("a/data.pkl", bytes.subspan(1));
    zip.add("a/data/0", storage);
    zip.add("a/data/1", std::span(storage).first(7));
    const std::string file = zip.finished();
    read_all(fuzz::file_of("in.pth", std::as_bytes(std::span(file.data(), file.size()))));
  } else if (how == std::byte{'z'} && size >= 3) {
    const std::size_t said = std::size_t{data[1]} << (data[2] % 24U);
    fuzz::parses<CheckpointError>([&] {
      std::vector<std::byte> out;
      inflate(out, bytes.subspan(3), said,
              [](std::string_view problem) { throw CheckpointError("packed", problem); });
      fuzz::require(out.size() == said, "what is unpacked has the size that was said");
    });
  } else {
    read_all(fuzz::file_of("in.pth", bytes));
  }
  return 0;
}
