// Image files of any known kind: the first bytes decide, not the name.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/io/bmp.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/jpeg.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/netpbm.hpp>
#include <dssl/io/orientation.hpp>
#include <dssl/io/page_name.hpp>
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

/// Throws `ImageError` where a further page is asked for of what is no TIFF.
inline void require_pages(const ImagePlace& place, std::span<const std::byte> bytes, const std::string& path) {
  if (place.page > 1 && !is_tiff(bytes)) throw ImageError(path, "is a page of a file that is no TIFF; expected one");
}

/// What the first bytes of a file of `size` bytes say of its picture's sides, as it is shown. Throws `ImageError` where they end
/// before that is said, or say what is refused.
[[nodiscard]] inline ImageExtent extent_of_header(std::span<const std::byte> bytes, std::size_t size, const std::string& path,
                                                  const ReadOptions& options) {
  const auto shown = [&](std::uint64_t height, std::uint64_t width, Orientation orientation) {
    check_image_size(path, height, width, 1, options);
    if (options.orient && swaps_sides(orientation)) std::swap(height, width);
    return ImageExtent{static_cast<Index>(height), static_cast<Index>(width)};
  };
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) {
    PngReader reader(bytes, path);
    reader.read_header();
    return shown(reader.height(), reader.width(), reader.orientation());
  }
  if (starts_with(bytes, "\xff\xd8\xff")) {
    JpegReader reader(path);
    reader.read_header(bytes);
    return shown(reader.height(), reader.width(), reader.orientation());
  }
  if (is_netpbm(bytes)) {
    const auto [kind, height, width] = NetpbmText(bytes, path).head();
    return shown(height, width, Orientation::as_stored);
  }
  if (is_bmp(bytes)) {
    const BmpHeader header(bytes, size, path, options);
    return shown(header.height, header.width, Orientation::as_stored);
  }
#ifdef DSSL_WITH_WEBP
  if (is_webp(bytes)) {
    const WebPBitstreamFeatures features = webp_features(bytes, path);
    return shown(static_cast<std::uint64_t>(features.height), static_cast<std::uint64_t>(features.width),
                 webp_orientation(bytes, path));
  }
#endif
  throw ImageError(path, join("not a ", read_kinds, " file (starts with ", first_bytes_text(bytes), ")"));
}

#ifdef DSSL_WITH_TIFF
/// Whether a file is a TIFF of which one page can be read without the others.
[[nodiscard]] inline bool is_tiff_file(const std::string& file) {
  std::size_t size = 0;
  return may_have_pages(file) && is_tiff(read_first_bytes(size, file, 4));
}
#endif

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

/// Reads a file of any kind that `decode_image` knows, whatever its name ends in; of a TIFF the first page, or by the name
/// "scan.tif, page 2" (`place_of_image`) another, without the others: of a name with a TIFF's ending the page's parts alone are read.
///
/// Throws `ImageError`, which loaders report and skip, for anything that keeps this one image from being
/// used: the file is missing, truncated, damaged, of another kind, too large, has no such page, or its channels cannot be
/// converted. Test: tests/io/image_file.cpp, tests/io/tiff_pages.cpp.
[[nodiscard]] inline AnyImage read_image(const std::string& path, const ReadOptions& options = {}) {
  const ImagePlace place = place_of_image(path);
  const std::string file(place.file);
  return detail::as_image(path, [&]() -> AnyImage {
#ifdef DSSL_WITH_TIFF
    if (detail::is_tiff_file(file)) {
      detail::TiffReader reader(detail::TiffInput(file), path, options, place.page);
      return detail::tiff_image(reader, path, options, false);
    }
#endif
    const std::vector<std::byte> bytes = detail::read_image_bytes(file, options);
    detail::require_pages(place, bytes, path);
    return decode_image(bytes, path, options);
  });
}

/// Height and width of the image that `read_image` gives, without decoding it: what its header says.
///
/// Throws `ImageError` where there is no header that says it. The pixels may still be damaged, or a JPEG be of channels
/// that cannot be converted. Cost: the first 64 KiB of the file, and all of it only where the header is longer, or of a WebP.
/// Test: tests/io/image_file.cpp.
[[nodiscard]] inline ImageExtent read_image_extent(const std::string& path, const ReadOptions& options = {}) {
  const ImagePlace place = place_of_image(path);
  const std::string file(place.file);
  return detail::as_image(path, [&]() -> ImageExtent {
#ifdef DSSL_WITH_TIFF
    if (detail::is_tiff_file(file)) {
      const detail::TiffReader reader(detail::TiffInput(file), path, options, place.page);
      const auto [height, width] = reader.extent();
      const bool turned = options.orient && swaps_sides(reader.orientation());
      return turned ? ImageExtent{width, height} : ImageExtent{height, width};
    }
#endif
    constexpr std::size_t usual_header = std::size_t{1} << 16;
    std::size_t size = 0;
    const std::vector<std::byte> first = detail::read_first_bytes(size, file, usual_header);
    detail::require_pages(place, first, path);
    if (first.size() == size) return detail::extent_of_header(first, size, path, options);
    try {
      return detail::extent_of_header(first, size, path, options);
    } catch (const ImageError&) {  // it may say more further on
      return detail::extent_of_header(detail::read_image_bytes(file, options), size, path, options);
    }
  });
}

}  // namespace dssl
