// The directories of a TIFF, each a page: a linked list, followed without libtiff, which does not say where it is damaged.
// Tests: tests/io/tiff_pages.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/mapped_file.hpp>

namespace dssl::detail {

/// Also of the kind for more than 4 GiB.
[[nodiscard]] inline bool is_tiff(std::span<const std::byte> bytes) {
  return starts_with(bytes, {"II*\0", 4}) || starts_with(bytes, {"MM\0*", 4}) || starts_with(bytes, {"II+\0", 4}) ||
         starts_with(bytes, {"MM\0+", 4});
}

/// What a TIFF is read from: bytes in memory, or an open file, of which what is asked for alone is read.
class TiffInput {
 public:
  explicit TiffInput(std::span<const std::byte> bytes) : x_bytes(bytes), x_size(bytes.size()) {}
  /// A file of so many bytes.
  TiffInput(std::string path, std::size_t size, FileDescriptor file) : x_path(std::move(path)), x_size(size), x_file(std::move(file)) {}

  [[nodiscard]] std::size_t size() const { return x_size; }
  /// Bytes from `at` on, fewer than `count` where there are no more or they cannot be read.
  [[nodiscard]] std::size_t read(std::byte* out, std::size_t count, std::uint64_t at) const {
    if (at >= x_size) return 0;
    const std::size_t given = std::min(count, x_size - static_cast<std::size_t>(at));
    if (!x_file.is_open()) {
      std::memcpy(out, x_bytes.data() + at, given);
      return given;
    }
    try {
      return read_at(out, given, static_cast<std::size_t>(at), x_file, x_path);
    } catch (const FileError&) {  // an exception must not cross libtiff's frames
      return 0;
    }
  }

 private:
  std::span<const std::byte> x_bytes;
  std::string x_path;
  std::size_t x_size = 0;
  FileDescriptor x_file;
};

/// The directories of a TIFF in their order, as far as each leads to the next. What one of them says may still be damaged:
/// who reads that page says so.
struct TiffDirectories {
  std::vector<bool> aside;  ///< of each: whether it says that it is a thumbnail, a smaller copy or a mask
  bool damaged = false;     ///< the last leads to what is none, back to another, or on and on

  [[nodiscard]] Index size() const { return static_cast<Index>(aside.size()); }
  /// What is said of damage.
  [[nodiscard]] std::string damage() const {
    return join("is a TIFF whose ", size() == 0 ? "first directory is damaged" : join("directories are damaged after page ", size()),
                "; what follows cannot be known");
  }
};

/// The numbers of a TIFF, in its byte order, of 4 GiB at most or of more.
class TiffNumbers {
 public:
  explicit TiffNumbers(const TiffInput& file) : x_file(file) {
    std::array<std::byte, 4> magic{};
    x_known = file.read(magic.data(), magic.size(), 0) == magic.size() && is_tiff(magic);
    x_little = magic[0] == std::byte{'I'};
    x_large = magic[x_little ? 2 : 3] == std::byte{'+'};
  }

  /// Whether it is a TIFF.
  [[nodiscard]] bool known() const { return x_known; }
  [[nodiscard]] bool large() const { return x_large; }
  /// Of so many bytes; nothing where the file ends before.
  [[nodiscard]] std::optional<std::uint64_t> at(std::uint64_t place, std::size_t bytes) const {
    std::array<std::byte, 8> read{};
    if (x_file.read(read.data(), bytes, place) < bytes) return std::nullopt;
    return of(std::span(read).first(bytes));
  }
  [[nodiscard]] std::uint64_t of(std::span<const std::byte> bytes) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) value = value << 8U | std::to_integer<std::uint64_t>(bytes[x_little ? bytes.size() - 1 - i : i]);
    return value;
  }

 private:
  const TiffInput& x_file;
  bool x_known = false, x_little = false, x_large = false;
};

/// Whether a directory of these entries says by NewSubfileType (254), or SubfileType (255) of old writers, that it is a
/// thumbnail, a smaller copy or a mask.
[[nodiscard]] inline bool is_set_aside(std::span<const std::byte> entries, const TiffNumbers& numbers) {
  const std::size_t each = numbers.large() ? 20 : 12, value = numbers.large() ? 12 : 8;
  for (; entries.size() >= each; entries = entries.subspan(each)) {
    const std::uint64_t tag = numbers.of(entries.first(2));
    if (tag != 254 && tag != 255) continue;
    constexpr std::uint64_t two_bytes = 3;  // type SHORT
    const std::uint64_t kind = numbers.of(entries.subspan(value, numbers.of(entries.subspan(2, 2)) == two_bytes ? 2 : 4));
    if (tag == 254 ? (kind & 5U) != 0 : kind == 2) return true;  // bits 0 and 2: smaller, a mask
  }
  return false;
}

/// None of what is no TIFF. A chain that leads back to where it was is damaged, and ends there.
[[nodiscard]] inline TiffDirectories tiff_directories(const TiffInput& file) {
  constexpr std::uint64_t most_entries = 4096;  // libtiff reads no larger ones, and no more of them
  constexpr Index most = Index{1} << 20;
  TiffDirectories out;
  const TiffNumbers numbers(file);
  if (!numbers.known()) return out;
  const std::size_t count_bytes = numbers.large() ? 8 : 2, each = numbers.large() ? 20 : 12, link = numbers.large() ? 8 : 4;
  std::set<std::uint64_t> met;
  std::vector<std::byte> entries;
  std::optional<std::uint64_t> next = numbers.at(link, link);
  while (next && *next != 0 && out.size() < most && met.insert(*next).second) {
    const auto count = numbers.at(*next, count_bytes);
    if (!count || *count == 0 || *count > most_entries) break;
    entries.resize(*count * each);
    if (file.read(entries.data(), entries.size(), *next + count_bytes) < entries.size()) break;
    out.aside.push_back(is_set_aside(entries, numbers));
    next = numbers.at(*next + count_bytes + entries.size(), link);
  }
  out.damaged = !next || *next != 0;
  return out;
}

/// The pages of a TIFF file behind its first.
struct TiffPages {
  std::vector<Index> images;  ///< their numbers, from 2 on, ascending
  Index aside = 0;            ///< how many of the others are thumbnails, smaller copies or masks
  std::string damage{};       ///< what keeps further ones from being known, where a first is; empty: nothing
};

/// None where the file, or its first directory, cannot be read, which whoever reads its first page says.
[[nodiscard]] inline TiffPages further_tiff_pages(const std::string& path) {
  TiffPages out;
  try {
    std::size_t size = 0;
    FileDescriptor file = open_to_read(size, path);
    const TiffDirectories all = tiff_directories(TiffInput(path, size, std::move(file)));
    for (Index page = 2; page <= all.size(); ++page) {
      if (all.aside[static_cast<std::size_t>(page - 1)]) {
        ++out.aside;
      } else {
        out.images.push_back(page);
      }
    }
    if (all.damaged && all.size() > 0) out.damage = all.damage();
  } catch (const FileError&) {  // whoever reads it says so
  }
  return out;
}

}  // namespace dssl::detail
