// PNG files: images of 8 and 16 bits, and masks whose pixels are palette indices.
// Tests: tests/io/png.cpp.
#pragma once

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <png.h>

#include <dssl/core/class_colour.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/orientation.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// Colours of the indices of a mask: RGB, at most 256.
using Palette = std::vector<std::array<std::uint8_t, 3>>;

/// The colours the VOC data sets give to class ids.
[[nodiscard]] inline Palette voc_palette() {
  Palette palette;
  for (unsigned id = 0; id < 256; ++id) palette.push_back(class_colour(static_cast<std::uint8_t>(id)));
  return palette;
}

namespace detail {

/// What libpng tells through C callbacks: the message of the error that stopped it.
struct PngMessage {
  std::array<char, 128> text{};

  [[noreturn]] static void error(png_structp png, png_const_charp message) {
    auto* const self = static_cast<PngMessage*>(png_get_error_ptr(png));
    std::snprintf(self->text.data(), self->text.size(), "%s", message);
    png_longjmp(png, 1);
  }
  static void warning(png_structp, png_const_charp) {}
};

/// A PNG being decoded from memory.
///
/// libpng leaves by longjmp, which runs no destructors: every function that sets the jump point holds only
/// plain values, and all memory belongs to the caller or to this object.
class PngReader {
 public:
  PngReader(std::span<const std::byte> bytes, std::string_view path) : x_rest(bytes), x_path(path) {
    x_png =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, &x_message, &PngMessage::error, &PngMessage::warning);
    if (x_png == nullptr) throw ImageError(path, "libpng cannot start");
    x_info = png_create_info_struct(x_png);
    if (x_info == nullptr) {
      png_destroy_read_struct(&x_png, nullptr, nullptr);
      throw ImageError(path, "libpng cannot start");
    }
    png_set_read_fn(x_png, this, &PngReader::give);
    // The caller limits the number of pixels; libpng's own limit on each side would refuse long strips.
    png_set_user_limits(x_png, 0x7FFFFFFF, 0x7FFFFFFF);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&x_png, &x_info, nullptr); }

  void read_header() {
    require_whole_chunks();
    check(try_header());
  }

  [[nodiscard]] std::uint32_t height() const { return png_get_image_height(x_png, x_info); }
  [[nodiscard]] std::uint32_t width() const { return png_get_image_width(x_png, x_info); }
  [[nodiscard]] int depth() const { return png_get_bit_depth(x_png, x_info); }
  [[nodiscard]] int colour_type() const { return png_get_color_type(x_png, x_info); }
  [[nodiscard]] int channels() const { return png_get_channels(x_png, x_info); }
  /// Bytes of a pixel when it is decoded: a palette's colours have three.
  [[nodiscard]] std::uint64_t pixel_bytes() const {
    const int values = colour_type() == PNG_COLOR_TYPE_PALETTE ? 4 : channels();
    return static_cast<std::uint64_t>(values * (depth() == 16 ? 2 : 1));
  }
  /// Pixels that a byte of the file holds at most: deflate makes no byte of more than 1032.
  [[nodiscard]] std::uint64_t pixels_a_byte() const {
    const int bits = depth() * channels();
    return 1032 * 8 / static_cast<std::uint64_t>(bits);
  }
  /// Whether pixels are indices of a palette, or greys of at most 8 bits.
  [[nodiscard]] bool holds_indices() const {
    return (colour_type() == PNG_COLOR_TYPE_PALETTE || colour_type() == PNG_COLOR_TYPE_GRAY) && depth() <= 8;
  }
  [[nodiscard]] std::size_t row_bytes() const { return png_get_rowbytes(x_png, x_info); }

  /// As the file's EXIF data says, where it lies before the pixels.
  [[nodiscard]] Orientation orientation() const {
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 count = 0;
    png_bytep data = nullptr;
    if (png_get_eXIf_1(x_png, x_info, &count, &data) != 0) {
      return exif_orientation({reinterpret_cast<const std::byte*>(data), count});
    }
#endif
    return Orientation::as_stored;
  }

  [[nodiscard]] Palette palette() const {
    png_colorp colours = nullptr;
    int count = 0;
    png_get_PLTE(x_png, x_info, &colours, &count);
    Palette palette;
    for (int i = 0; i < count; ++i) palette.push_back({colours[i].red, colours[i].green, colours[i].blue});
    return palette;
  }

  /// Asks for whole samples: palettes and short greys expanded, or indices one a byte.
  void set_up(bool expand, bool keep_alpha) { check(try_set_up(expand, keep_alpha)); }

  /// Decodes all rows into `pixels`, whose rows follow each other without gaps.
  void read_rows(std::uint8_t* pixels) {
    std::vector<png_bytep> rows(height());
    for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = pixels + y * row_bytes();
    check(try_rows(rows.data()));
  }

 private:
  /// Throws `ImageError` where a chunk before the pixels is longer than the file: libpng asks for its memory first, up to
  /// 2 GiB for EXIF data, and finds that the file has ended then.
  void require_whole_chunks() const {
    const auto byte = [&](std::size_t i) { return std::to_integer<std::uint32_t>(x_rest[i]); };
    constexpr std::size_t magic = 8;
    constexpr std::size_t frame = 12;  // length, name, and the check sum behind the data
    for (std::size_t at = magic; at + 8 <= x_rest.size();) {
      const std::size_t length = byte(at) << 24U | byte(at + 1) << 16U | byte(at + 2) << 8U | byte(at + 3);
      if (std::memcmp(x_rest.data() + at + 4, "IDAT", 4) == 0) return;
      if (length + frame > x_rest.size() - at)
        throw ImageError(x_path, join("damaged PNG: truncated, or a chunk of ", length, " bytes in a file of ", x_rest.size()));
      at += frame + length;
    }
  }

  static void give(png_structp png, png_bytep out, std::size_t count) {
    auto* const self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->x_rest.size()) png_error(png, "the file is truncated");
    std::memcpy(out, self->x_rest.data(), count);
    self->x_rest = self->x_rest.subspan(count);
  }

  [[nodiscard]] bool try_header() {
    if (setjmp(png_jmpbuf(x_png)) != 0) return false;
    png_read_info(x_png, x_info);
    return true;
  }

  [[nodiscard]] bool try_set_up(bool expand, bool keep_alpha) {
    if (setjmp(png_jmpbuf(x_png)) != 0) return false;
    if (expand) {
      png_set_expand(x_png);
      if (!keep_alpha) png_set_strip_alpha(x_png);
      png_set_swap(x_png);  // the file's 16-bit samples are big-endian
    } else {
      png_set_packing(x_png);
    }
    png_set_interlace_handling(x_png);
    png_read_update_info(x_png, x_info);
    return true;
  }

  [[nodiscard]] bool try_rows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(x_png)) != 0) return false;
    png_read_image(x_png, rows);
    png_read_end(x_png, nullptr);
    return true;
  }

  void check(bool done) const {
    if (!done) throw ImageError(x_path, join("damaged PNG: ", x_message.text.data()));
  }

  std::span<const std::byte> x_rest;
  std::string_view x_path;
  PngMessage x_message;
  png_structp x_png = nullptr;
  png_infop x_info = nullptr;
};

