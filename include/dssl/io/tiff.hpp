// TIFF files through libtiff (4.5 or newer, which keeps what it says to each file): one page of a file at a time.
// Tests: tests/io/tiff.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tiffio.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/orientation.hpp>
#include <dssl/io/tiff_directories.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// What libtiff says of one file, which it would print otherwise: the first error, and the first warning.
struct TiffMessages {
  std::array<char, 256> error{};
  std::array<char, 256> warning{};

  static int keep_error(TIFF*, void* self, const char*, const char* format, std::va_list values) {
    keep(static_cast<TiffMessages*>(self)->error, format, values);
    return 1;  // said: the handler of the whole process is not asked
  }
  static int keep_warning(TIFF*, void* self, const char*, const char* format, std::va_list values) {
    keep(static_cast<TiffMessages*>(self)->warning, format, values);
    return 1;
  }

 private:
  static void keep(std::array<char, 256>& text, const char* format, std::va_list values) {
    if (text[0] == '\0') std::vsnprintf(text.data(), text.size(), format, values);
  }
};

struct TiffFree {
  void operator()(TIFF* file) const { TIFFClose(file); }
  void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
};
using TiffFile = std::unique_ptr<TIFF, TiffFree>;

/// How a TIFF is opened: what is said goes to `messages`, and no block of memory is larger than `largest`.
[[nodiscard]] inline std::unique_ptr<TIFFOpenOptions, TiffFree> tiff_open_options(TiffMessages& messages, Index largest) {
  std::unique_ptr<TIFFOpenOptions, TiffFree> options(TIFFOpenOptionsAlloc());
  if (options) {
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), &TiffMessages::keep_error, &messages);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), &TiffMessages::keep_warning, &messages);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), static_cast<tmsize_t>(largest));
  }
  return options;
}

/// A page of a TIFF, from 1: its header, checked, and its samples.
///
/// libtiff calls back to read; nothing that it calls throws.
class TiffReader {
 public:
  /// Throws `ImageError`. `path` is named in it and outlives this.
  TiffReader(TiffInput input, std::string_view path, const ReadOptions& options, Index page = 1)
      : x_input(std::move(input)), x_path(path) {
    const auto how = tiff_open_options(x_messages, options.largest_bytes);
    if (how) {
      // "m": read by calls. A map would be trusted beyond what is checked here. "h": a damaged first page is no other's matter.
      x_file.reset(TIFFClientOpenExt("TIFF", page == 1 ? "rm" : "rmh", this, &TiffReader::give, &TiffReader::take, &TiffReader::seek,
                                     &TiffReader::close, &TiffReader::size, nullptr, nullptr, how.get()));
    }
    if (!x_file) fail("cannot be opened");
    if (page > 1) find_page(page);
    read_header(options);
  }
  TiffReader(const TiffReader&) = delete;
  TiffReader& operator=(const TiffReader&) = delete;

  [[nodiscard]] bool has_palette() const { return x_photometric == PHOTOMETRIC_PALETTE; }
  [[nodiscard]] bool is_grey() const {
    return x_photometric == PHOTOMETRIC_MINISBLACK || x_photometric == PHOTOMETRIC_MINISWHITE;
  }
  /// Whether 0 is the lightest value.
  [[nodiscard]] bool is_inverted() const { return x_photometric == PHOTOMETRIC_MINISWHITE; }
  [[nodiscard]] bool is_float() const { return x_format == SAMPLEFORMAT_IEEEFP; }
  /// Whether values are a JPEG's, which are not what was written.
  [[nodiscard]] bool is_jpeg() const { return x_compression == COMPRESSION_JPEG; }
  [[nodiscard]] bool has_alpha() const { return x_samples > colours(); }
  /// Samples of a pixel beside its transparency: an index, a grey, or red, green and blue.
  [[nodiscard]] std::uint16_t colours() const { return is_grey() || has_palette() ? 1 : 3; }
  [[nodiscard]] unsigned bits() const { return x_bits; }
  [[nodiscard]] std::uint32_t largest() const { return (1U << x_bits) - 1; }

  /// Of the picture, before it is turned.
  [[nodiscard]] ImageExtent extent() const { return {x_height, x_width}; }
  [[nodiscard]] Orientation orientation() const {
    std::uint16_t value = 0;
    TIFFGetFieldDefaulted(x_file.get(), TIFFTAG_ORIENTATION, &value);
    return value >= 1 && value <= 8 ? static_cast<Orientation>(value) : Orientation::as_stored;
  }

