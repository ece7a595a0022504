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
#include <dssl/io/crc32.hpp>
#include <dssl/io/inflate.hpp>
#include <dssl/io/open_tensor_file.hpp>

#include "fuzz.hpp"

using namespace dssl;

namespace {

/// A zip file of stored records with right sums, so that what is changed gets past them.
class Zip {
 public:
  void add(std::string_view name, std::span<const std::byte> bytes) {
    const auto begin = static_cast<std::uint32_t>(x_bytes.size());
    std::string both;
    number(both, crc32(bytes), 4);
    number(both, bytes.size(), 4);
    number(both, bytes.size(), 4);
    number(both, name.size(), 2);
    number(both, 0, 2);
    x_bytes += std::string_view("PK\3\4\0\0\0\0\0\0\0\0\0\0", 14);
    x_bytes += both;
    x_bytes += name;
    x_bytes.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    x_directory += std::string_view("PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    x_directory += both;
    x_directory.append(10, '\0');
    number(x_directory, begin, 4);
    x_directory += name;
    ++x_count;
  }

  [[nodiscard]] std::string finished() const {
    std::string out = x_bytes + x_directory + std::string("PK\5\6\0\0\0\0", 8);
    number(out, x_count, 2);
    number(out, x_count, 2);
    number(out, x_directory.size(), 4);
    number(out, x_bytes.size(), 4);
    number(out, 0, 2);
    return out;
  }

 private:
  static void number(std::string& out, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
  }

  std::string x_bytes, x_directory;
  std::uint64_t x_count = 0;
};

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
    Zip zip;
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