/// A PNG being encoded to memory; the same rule about longjmp as in `PngReader`.
class PngWriter {
 public:
  PngWriter() {
    x_png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, &x_message, &PngMessage::error, &PngMessage::warning);
    if (x_png == nullptr) throw Error("libpng cannot start");
    x_info = png_create_info_struct(x_png);
    if (x_info == nullptr) {
      png_destroy_write_struct(&x_png, nullptr);
      throw Error("libpng cannot start");
    }
    png_set_write_fn(x_png, this, &PngWriter::take, nullptr);
    png_set_user_limits(x_png, 0x7FFFFFFF, 0x7FFFFFFF);
  }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
  ~PngWriter() { png_destroy_write_struct(&x_png, &x_info); }

  /// Encodes rows of `stride` bytes that follow each other.
  [[nodiscard]] std::vector<std::byte> encode(const std::uint8_t* pixels, std::size_t stride, Index height,
                                              Index width, int depth, int colour_type,
                                              const Palette& palette) {
    std::vector<png_bytep> rows(static_cast<std::size_t>(height));
    // libpng takes mutable rows but does not change them.
    for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = const_cast<png_bytep>(pixels + y * stride);
    std::vector<png_color> colours;
    for (const auto& c : palette) colours.push_back({c[0], c[1], c[2]});
    if (!try_encode(rows.data(), height, width, depth, colour_type, colours.data(),
                    static_cast<int>(colours.size()))) {
      throw Error(join("cannot encode PNG: ", x_message.text.data()));
    }
    return std::move(x_bytes);
  }

 private:
  static void take(png_structp png, png_bytep data, std::size_t count) {
    auto* const self = static_cast<PngWriter*>(png_get_io_ptr(png));
    bool grown = true;
    try {
      const auto* const first = reinterpret_cast<const std::byte*>(data);
      self->x_bytes.insert(self->x_bytes.end(), first, first + count);
    } catch (...) {
      grown = false;  // an exception must not cross libpng's frames
    }
    if (!grown) png_error(png, "out of memory");
  }

  [[nodiscard]] bool try_encode(png_bytepp rows, Index height, Index width, int depth, int colour_type,
                                png_const_colorp colours, int colour_count) {
    if (setjmp(png_jmpbuf(x_png)) != 0) return false;
    png_set_IHDR(x_png, x_info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), depth,
                 colour_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (colour_count > 0) png_set_PLTE(x_png, x_info, colours, colour_count);
    png_write_info(x_png, x_info);
    if (depth == 16) png_set_swap(x_png);
    png_write_image(x_png, rows);
    png_write_end(x_png, nullptr);
    return true;
  }

  PngMessage x_message;
  png_structp x_png = nullptr;
  png_infop x_info = nullptr;
  std::vector<std::byte> x_bytes;
};

}  // namespace detail