  /// Colours of the indices of 8 bits.
  [[nodiscard]] std::vector<std::array<std::uint8_t, 3>> palette() const {
    std::array<std::uint16_t*, 3> columns{};
    if (TIFFGetField(x_file.get(), TIFFTAG_COLORMAP, &columns[0], &columns[1], &columns[2]) != 1) {
      fail("has no palette");
    }
    const std::size_t count = std::size_t{1} << x_bits;
    // 16 bits by the format; some programs write 8.
    const bool deep = std::any_of(columns.begin(), columns.end(), [&](const std::uint16_t* column) {
      return std::any_of(column, column + count, [](std::uint16_t v) { return v > 255; });
    });
    std::vector<std::array<std::uint8_t, 3>> out(count);
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t c = 0; c < 3; ++c) out[i][c] = static_cast<std::uint8_t>(deep ? columns[c][i] >> 8U : columns[c][i]);
    }
    return out;
  }

  /// The first `channels` samples of each pixel as they are stored: T of 8 or 16 bits holds them whole, float floats.
  template <PixelType T>
  [[nodiscard]] Image<T> samples(Index channels) {
    Image<T> image(x_height, x_width, channels);
    const auto wanted = static_cast<std::size_t>(channels);
    const std::size_t planes = x_separate ? wanted : 1;
    const std::size_t each = x_separate ? 1 : wanted;  // samples to take from a block's pixel
    const std::size_t in_block = x_separate ? 1 : x_samples;
    std::vector<std::uint8_t> block(block_row() * x_block_height);
    x_messages.warning[0] = '\0';
    for (std::size_t plane = 0; plane < planes; ++plane) {
      for (std::uint32_t top = 0; top < x_height; top += std::min(x_block_height, x_height - top)) {
        const std::uint32_t rows = std::min(x_block_height, x_height - top);
        for (std::uint32_t left = 0; left < x_width; left += std::min(x_block_width, x_width - left)) {
          const std::uint32_t columns = std::min(x_block_width, x_width - left);
          read_block(block, top, left, rows, static_cast<std::uint16_t>(plane));
          for (std::uint32_t y = 0; y < rows; ++y) {
            const std::uint8_t* const from = block.data() + y * block_row();
            T* const to = image.row(static_cast<Index>(top + y)) + left * wanted + plane;
            for (std::size_t x = 0; x < columns; ++x) {
              for (std::size_t c = 0; c < each; ++c) to[x * wanted + c] = sample<T>(from, x * in_block + c);
            }
          }
        }
      }
    }
    return image;
  }

  [[noreturn]] void fail(std::string_view problem) const {
    if (x_messages.error[0] != '\0') throw ImageError(x_path, join("damaged or unsupported TIFF: ", x_messages.error.data()));
    throw ImageError(x_path, join("is a TIFF that ", problem));
  }

 private:
  static tmsize_t give(thandle_t self, void* out, tmsize_t count) {
    auto& reader = *static_cast<TiffReader*>(self);
    if (count <= 0) return 0;
    const std::size_t given = reader.x_input.read(static_cast<std::byte*>(out), static_cast<std::size_t>(count), reader.x_at);
    reader.x_at += given;
    return static_cast<tmsize_t>(given);
  }
  static tmsize_t take(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t seek(thandle_t self, toff_t offset, int from) {
    auto& reader = *static_cast<TiffReader*>(self);
    const toff_t base = from == SEEK_SET ? 0 : from == SEEK_CUR ? reader.x_at : reader.x_input.size();
    return reader.x_at = base + offset;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t self) { return static_cast<TiffReader*>(self)->x_input.size(); }

  [[nodiscard]] std::uint16_t short_field(std::uint32_t tag) const {
    std::uint16_t value = 0;
    TIFFGetFieldDefaulted(x_file.get(), tag, &value);
    return value;
  }

  void find_page(Index page) {
    if (TIFFSetDirectory(x_file.get(), static_cast<tdir_t>(page - 1)) == 1) return;
    const TiffDirectories all = tiff_directories(x_input);
    if (const Index pages = all.size(); pages < page) {
      throw ImageError(x_path, all.damaged ? all.damage()
                                           : join("is a TIFF of ", pages, pages == 1 ? " page" : " pages", "; expected page ", page, " of it"));
    }
    fail(join("has a page ", page, " that cannot be read"));
  }

  void read_header(const ReadOptions& options) {
    TIFF* const file = x_file.get();
    TIFFGetField(file, TIFFTAG_IMAGELENGTH, &x_height);
    TIFFGetField(file, TIFFTAG_IMAGEWIDTH, &x_width);
    x_bits = short_field(TIFFTAG_BITSPERSAMPLE);
    x_samples = short_field(TIFFTAG_SAMPLESPERPIXEL);
    x_format = short_field(TIFFTAG_SAMPLEFORMAT);
    x_compression = short_field(TIFFTAG_COMPRESSION);
    x_separate = short_field(TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE && x_samples > 1;
    if (TIFFGetField(file, TIFFTAG_PHOTOMETRIC, &x_photometric) != 1) {
      x_photometric = x_samples < 3 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB;
    }
    check_kind();
    const std::uint64_t value_bytes = x_bits <= 8 ? 1 : x_bits <= 16 ? 2 : 4;
    check_image_size(x_path, x_height, x_width, (has_palette() ? 3 : x_samples) * value_bytes, options);
    check_pixels(x_height, x_width);
    if (is_jpeg() && x_photometric == PHOTOMETRIC_YCBCR) TIFFSetField(file, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    find_blocks(options);
  }

  /// Throws `ImageError` for what is not read.
  void check_kind() const {
    const bool ycbcr = x_photometric == PHOTOMETRIC_YCBCR && is_jpeg() && !x_separate;
    if (!is_grey() && !has_palette() && x_photometric != PHOTOMETRIC_RGB && !ycbcr) {
      fail(join("has colours of kind ", x_photometric, "; expected grey, RGB, a palette, or YCbCr in JPEG"));
    }
    if (x_samples != colours() && x_samples != colours() + 1) {
      fail(join("has ", x_samples, " values a pixel; expected ", colours(), ", and one more where there is transparency"));
    }
    if (is_float() ? x_bits != 32 || has_palette() || is_inverted() : x_format != SAMPLEFORMAT_UINT && x_format != SAMPLEFORMAT_VOID) {
      fail(join("has values of kind ", x_format, " and ", x_bits, " bits; expected unsigned whole numbers, or floats of 32 bits"));
    }
    constexpr std::array<unsigned, 8> depths{1, 2, 4, 8, 10, 12, 14, 16};
    if (!is_float() && (std::find(depths.begin(), depths.end(), x_bits) == depths.end() || (has_palette() && x_bits > 8))) {
      fail(join("has ", x_bits, " bits a value; expected 1, 2, 4, 8, 10, 12, 14 or 16, in a palette at most 8"));
    }
    if (is_jpeg() && x_bits != 8) fail(join("has a JPEG of ", x_bits, " bits; expected 8"));
    switch (x_compression) {
      case COMPRESSION_NONE:
      case COMPRESSION_PACKBITS:
      case COMPRESSION_LZW:
      case COMPRESSION_ADOBE_DEFLATE:
      case COMPRESSION_DEFLATE:
      case COMPRESSION_JPEG:
      case COMPRESSION_ZSTD:
      case COMPRESSION_CCITTRLE:
      case COMPRESSION_CCITTFAX3:
      case COMPRESSION_CCITTFAX4:
        if (TIFFIsCODECConfigured(x_compression) == 1) return;
        fail(join("is compressed by method ", x_compression, ", which the libtiff of this machine lacks"));
      default:
        fail(join("is compressed by method ", x_compression, "; expected none, PackBits, LZW, Deflate, JPEG, Zstandard or CCITT"));
    }
  }

  /// Throws `ImageError` where so many pixels cannot lie in the file.
  void check_pixels(std::uint64_t height, std::uint64_t width) const {
    const std::uint64_t bits = std::uint64_t{x_bits} * x_samples;
    const auto at_most = [&](std::uint64_t bytes_a_byte) { return std::max<std::uint64_t>(1, bytes_a_byte * 8 / bits); };
    std::uint64_t pixels_a_byte = at_most(1);
    switch (x_compression) {
      case COMPRESSION_PACKBITS: pixels_a_byte = at_most(64); break;   // two bytes: 128
      case COMPRESSION_LZW: pixels_a_byte = at_most(4096); break;      // twelve bits: a string of the table
      case COMPRESSION_ADOBE_DEFLATE:
      case COMPRESSION_DEFLATE: pixels_a_byte = at_most(1032); break;
      case COMPRESSION_ZSTD: pixels_a_byte = at_most(32768); break;    // four bytes: a block of 128 KiB
      case COMPRESSION_JPEG: pixels_a_byte = 1024; break;              // as of JPEG files
      case COMPRESSION_CCITTRLE:
      case COMPRESSION_CCITTFAX3:
      case COMPRESSION_CCITTFAX4: pixels_a_byte = 8 * width; break;    // one bit: a row like the last
      default: break;
    }
    check_pixels_follow(x_path, height, width, pixels_a_byte, x_input.size());
  }

  /// Sizes of strips or tiles, checked: each fits into memory, and the file holds what they take.
  void find_blocks(const ReadOptions& options) {
    TIFF* const file = x_file.get();
    x_tiled = TIFFIsTiled(file) != 0;
    x_block_height = x_height;
    x_block_width = x_width;
    if (x_tiled) {
      TIFFGetField(file, TIFFTAG_TILEWIDTH, &x_block_width);
      TIFFGetField(file, TIFFTAG_TILELENGTH, &x_block_height);
      const std::uint64_t value_bytes = (x_bits + 7) / 8;
      check_image_size(x_path, x_block_height, x_block_width, x_samples * value_bytes, options);
      check_pixels(x_block_height, x_block_width);
    } else {
      std::uint32_t rows = 0;
      TIFFGetFieldDefaulted(file, TIFFTAG_ROWSPERSTRIP, &rows);
      if (rows == 0) fail("has strips of 0 rows");
      x_block_height = std::min(rows, x_height);
    }
    const tmsize_t block = x_tiled ? TIFFTileSize(file) : TIFFStripSize(file);
    if (block <= 0 || static_cast<std::uint64_t>(block) != block_row() * x_block_height) {
      fail(join("has strips or tiles of ", block, " bytes; expected ", block_row() * x_block_height));
    }
    // Blocks that lie in the same bytes would let a small file be unpacked over and over.
    constexpr std::uint64_t most_times = 16;
    const std::uint32_t count = x_tiled ? TIFFNumberOfTiles(file) : TIFFNumberOfStrips(file);
    std::uint64_t taken = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      taken += std::min<std::uint64_t>(TIFFGetStrileByteCount(file, i), x_input.size());
      if (taken > most_times * x_input.size()) {
        fail(join("has ", count, " strips or tiles that take more than ", most_times, " times the file's ", x_input.size(), " bytes"));
      }
    }
  }

  /// Bytes of a row of a strip or tile.
  [[nodiscard]] std::size_t block_row() const {
    return (static_cast<std::size_t>(x_block_width) * (x_separate ? 1U : x_samples) * x_bits + 7) / 8;
  }

  void read_block(std::vector<std::uint8_t>& block, std::uint32_t top, std::uint32_t left, std::uint32_t rows, std::uint16_t plane) {
    TIFF* const file = x_file.get();
    const auto wanted = static_cast<tmsize_t>(block_row() * (x_tiled ? x_block_height : rows));
    const tmsize_t got = x_tiled ? TIFFReadEncodedTile(file, TIFFComputeTile(file, left, top, 0, plane), block.data(), wanted)
                                 : TIFFReadEncodedStrip(file, TIFFComputeStrip(file, top, plane), block.data(), wanted);
    if (got != wanted) fail(join("is truncated: the pixels from row ", top, ", column ", left, " are not there"));
    // libtiff only warns of damaged JPEG and fax data, and fills in. Bytes between segments touch no pixel, and LZW of old
    // writers is read as it was meant.
    const std::string_view warning = x_messages.warning.data();
    if (!warning.empty() && warning.find("extraneous bytes") == std::string_view::npos &&
        !warning.starts_with("Old-style LZW")) {
      throw ImageError(x_path, join("damaged TIFF: ", warning));
    }
  }

  /// Sample i of a row of a block, in the machine's byte order.
  template <PixelType T>
  [[nodiscard]] T sample(const std::uint8_t* row, std::size_t i) const {
    if (x_bits == 8 * sizeof(T)) {
      T value{};
      std::memcpy(&value, row + i * sizeof(T), sizeof(T));
      return value;
    }
    std::uint32_t value = 0;  // packed, the highest bit first
    for (std::size_t bit = i * x_bits; bit < (i + 1) * x_bits; ++bit) value = value << 1U | ((row[bit / 8] >> (7 - bit % 8)) & 1U);
    return static_cast<T>(value);
  }

  TiffInput x_input;
  std::string_view x_path;
  std::uint64_t x_at = 0;
  TiffMessages x_messages;
  std::uint32_t x_height = 0;
  std::uint32_t x_width = 0;
  unsigned x_bits = 0;
  std::uint16_t x_samples = 0;
  std::uint16_t x_format = 0;
  std::uint16_t x_compression = 0;
  std::uint16_t x_photometric = 0;
  bool x_separate = false;
  bool x_tiled = false;
  std::uint32_t x_block_height = 0;
  std::uint32_t x_block_width = 0;
  TiffFile x_file;  // last: closing it asks the rest
};

/// The values of greys and colours, 0 the darkest; where `spread`, those of other bits than T's over all of T's. `top`: what is
/// white where that is not the largest value; 0: it is.
template <class T>
[[nodiscard]] Image<T> tiff_values(TiffReader& reader, Index channels, bool spread, Index top = 0) {
  Image<T> image = reader.samples<T>(channels);
  const std::uint32_t most = top > 0 ? std::min(static_cast<std::uint32_t>(top), reader.largest()) : reader.largest();
  constexpr std::uint32_t white = std::numeric_limits<T>::max();
  if (reader.is_inverted()) {
    for (std::size_t i = 0; i < image.pixels().size(); i += static_cast<std::size_t>(channels)) {
      image.pixels()[i] = static_cast<T>(most - std::min<std::uint32_t>(image.pixels()[i], most));
    }
  }
  if (spread && most != white) {
    for (T& value : image.pixels()) value = static_cast<T>((value * white + most / 2) / most);
  }
  return image;
}

/// `ids`: indices in the place of a palette's colours, and values as they are stored.
[[nodiscard]] inline AnyImage tiff_image(TiffReader& reader, std::string_view path, const ReadOptions& options, bool ids) {
  return within_memory(path, [&]() -> AnyImage {
    const auto finish = [&](auto image) -> AnyImage {
      if (options.orient) image = oriented(std::move(image), reader.orientation());
      return with_channels(std::move(image), options.channels, path);
    };
    const Index channels = reader.colours() + (options.keep_alpha && reader.has_alpha() ? 1 : 0);
    if (reader.is_float()) {
      auto image = reader.samples<float>(channels);
      const auto pixels = image.pixels();
      if (!std::all_of(pixels.begin(), pixels.end(), [](float v) { return std::isfinite(v); })) {
        throw ImageError(path, "holds a value that is not finite");
      }
      if (!ids) stretch_to_white(image, options.white);
      return finish(std::move(image));
    }
    if (reader.bits() > 8) {
      auto image = tiff_values<std::uint16_t>(reader, channels, !ids && options.white == 0, ids ? 0 : options.white);
      if (!ids) stretch_to_white(image, options.white);
      return finish(std::move(image));
    }
    auto image = tiff_values<std::uint8_t>(reader, channels, !ids && !reader.has_palette());
    if (ids || !reader.has_palette()) return finish(std::move(image));
    const auto palette = reader.palette();
    const Index height = image.height();
    const Index width = image.width();
    Image<std::uint8_t> coloured(height, width, channels + 2);
    for (Index y = 0; y < height; ++y) {
      for (Index x = 0; x < width; ++x) {
        for (Index c = 0; c < 3; ++c) coloured(y, x, c) = palette[image(y, x, 0)][static_cast<std::size_t>(c)];
        if (channels == 2) coloured(y, x, 3) = image(y, x, 1);
      }
    }
    return finish(std::move(coloured));
  });
}

}  // namespace detail

/// Decodes a page of a TIFF from memory, from 1; `path` is named in errors. The other pages are not looked at.
///
/// Greys give one channel, RGB, palettes and YCbCr (in JPEG alone, by libtiff's conversion) three; a further value of
/// each pixel is its transparency, which is dropped unless `options.keep_alpha`. Unsigned values of n bits up to 8 give
/// 8-bit images (value x 255 / (2^n - 1), rounded), those up to 16 bits 16-bit ones in the same way; `options.white`
/// takes the place of the largest value. Floats of 32 bits are divided by it where it is given, and must be finite. Where 0 is white,
/// whole values are turned over, about `options.white` where that is given. Strips and tiles, planes apart or together; not compressed, or by PackBits, LZW, Deflate,
/// JPEG, Zstandard or CCITT. The orientation tag is applied unless `options.orient` is off. Throws `ImageError`, for
/// truncated and damaged files too. Test: tests/io/tiff.cpp.
[[nodiscard]] inline AnyImage decode_tiff(std::span<const std::byte> bytes, const std::string& path,
                                          const ReadOptions& options = {}, Index page = 1) {
  detail::TiffReader reader(detail::TiffInput(bytes), path, options, page);
  return detail::tiff_image(reader, path, options, false);
}

}  // namespace dssl
