// Image files of any known kind: the first bytes decide, not the name.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/jpeg.hpp>
#include <dssl/io/png.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// The first bytes of a file for a message: printable ones as they are, others in hexadecimal.
[[nodiscard]] inline std::string first_bytes_text(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "'";
  for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    const auto code = std::to_integer<unsigned>(byte);
    if (code >= 0x20 && code < 0x7F) {
      text += static_cast<char>(code);
    } else {
      text += join("\\x", digits[code >> 4], digits[code & 15U]);
    }
  }
  return text + "'";
}

[[nodiscard]] inline bool starts_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
}

}  // namespace detail

/// Decodes a PNG or JPEG from memory, told apart by its first bytes; `path` is named in errors. Throws
/// `ImageError`.
[[nodiscard]] inline AnyImage decode_image(std::span<const std::byte> bytes, const std::string& path,
                                           const ReadOptions& options = {}) {
  if (detail::starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, path, options);
  if (detail::starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes, path, options);
  if (bytes.empty()) throw ImageError(path, "is empty; expected a PNG or JPEG file");
  throw ImageError(path, join("not a PNG or JPEG file (starts with ", detail::first_bytes_text(bytes), ")"));
}

/// Reads a PNG or JPEG file whatever its name ends in.
///
/// Throws `ImageError`, which loaders report and skip, for anything that keeps this one image from being
/// used: the file is missing, truncated, damaged, of another kind, too large, or its channels cannot be
/// converted. Test: tests/io/image_file.cpp.
[[nodiscard]] inline AnyImage read_image(const std::string& path, const ReadOptions& options = {}) {
  return decode_image(detail::read_image_bytes(path, options), path, options);
}

}  // namespace dssl
