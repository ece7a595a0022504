// Zip files of any records, right or wrong in ways that the library itself does not write.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <dssl/io/crc32.hpp>

namespace dssl::test {

/// A zip file that is put together record by record, with right sums.
class ZipSample {
 public:
  /// Adds a record; `deflated`: in the stored blocks of a deflated stream, which take no packing.
  void add(std::string_view name, std::span<const std::byte> bytes, bool deflated = false) {
    const std::size_t begin = x_bytes.size();
    std::string packed(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (deflated) packed = in_blocks(packed);
    x_bytes += header(name, bytes, packed.size(), deflated) + packed;
    enter(name, bytes, packed.size(), begin, deflated);
  }

  /// The header that stands before a record's bytes.
  [[nodiscard]] static std::string header(std::string_view name, std::span<const std::byte> bytes, std::size_t packed,
                                          bool deflated) {
    return std::string("PK\3\4\0\0\0\0", 8) + number(deflated ? 8 : 0, 2) + number(0, 4) +
           common(name, bytes, packed) + std::string(name);
  }

  /// Adds an entry to the directory alone, of a record whose header begins there.
  void enter(std::string_view name, std::span<const std::byte> bytes, std::size_t packed, std::size_t begin, bool deflated) {
    x_directory += std::string("PK\1\2\0\0\0\0\0\0", 10) + number(deflated ? 8 : 0, 2) + number(0, 4) +
                   common(name, bytes, packed) + number(0, 10) + number(begin, 4) + std::string(name);
    ++x_count;
  }

  /// The file; `unsaid`: how many records less than there are its last lines tell.
  [[nodiscard]] std::string finished(std::size_t unsaid = 0) const {
    const std::string count = number(x_count - unsaid, 2);
    return x_bytes + x_directory + std::string("PK\5\6\0\0\0\0", 8) + count + count + number(x_directory.size(), 4) +
           number(x_bytes.size(), 4) + number(0, 2);
  }

 private:
  [[nodiscard]] static std::string number(std::uint64_t value, unsigned bytes) {
    std::string out;
    for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(static_cast<unsigned char>(i < 8 ? value >> (8 * i) : 0));
    return out;
  }

  /// Sum, sizes and the lengths of the name and of nothing more.
  [[nodiscard]] static std::string common(std::string_view name, std::span<const std::byte> bytes, std::size_t packed) {
    return number(crc32(bytes), 4) + number(packed, 4) + number(bytes.size(), 4) + number(name.size(), 2) + number(0, 2);
  }

  [[nodiscard]] static std::string in_blocks(std::string_view text) {
    std::string out;
    do {
      const std::size_t size = std::min<std::size_t>(text.size(), 0xFFFF);
      out += number(size == text.size() ? 1 : 0, 1) + number(size, 2) + number(~size & 0xFFFFU, 2);
      out += text.substr(0, size);
      text.remove_prefix(size);
    } while (!text.empty());
    return out;
  }

  std::string x_bytes, x_directory;
  std::uint64_t x_count = 0;
};

}  // namespace dssl::test