/// Decodes a PNG from memory; `path` is named in errors.
///
/// 16-bit files give 16-bit images, with `options.white` as white; all others 8-bit: 1-, 2- and 4-bit greys are
/// spread over 0..255 and palettes are expanded to RGB. Transparency is dropped unless `options.keep_alpha`; the
/// orientation of EXIF data is applied unless `options.orient` is off. Throws `ImageError`.
[[nodiscard]] inline AnyImage decode_png(std::span<const std::byte> bytes, const std::string& path,
                                         const ReadOptions& options = {}) {
  return detail::within_memory(path, [&] {
    detail::PngReader reader(bytes, path);
    reader.read_header();
    detail::check_image_size(path, reader.height(), reader.width(), reader.pixel_bytes(), options);
    detail::check_pixels_follow(path, reader.height(), reader.width(), reader.pixels_a_byte(), bytes.size());
    reader.set_up(true, options.keep_alpha);
    const auto read = [&]<class T>(Image<T> image) -> AnyImage {
      reader.read_rows(reinterpret_cast<std::uint8_t*>(image.pixels().data()));
      if constexpr (std::is_same_v<T, std::uint16_t>) detail::stretch_to_white(image, options.white);
      if (options.orient) image = oriented(std::move(image), reader.orientation());
      return with_channels(std::move(image), options.channels, path);
    };
    const Index height = reader.height();
    const Index width = reader.width();
    if (reader.depth() == 16) return read(Image<std::uint16_t>(height, width, reader.channels()));
    return read(Image<std::uint8_t>(height, width, reader.channels()));
  });
}

/// Reads a PNG file; see `decode_png`. A file that cannot be opened is an `ImageError` too.
[[nodiscard]] inline AnyImage read_png(const std::string& path, const ReadOptions& options = {}) {
  return decode_png(detail::read_image_bytes(path, options), path, options);
}

