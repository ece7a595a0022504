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
#include <dssl/io/bmp.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/jpeg.hpp>
#include <dssl/io/netpbm.hpp>
#include <dssl/io/png.hpp>
#ifdef DSSL_WITH_TIFF
#include <dssl/io/tiff.hpp>
#endif
#ifdef DSSL_WITH_WEBP
#include <dssl/io/webp.hpp>
#endif
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

/// The kinds of image files that this build reads, for messages.
inline constexpr std::string_view read_kinds = "PNG, JPEG, "
#ifdef DSSL_WITH_TIFF
                                               "TIFF, "
#endif
#ifdef DSSL_WITH_WEBP
                                               "WebP, "
#endif
                                               "BMP, PGM, PPM or PFM";

/// The endings of their names, in lower case, the usual ones first.
inline constexpr std::array read_endings = std::to_array<std::string_view>(
    {".jpg", ".png", ".jpeg", ".jfif", ".jpe", ".bmp", ".dib", ".pgm", ".ppm", ".pnm", ".pfm",
#ifdef DSSL_WITH_TIFF
     ".tif", ".tiff",
#endif
#ifdef DSSL_WITH_WEBP
     ".webp",
#endif
    });

/// Also of the kind for more than 4 GiB.
[[nodiscard]] inline bool is_tiff(std::span<const std::byte> bytes) {
  return starts_with(bytes, {"II*\0", 4}) || starts_with(bytes, {"MM\0*", 4}) || starts_with(bytes, {"II+\0", 4}) ||
         starts_with(bytes, {"MM\0+", 4});
}
[[nodiscard]] inline bool is_webp(std::span<const std::byte> bytes) {
  return starts_with(bytes, "RIFF") && bytes.size() >= 12 && starts_with(bytes.subspan(8), "WEBP");
}

/// The kind of an image file of a kind that is known and never read; empty for everything else.
[[nodiscard]] inline std::string_view unread_kind(std::span<const std::byte> bytes) {
  if (starts_with(bytes, "GIF8")) return "GIF";
  if (starts_with(bytes, "P1") || starts_with(bytes, "P4")) return "PBM";
  if (starts_with(bytes, "P7\n")) return "PAM";
  return {};
}

}  // namespace detail

/// Decodes a PNG, JPEG, BMP, PGM, PPM or PFM from memory, and a TIFF or WebP where the build has their libraries, told
/// apart by its first bytes; `path` is named in errors. Throws `ImageError`; of GIF, PBM and PAM it names the kind, of TIFF
/// and WebP that are not read the library that reads them.
[[nodiscard]] inline AnyImage decode_image(std::span<const std::byte> bytes, const std::string& path,
                                           const ReadOptions& options = {}) {
  if (detail::starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, path, options);
  if (detail::starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes, path, options);
  if (detail::is_netpbm(bytes)) return decode_netpbm(bytes, path, options);
  if (detail::is_bmp(bytes)) return decode_bmp(bytes, path, options);
  if (detail::is_tiff(bytes)) {
#ifdef DSSL_WITH_TIFF
    return decode_tiff(bytes, path, options);
#else
    throw ImageError(path, join("is a TIFF file, and this build is without libtiff 4.5 (package libtiff-dev of Debian and Ubuntu); expected ",
                                detail::read_kinds));
#endif
  }
  if (detail::is_webp(bytes)) {
#ifdef DSSL_WITH_WEBP
    return decode_webp(bytes, path, options);
#else
    throw ImageError(path, join("is a WebP file, and this build is without libwebp (package libwebp-dev of Debian and Ubuntu); expected ",
                                detail::read_kinds));
#endif
  }
  if (bytes.empty()) throw ImageError(path, join("is empty; expected a ", detail::read_kinds, " file"));
  if (const std::string_view kind = detail::unread_kind(bytes); !kind.empty()) {
    throw ImageError(path, join("is a ", kind, " file, a kind that is not read; expected ", detail::read_kinds));
  }
  throw ImageError(path, join("not a ", detail::read_kinds, " file (starts with ", detail::first_bytes_text(bytes), ")"));
}

/// Reads a file of any kind that `decode_image` knows, whatever its name ends in.
///
/// Throws `ImageError`, which loaders report and skip, for anything that keeps this one image from being
/// used: the file is missing, truncated, damaged, of another kind, too large, or its channels cannot be
/// converted. Test: tests/io/image_file.cpp.
[[nodiscard]] inline AnyImage read_image(const std::string& path, const ReadOptions& options = {}) {
  return decode_image(detail::read_image_bytes(path, options), path, options);
}

}  // namespace dssl
