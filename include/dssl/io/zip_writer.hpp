// A zip file of stored records, written whole or not at all; zip64 where sizes or places need it.
// Tests: tests/io/torch_writer.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/crc32.hpp>

namespace dssl {

/// Collects records and writes them as one zip file. The bytes of every record begin at a multiple of `alignment`, so that
/// they can be mapped in place; they are not copied, and must live and stay unchanged until `write` returns. The file
/// depends on nothing but names and bytes: it has no date.
class ZipWriter {
 public:
  static constexpr std::size_t alignment = 64;

  /// Throws `OptionError` for a name that is empty, there already, or longer than 65535 bytes.
  void add(std::string name, std::span<const std::byte> bytes) {
    if (name.empty() || name.size() > 0xFFFFU || !x_names.insert(name).second)
      throw OptionError("record name", name, "a name of 1 to 65535 bytes that is not used yet");
    x_records.push_back({.name = std::move(name), .bytes = bytes});
  }

  /// Sizes and places above `largest` are written in the 64 bits of zip64; by default those that do not fit 32.
  void write(const std::string& path, std::uint64_t largest = 0xFFFFFFFEU) const {
    AtomicFile file(path);
    std::uint64_t at = 0;
    const auto put = [&](std::string_view text) {
      file.write(text);
      at += text.size();
    };
    std::string directory;
    for (const Record& record : x_records) {
      const std::uint32_t sum = crc32(record.bytes);
      const std::uint64_t place = at;
      const std::uint64_t size = record.bytes.size();
      const bool large = size > largest;
      std::string extra;
      if (large) extra = numbers(Two{1}, Two{16}, size, size);
      // A field that no reader knows moves the bytes to their place.
      const std::uint64_t begin = place + 30 + record.name.size() + extra.size() + 4;
      const std::size_t pad = static_cast<std::size_t>((alignment - begin % alignment) % alignment);
      extra += numbers(Two{0x4246}, static_cast<Two>(pad)) + std::string(pad, 'Z');
      put(numbers(Four{0x04034B50}) + common(sum, size, large, record.name.size(), extra.size()) + record.name + extra);
      file.write(record.bytes);
      at += size;

      const bool far = place > largest;
      std::string own;
      if (large || far) own = numbers(Two{1}, static_cast<Two>((large ? 16 : 0) + (far ? 8 : 0)));
      if (large) own += numbers(size, size);
      if (far) own += numbers(place);
      directory += numbers(Four{0x02014B50}, Two{45}) + common(sum, size, large, record.name.size(), own.size()) +
                   numbers(Two{0}, Two{0}, Two{0}, Four{0}, far ? Four{0xFFFFFFFF} : static_cast<Four>(place)) + record.name + own;
    }
    const std::uint64_t begin = at;
    const std::uint64_t length = directory.size();
    const std::uint64_t count = x_records.size();
    put(directory);
    const bool large = begin > largest || length > largest || count > std::min<std::uint64_t>(largest, 0xFFFEU);
    if (large) {
      const std::uint64_t end = at;
      put(numbers(Four{0x06064B50}, std::uint64_t{44}, Two{45}, Two{45}, Four{0}, Four{0}, count, count, length, begin));
      put(numbers(Four{0x07064B50}, Four{0}, end, Four{1}));
    }
    const auto shortened = large ? Two{0xFFFF} : static_cast<Two>(count);
    put(numbers(Four{0x06054B50}, Two{0}, Two{0}, shortened, shortened, large ? Four{0xFFFFFFFF} : static_cast<Four>(length),
                large ? Four{0xFFFFFFFF} : static_cast<Four>(begin), Two{0}));
    file.commit();
  }

 private:
  using Two = std::uint16_t;
  using Four = std::uint32_t;

  struct Record {
    std::string name;
    std::span<const std::byte> bytes;
  };

  /// Numbers as they lie in the file: little-endian, one after another.
  template <class... Numbers>
  [[nodiscard]] static std::string numbers(Numbers... values) {
    std::string out;
    const auto add = [&](auto value) {
      char bytes[sizeof value];
      std::memcpy(bytes, &value, sizeof value);
      out.append(bytes, sizeof value);
    };
    (add(values), ...);
    return out;
  }

  /// What the header before a record and its entry in the directory have in common: stored, of the first day of 1980.
  [[nodiscard]] static std::string common(Four sum, std::uint64_t size, bool large, std::size_t name, std::size_t extra) {
    const Four said = large ? Four{0xFFFFFFFF} : static_cast<Four>(size);
    return numbers(Two{45}, Two{0}, Two{0}, Two{0}, Two{0x21}, sum, said, said, static_cast<Two>(name),
                   static_cast<Two>(extra));
  }

  std::vector<Record> x_records;
  std::set<std::string, std::less<>> x_names;
};

}  // namespace dssl
