// A zip file in memory: its records, found by name and checked by their sums.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/io/crc32.hpp>
#include <dssl/io/inflate.hpp>

namespace dssl {

/// The directory of a zip file (zip64 too) whose bytes lie in memory, and its records: stored, or deflated.
///
/// The directory at the file's end is what counts: writers that do not know sizes beforehand leave them out
/// of the headers before the records. A record is checked against its CRC-32 when it is read first. Test:
/// tests/io/zip_archive.cpp.
class ZipArchive {
 public:
  struct Record {
    std::string name;
    std::size_t begin = 0;   ///< of its bytes in the file
    std::size_t packed = 0;  ///< bytes in the file
    std::size_t size = 0;    ///< bytes when unpacked
    std::uint32_t sum = 0;   ///< CRC-32 of these
    bool deflated = false;
  };

  ZipArchive() = default;

  /// Reads the directory; `bytes` must live as long as this. Throws `CheckpointError` naming the record that
  /// is encrypted, packed in another way, outside the file, within another, or there twice.
  ZipArchive(std::string path, std::span<const std::byte> bytes) : x_path(std::move(path)), x_bytes(bytes) {
    const Directory directory = find_directory();
    std::size_t at = directory.begin;
    for (std::uint64_t i = 0; i < directory.count; ++i) at = read_entry(at, directory);
    // Readers that go by the directory's length would see other records.
    if (at != directory.end)
      fail(join("the zip directory has ", directory.end - at, " bytes behind its ", directory.count, " records"));
    require_apart();
    x_checked = std::make_unique<std::atomic<bool>[]>(x_records.size());
  }

  [[nodiscard]] const std::vector<Record>& records() const { return x_records; }

  /// The record of this name; null if there is none.
  [[nodiscard]] const Record* find(std::string_view name) const {
    const auto place = x_places.find(name);
    return place == x_places.end() ? nullptr : &x_records[place->second];
  }

  /// The bytes of one of `records()`: those of the file where they are stored, else unpacked into `scratch`.
  /// Throws `CheckpointError` naming the record if it is damaged.
  [[nodiscard]] std::span<const std::byte> read(const Record& record, std::vector<std::byte>& scratch) const {
    std::span<const std::byte> bytes = x_bytes.subspan(record.begin, record.packed);
    if (record.deflated) {
      inflate(scratch, bytes, record.size, [&](std::string_view problem) {
        throw CheckpointError(
            x_path, join("the record '", record.name, "' is damaged: its packed bytes have ", problem));
      });
      bytes = scratch;
    }
    std::atomic<bool>& checked = x_checked[static_cast<std::size_t>(&record - x_records.data())];
    if (record.deflated || !checked.load(std::memory_order_relaxed)) {
      const std::uint32_t sum = crc32(bytes);
      if (sum != record.sum) {
        throw CheckpointError(x_path, join("the record '", record.name, "' is damaged: its CRC-32 is ", sum,
                                           ", expected ", record.sum));
      }
      checked.store(true, std::memory_order_relaxed);
    }
    return bytes;
  }

 private:
  struct Directory {
    std::size_t begin = 0, end = 0;
    std::uint64_t count = 0;
  };

  [[noreturn]] void fail(const std::string& problem) const { throw CheckpointError(x_path, problem); }

  /// A little-endian number at a place that is known to lie in the file.
  template <class Number>
  [[nodiscard]] Number number(std::size_t at) const {
    Number value = 0;
    std::memcpy(&value, x_bytes.data() + at, sizeof value);
    return value;
  }

  /// Whether a part of at least `size` bytes with this signature begins there.
  [[nodiscard]] bool is_part(std::uint64_t at, std::size_t size, std::uint32_t signature) const {
    return size <= x_bytes.size() && at <= x_bytes.size() - size &&
           number<std::uint32_t>(static_cast<std::size_t>(at)) == signature;
  }

  [[nodiscard]] Directory find_directory() const {
    constexpr std::size_t size = 22;
    std::size_t at = x_bytes.size();
    // The end record comes last, before a comment of at most 65535 bytes.
    for (std::size_t back = size; back <= x_bytes.size() && back <= size + 65535; ++back) {
      const std::size_t place = x_bytes.size() - back;
      if (is_part(place, size, 0x06054B50U) && number<std::uint16_t>(place + 20) == back - size) {
        at = place;
        break;
      }
    }
    if (at == x_bytes.size()) fail("truncated: a zip file without the directory at its end");
    std::uint64_t count = number<std::uint16_t>(at + 10);
    std::uint64_t length = number<std::uint32_t>(at + 12);
    std::uint64_t begin = number<std::uint32_t>(at + 16);
    const bool one_disk = number<std::uint16_t>(at + 4) == 0 || number<std::uint16_t>(at + 4) == 0xFFFFU;
    if (!one_disk) fail("is one part of a zip file in several");
    std::size_t end = at;
    if (count == 0xFFFFU || length == 0xFFFFFFFFU || begin == 0xFFFFFFFFU) {
      if (at < 20 || !is_part(at - 20, 20, 0x07064B50U))
        fail("a zip64 file without the place of its directory");
      const auto place = number<std::uint64_t>(at - 12);
      if (!is_part(place, 56, 0x06064B50U)) fail("a zip64 file without directory");
      end = static_cast<std::size_t>(place);
      count = number<std::uint64_t>(end + 32);
      length = number<std::uint64_t>(end + 40);
      begin = number<std::uint64_t>(end + 48);
    }
    if (begin > end || length > end - begin) {
      fail(join("the zip directory has ", length, " bytes at ", begin, ", outside the file's ",
                x_bytes.size()));
    }
    if (count > length / 46) fail(join("the zip directory has ", length, " bytes for ", count, " records"));
    return {static_cast<std::size_t>(begin), static_cast<std::size_t>(begin + length), count};
  }

