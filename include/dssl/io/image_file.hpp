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
#include <dssl/io/tiff_directories.hpp>
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

/// The file that an image's name stands for, opened once: its first bytes say how it is read.
class ImageInput {
 public:
  /// `name` outlives this. Throws `ImageError`, also where a further page is asked for of what is no TIFF.
  explicit ImageInput(const std::string& name)
      : x_name(name),
        x_place(place_of_image(name)),
        x_path(x_place.file),
        x_file(as_image(name, [this] { return open_to_read(x_size, x_path); })),
        x_tiff(detail::is_tiff(first(4))) {
    if (x_place.page > 1 && !x_tiff) throw ImageError(x_name, "is a page of a file that is no TIFF; expected one");
  }

  [[nodiscard]] bool is_tiff() const { return x_tiff; }
  [[nodiscard]] std::size_t size() const { return x_size; }
  /// Throws `ImageError`.
  [[nodiscard]] std::vector<std::byte> first(std::size_t most) const {
    return as_image(x_name, [&] { return first_bytes(most, x_size, x_file, x_path); });
  }
  /// Throws `ImageError`, also where there are more than `options` allow.
  [[nodiscard]] std::vector<std::byte> all(const ReadOptions& options) const {
    check_file_size(x_name, x_size, options);
    return first(x_size);
  }
#ifdef DSSL_WITH_TIFF
  /// The page of the TIFF that it is, of which what is asked for is read. Throws `ImageError`.
  [[nodiscard]] TiffReader tiff(const ReadOptions& options) && {
    return TiffReader(TiffInput(x_path, x_size, std::move(x_file)), x_name, options, x_place.page);
  }
#endif

 private:
  const std::string& x_name;
  ImagePlace x_place;
  std::string x_path;
  std::size_t x_size = 0;
  FileDescriptor x_file;
  bool x_tiff = false;
};

/// What the first bytes of a file of `size` bytes say of its picture's sides, as it is shown. Throws `ImageError` where they end
/// before that is said, or say what is refused.
[[nodiscard]] inline ImageExtent extent_of_header(std::span<const std::byte> bytes, std::size_t size, const std::string& path,
                                                  const ReadOptions& options) {
  const auto shown = [&](std::uint64_t height, std::uint64_t width, std::uint64_t pixel_bytes, Orientation orientation) {
    check_image_size(path, height, width, pixel_bytes, options);
    if (options.orient && swaps_sides(orientation)) std::swap(height, width);
    return ImageExtent{static_cast<Index>(height), static_cast<Index>(width)};
  };
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) {
    PngReader reader(bytes, path);
    reader.read_header();
    return shown(reader.height(), reader.width(), reader.pixel_bytes(), reader.orientation());
  }
  if (starts_with(bytes, "\xff\xd8\xff")) {
    JpegReader reader(path);
    reader.read_header(bytes);
    return shown(reader.height(), reader.width(), static_cast<std::uint64_t>(reader.channels()), reader.orientation());
  }
  if (is_netpbm(bytes)) {
    const NetpbmText::Head head = NetpbmText(bytes, path).head();
    return shown(head.height, head.width, head.pixel_bytes(), Orientation::as_stored);
  }
  if (is_bmp(bytes)) {
    const BmpHeader header(bytes, size, path, options);
    return shown(header.height, header.width, BmpHeader::pixel_bytes, Orientation::as_stored);
  }
#ifdef DSSL_WITH_WEBP
  if (is_webp(bytes)) {
    const WebPBitstreamFeatures features = webp_features(bytes, path);
    return shown(static_cast<std::uint64_t>(features.height), static_cast<std::uint64_t>(features.width),
                 static_cast<std::uint64_t>(webp_channels(features, options)), webp_orientation(bytes, path));
  }
#endif
  throw ImageError(path, join("not a ", read_kinds, " file (starts with ", first_bytes_text(bytes), ")"));
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

/// Reads a file of any kind that `decode_image` knows, whatever its name ends in; of a TIFF the first page, or by the name
/// "scan.tif, page 2" (`place_of_image`) another, without the others: of a TIFF the page's parts alone are read.
///
/// Throws `ImageError`, which loaders report and skip, for anything that keeps this one image from being
/// used: the file is missing, truncated, damaged, of another kind, too large, has no such page, or its channels cannot be
/// converted. Test: tests/io/image_file.cpp, tests/io/tiff_pages.cpp.
[[nodiscard]] inline AnyImage read_image(const std::string& path, const ReadOptions& options = {}) {
  return detail::within_memory(path, [&]() -> AnyImage {
    detail::ImageInput input(path);
#ifdef DSSL_WITH_TIFF
    if (input.is_tiff()) {
      detail::TiffReader reader = std::move(input).tiff(options);
      return detail::tiff_image(reader, path, options, false);
    }
#endif
    return decode_image(input.all(options), path, options);
  });
}

/// Height and width of the image that `read_image` gives, without decoding it: what its header says.
///
/// Throws `ImageError` where there is no header that says it, and where file or pixels are larger than the options allow. The
/// pixels may still be damaged, or a JPEG be of channels that cannot be converted. Cost: of a TIFF the page's directory, else
/// the first 64 KiB of the file, and all of it only where the header is longer, or of a WebP. Test: tests/io/image_file.cpp.
[[nodiscard]] inline ImageExtent read_image_extent(const std::string& path, const ReadOptions& options = {}) {
  return detail::within_memory(path, [&]() -> ImageExtent {
    detail::ImageInput input(path);
#ifdef DSSL_WITH_TIFF
    if (input.is_tiff()) {
      const detail::TiffReader reader = std::move(input).tiff(options);
      const auto [height, width] = reader.extent();
      const bool turned = options.orient && swaps_sides(reader.orientation());
      return turned ? ImageExtent{width, height} : ImageExtent{height, width};
    }
#endif
    constexpr std::size_t usual_header = std::size_t{1} << 16;
    detail::check_file_size(path, input.size(), options);
    const std::vector<std::byte> first = input.first(usual_header);
    try {
      return detail::extent_of_header(first, input.size(), path, options);
    } catch (const ImageError&) {  // it may say more further on
      if (first.size() == input.size()) throw;
      return detail::extent_of_header(input.all(options), input.size(), path, options);
    }
  });
}

}  // namespace dssl