/// Decodes a mask: one index a pixel, (H,W,1), from a palette PNG or a grey PNG of at most 8 bits, never
/// expanded; turned by its EXIF data where it has any. Throws `ImageError` for damaged files and for colour or
/// 16-bit images.
[[nodiscard]] inline Image<std::uint8_t> decode_png_indices(std::span<const std::byte> bytes, const std::string& path,
                                                            const ReadOptions& options = {}) {
  return detail::within_memory(path, [&] {
    detail::PngReader reader(bytes, path);
    reader.read_header();
    detail::check_image_size(path, reader.height(), reader.width(), 1, options);
    detail::check_pixels_follow(path, reader.height(), reader.width(), reader.pixels_a_byte(), bytes.size());
    if (!reader.holds_indices()) {
      throw ImageError(path, join("is a ", reader.depth(), "-bit image of ", reader.channels(),
                                  " channels; expected a mask: a palette or grey PNG of at most 8 bits"));
    }
    reader.set_up(false, false);
    Image<std::uint8_t> mask(reader.height(), reader.width(), 1);
    reader.read_rows(mask.pixels().data());
    return options.orient ? oriented(std::move(mask), reader.orientation()) : std::move(mask);
  });
}

/// Reads a mask; see `decode_png_indices`. `read_mask` understands masks of other kinds too.
[[nodiscard]] inline Image<std::uint8_t> read_png_indices(const std::string& path,
                                                          const ReadOptions& options = {}) {
  return decode_png_indices(detail::read_image_bytes(path, options), path, options);
}

/// The palette of a PNG file; empty if it has none. Throws `ImageError`.
[[nodiscard]] inline Palette read_png_palette(const std::string& path) {
  const std::vector<std::byte> bytes = detail::read_image_bytes(path, {});
  detail::PngReader reader(bytes, path);
  reader.read_header();
  return reader.palette();
}

/// An 8- or 16-bit image of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels as a PNG in memory.
/// Throws `ShapeError` for other numbers of channels.
template <PixelType T>
  requires(!std::is_same_v<T, float>)
[[nodiscard]] std::vector<std::byte> encode_png(const Image<T>& image) {
  constexpr std::array<int, 4> types{PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                     PNG_COLOR_TYPE_RGB_ALPHA};
  const Index channels = image.channels();
  require_shape(channels >= 1 && channels <= 4, "a PNG holds 1 to 4 channels; the image has ", channels);
  const auto stride = static_cast<std::size_t>(image.width() * channels) * sizeof(T);
  return detail::PngWriter().encode(reinterpret_cast<const std::uint8_t*>(image.pixels().data()), stride,
                                    image.height(), image.width(), 8 * static_cast<int>(sizeof(T)),
                                    types[static_cast<std::size_t>(channels - 1)], {});
}

/// A mask (H,W,1) as a palette PNG in memory.
/// Throws `ShapeError` if it has more than one channel or an index without a colour.
[[nodiscard]] inline std::vector<std::byte> encode_png_indices(const Image<std::uint8_t>& mask,
                                                               const Palette& palette = voc_palette()) {
  require_shape(mask.channels() == 1, "a mask has one channel; this image has ", mask.channels());
  require_shape(!palette.empty() && palette.size() <= 256, "a palette has 1 to 256 colours; this one has ",
                palette.size());
  for (const std::uint8_t index : mask.pixels()) {
    require_shape(index < palette.size(), "the mask has the index ", +index, ", the palette ", palette.size(),
                  " colours");
  }
  return detail::PngWriter().encode(mask.pixels().data(), static_cast<std::size_t>(mask.width()),
                                    mask.height(), mask.width(), 8, PNG_COLOR_TYPE_PALETTE, palette);
}

/// Writes an image as a PNG file, whole or not at all. Throws `FileError`, and as `encode_png`.
template <PixelType T>
  requires(!std::is_same_v<T, float>)
void write_png(const std::string& path, const Image<T>& image) { write_bytes(path, encode_png(image)); }

/// Writes a mask as a palette PNG file, whole or not at all. Throws `FileError`, and as `encode_png_indices`.
inline void write_png_indices(const std::string& path, const Image<std::uint8_t>& mask,
                              const Palette& palette = voc_palette()) {
  write_bytes(path, encode_png_indices(mask, palette));
}

}  // namespace dssl