  /// Reads one entry of the directory and returns where the next one begins.
  [[nodiscard]] std::size_t read_entry(std::size_t at, const Directory& directory) {
    if (directory.end - at < 46 || number<std::uint32_t>(at) != 0x02014B50U)
      fail("the zip directory is damaged");
    const std::size_t name_length = number<std::uint16_t>(at + 28);
    const std::size_t extra_length = number<std::uint16_t>(at + 30);
    const std::size_t length = 46 + name_length + extra_length + number<std::uint16_t>(at + 32);
    if (length > directory.end - at) fail("the zip directory is damaged");
    Record record{.name = text(at + 46, name_length), .sum = number<std::uint32_t>(at + 16)};
    const auto refuse = [&](const std::string& problem) {
      fail(join("the record '", record.name, "' ", problem));
    };
    std::uint64_t packed = number<std::uint32_t>(at + 20);
    std::uint64_t size = number<std::uint32_t>(at + 24);
    std::uint64_t local = number<std::uint32_t>(at + 42);
    read_large(size, packed, local, at + 46 + name_length, extra_length);
    if ((number<std::uint16_t>(at + 8) & 1U) != 0) refuse("is encrypted");
    const auto method = number<std::uint16_t>(at + 10);
    if (method != 0 && method != 8)
      refuse(join("is packed by method ", method, "; expected 0 (stored) or 8 (deflated)"));
    record.deflated = method == 8;
    if (local > directory.begin || !is_part(local, 30, 0x04034B50U)) refuse("lies outside the file");
    const auto begin = static_cast<std::size_t>(local);
    const std::size_t own_name = number<std::uint16_t>(begin + 26);
    record.begin = begin + 30 + own_name + number<std::uint16_t>(begin + 28);
    if (record.begin > directory.begin) refuse("lies outside the file");
    if (text(begin + 30, own_name) != record.name)
      refuse(join("has the name '", text(begin + 30, own_name), "' in its own header"));
    if (packed > directory.begin - record.begin) {
      refuse(join("has ", packed, " bytes, more than the file's ", x_bytes.size()));
    }
    if (!record.deflated && packed != size) refuse(join("is stored, but has ", packed, " bytes for ", size));
    record.packed = static_cast<std::size_t>(packed);
    record.size = static_cast<std::size_t>(size);
    if (!x_places.emplace(record.name, x_records.size()).second) refuse("is there twice");
    x_records.push_back(std::move(record));
    return at + length;
  }

  /// Records that share bytes are no writer's: a small file of them unpacks to any size.
  void require_apart() const {
    std::vector<const Record*> order;
    for (const Record& record : x_records) {
      if (record.packed > 0) order.push_back(&record);
    }
    std::ranges::sort(order, {}, &Record::begin);
    for (std::size_t i = 1; i < order.size(); ++i) {
      const Record& before = *order[i - 1];
      if (before.packed > order[i]->begin - before.begin)
        fail(join("the records '", before.name, "' and '", order[i]->name, "' share bytes of the file"));
    }
  }

  /// Takes numbers that did not fit 32 bits from the extra fields, where zip64 has them in this order.
  void read_large(std::uint64_t& size, std::uint64_t& packed, std::uint64_t& local, std::size_t at,
                  std::size_t left) const {
    while (left >= 4) {
      const auto kind = number<std::uint16_t>(at);
      std::size_t length = number<std::uint16_t>(at + 2);
      at += 4;
      left -= 4;
      if (length > left) return;
      left -= length;
      const std::size_t next = at + length;
      for (std::uint64_t* const value : {&size, &packed, &local}) {
        if (kind != 1 || *value != 0xFFFFFFFFU || length < 8) continue;
        *value = number<std::uint64_t>(at);
        at += 8;
        length -= 8;
      }
      at = next;
    }
  }

  [[nodiscard]] std::string text(std::size_t at, std::size_t length) const {
    return {reinterpret_cast<const char*>(x_bytes.data()) + at, length};
  }

  std::string x_path;
  std::span<const std::byte> x_bytes;
  std::vector<Record> x_records;
  std::map<std::string, std::size_t, std::less<>> x_places;
  std::unique_ptr<std::atomic<bool>[]> x_checked;
};

}  // namespace dssl
