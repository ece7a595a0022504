// What tells a set of images from another of as many, without reading them: their names and sizes.
// Tests: tests/data/fingerprint.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>

#include <dssl/core/hash.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/page_name.hpp>

namespace dssl {

/// Of a source's images in their order. Not for secrets: two sets may have the same by design.
struct SourceFingerprint {
  std::uint64_t names = 0;  ///< of the names, without the folder that all share
  std::uint64_t sizes = 0;  ///< of the bytes of files, or what the source says (`SizedSamples`)

  /// "0123456789abcdef-0123456789abcdef".
  [[nodiscard]] std::string text() const {
    return detail::hexadecimal(names) + "-" + detail::hexadecimal(sizes);
  }
};

namespace detail {

/// Of texts and numbers, one after the other.
class NameHash {
 public:
  void add(std::string_view text) {
    for (const char c : text) x_hash.add(static_cast<unsigned char>(c));
    x_hash.add(0);  // ends a text: no name holds a byte 0
  }
  void add(Index number) {
    for (int shift = 0; shift < 64; shift += 8) x_hash.add(static_cast<std::uint64_t>(number) >> shift & 255U);
  }
  [[nodiscard]] std::uint64_t value() const { return x_hash.value(); }

 private:
  Fnv1a x_hash;
};

/// What the source says of image i, whose name is `name`, else the bytes of the file that it is a page of; -1: neither.
[[nodiscard]] inline Index bytes_of_image(const SourceView& source, Index i, const std::string& name) {
  const Index bytes = source.bytes(i);
  if (bytes >= 0) return bytes;
  struct stat status {};
  const std::string file(place_of_image(name).file);
  return ::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : bytes;
}

/// Characters of the folder that all names lie in, with its slash.
[[nodiscard]] inline std::size_t shared_folder(const std::vector<std::string>& names) {
  std::string_view shared = names.empty() ? std::string_view() : std::string_view(names.front());
  for (const std::string& name : names) {
    const auto end = std::mismatch(shared.begin(), shared.end(), name.begin(), name.end()).first;
    shared = shared.substr(0, static_cast<std::size_t>(end - shared.begin()));
  }
  return shared.rfind('/') + 1;  // none: 0
}

}  // namespace detail

/// Names, sizes and order of a source's images; where the folder lies does not count, nor whether a list or a folder
/// names them. Files that cannot be looked at have the size -1. Cost: a look at each file (`stat`), no image is read.
[[nodiscard]] inline SourceFingerprint fingerprint_of(const SourceView& source) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(source.size()));
  for (Index i = 0; i < source.size(); ++i) names.push_back(source.name(i));
  const std::size_t shared = detail::shared_folder(names);
  detail::NameHash of_names, of_sizes;
  for (Index i = 0; i < source.size(); ++i) {
    const std::string& name = names[static_cast<std::size_t>(i)];
    of_names.add(std::string_view(name).substr(shared));
    of_sizes.add(detail::bytes_of_image(source, i, name));
  }
  return {of_names.value(), of_sizes.value()};
}

}  // namespace dssl
