// JPEG files through libjpeg-turbo.
// Tests: tests/io/jpeg.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <jpeglib.h>
// After jpeglib.h, which it needs.
#include <jerror.h>

#include <dssl/core/error.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/orientation.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// libjpeg's error handler: keeps the message and leaves by longjmp; prints nothing.
struct JpegErrors {
  jpeg_error_mgr manager{};  // first: libjpeg hands back a pointer to it
  std::jmp_buf leave{};
  std::array<char, JMSG_LENGTH_MAX> text{};

  jpeg_error_mgr* install() {
    jpeg_std_error(&manager);
    manager.error_exit = &JpegErrors::error;
    manager.emit_message = &JpegErrors::message;
    manager.output_message = [](j_common_ptr) {};
    return &manager;
  }

  /// libjpeg calls it while it decodes. A scan of a few bytes goes over the whole picture, so that many of them in a
  /// small file take minutes; those of cameras and programs have about ten.
  static void count_scans(j_common_ptr codec) {
    constexpr int most_scans = 500;
    if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number <= most_scans) return;
    auto* const self = reinterpret_cast<JpegErrors*>(codec->err);
    std::snprintf(self->text.data(), self->text.size(), "more than %d scans", most_scans);
    std::longjmp(self->leave, 1);
  }

 private:
  [[noreturn]] static void error(j_common_ptr codec) {
    auto* const self = reinterpret_cast<JpegErrors*>(codec->err);
    codec->err->format_message(codec, self->text.data());
    std::longjmp(self->leave, 1);
  }

  /// libjpeg only warns of damaged data and fills in grey; here that makes the file unreadable. What does not
  /// touch the pixels (bytes between segments, unknown revisions, damaged colour profiles) is let pass.
  static void message(j_common_ptr codec, int level) {
    if (level >= 0) return;
    constexpr std::array<int, 6> damage{JWRN_JPEG_EOF,    JWRN_HIT_MARKER,     JWRN_HUFF_BAD_CODE,
                                        JWRN_MUST_RESYNC, JWRN_NOT_SEQUENTIAL, JWRN_ARITH_BAD_CODE};
    if (std::find(damage.begin(), damage.end(), codec->err->msg_code) != damage.end()) error(codec);
  }
};

/// A JPEG being decoded from memory.
///
/// longjmp runs no destructors: every function that sets the jump point holds only plain values, and all
/// memory belongs to the caller or to this object.
class JpegReader {
 public:
  explicit JpegReader(std::string_view path) : x_path(path) {
    x_codec.err = x_errors.install();
    check(try_create());
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&x_codec); }

  void read_header(std::span<const std::byte> bytes) {
    check(try_header(reinterpret_cast<const unsigned char*>(bytes.data()),
                     static_cast<unsigned long>(bytes.size())));
  }

  [[nodiscard]] std::uint32_t height() const { return x_codec.image_height; }
  [[nodiscard]] std::uint32_t width() const { return x_codec.image_width; }
  /// Channels that `read_rows` gives: 1 (grey), 3 (RGB) or 4 (CMYK).
  [[nodiscard]] int channels() const {
    return x_codec.num_components == 1 ? 1 : x_codec.num_components == 4 ? 4 : 3;
  }
  /// Whether blocks may take less than a bit. In all other files each takes one or more; with the oddest sampling, four
  /// by one in one channel and one by four in another, eight blocks stand for 1024 pixels.
  [[nodiscard]] bool is_arithmetic() const { return x_codec.arith_code != 0; }
  /// As the file's EXIF data says; to be asked before `read_rows`, which forgets it.
  [[nodiscard]] Orientation orientation() const {
    for (const jpeg_marker_struct* marker = x_codec.marker_list; marker != nullptr; marker = marker->next) {
      const std::span<const std::byte> data(reinterpret_cast<const std::byte*>(marker->data), marker->data_length);
      constexpr std::string_view head("Exif\0", 5);  // other data, such as XMP, shares the marker
      if (marker->marker == JPEG_APP0 + 1 && data.size() > head.size() &&
          std::memcmp(data.data(), head.data(), head.size()) == 0) {
        return exif_orientation(data);
      }
    }
    return Orientation::as_stored;
  }

  void read_rows(std::uint8_t* pixels) {
    check(try_rows(pixels, static_cast<std::size_t>(width()) * static_cast<std::size_t>(channels())));
  }

 private:
  [[nodiscard]] bool try_create() {
    if (setjmp(x_errors.leave) != 0) return false;
    jpeg_create_decompress(&x_codec);
    x_progress.progress_monitor = &JpegErrors::count_scans;
    x_codec.progress = &x_progress;
    return true;
  }

  [[nodiscard]] bool try_header(const unsigned char* bytes, unsigned long count) {
    if (setjmp(x_errors.leave) != 0) return false;
    jpeg_mem_src(&x_codec, bytes, count);
    jpeg_save_markers(&x_codec, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&x_codec, TRUE);
    return true;
  }

  [[nodiscard]] bool try_rows(std::uint8_t* pixels, std::size_t stride) {
    if (setjmp(x_errors.leave) != 0) return false;
    x_codec.out_color_space = channels() == 1 ? JCS_GRAYSCALE : channels() == 4 ? JCS_CMYK : JCS_RGB;
    x_codec.dct_method = JDCT_ISLOW;  // what other readers use by default, to the bit
    jpeg_start_decompress(&x_codec);
    while (x_codec.output_scanline < x_codec.output_height) {
      std::array<JSAMPROW, 8> rows{};
      const std::size_t first = x_codec.output_scanline;
      const std::size_t count = std::min<std::size_t>(rows.size(), x_codec.output_height - first);
      for (std::size_t i = 0; i < count; ++i) rows[i] = pixels + (first + i) * stride;
      jpeg_read_scanlines(&x_codec, rows.data(), static_cast<JDIMENSION>(count));
    }
    jpeg_finish_decompress(&x_codec);
    return true;
  }

  void check(bool done) const {
    if (!done) throw ImageError(x_path, join("damaged or unsupported JPEG: ", x_errors.text.data()));
  }

  std::string_view x_path;
  JpegErrors x_errors;
  jpeg_progress_mgr x_progress{};
  jpeg_decompress_struct x_codec{};
};

/// A JPEG being encoded to memory; the same rule about longjmp as in `JpegReader`.
class JpegWriter {
 public:
  JpegWriter() {
    x_codec.err = x_errors.install();
    check(try_create());
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;
  ~JpegWriter() {
    jpeg_destroy_compress(&x_codec);
    std::free(x_buffer);
  }

  [[nodiscard]] std::vector<std::byte> encode(const Image<std::uint8_t>& image, int quality) {
    check(try_encode(image, quality));
    std::vector<std::byte> bytes(x_size);
    std::memcpy(bytes.data(), x_buffer, x_size);
    return bytes;
  }

 private:
  [[nodiscard]] bool try_create() {
    if (setjmp(x_errors.leave) != 0) return false;
    jpeg_create_compress(&x_codec);
    return true;
  }

  [[nodiscard]] bool try_encode(const Image<std::uint8_t>& image, int quality) {
    if (setjmp(x_errors.leave) != 0) return false;
    jpeg_mem_dest(&x_codec, &x_buffer, &x_size);
    x_codec.image_height = static_cast<JDIMENSION>(image.height());
    x_codec.image_width = static_cast<JDIMENSION>(image.width());
    x_codec.input_components = static_cast<int>(image.channels());
    x_codec.in_color_space = image.channels() == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&x_codec);
    jpeg_set_quality(&x_codec, quality, TRUE);
    jpeg_start_compress(&x_codec, TRUE);
    while (x_codec.next_scanline < x_codec.image_height) {
      // libjpeg takes mutable rows but does not change them.
      JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<Index>(x_codec.next_scanline)));
      jpeg_write_scanlines(&x_codec, &row, 1);
    }
    jpeg_finish_compress(&x_codec);
    return true;
  }

  void check(bool done) const {
    if (!done) throw Error(join("cannot encode JPEG: ", x_errors.text.data()));
  }

  JpegErrors x_errors;
  jpeg_compress_struct x_codec{};
  unsigned char* x_buffer = nullptr;
  unsigned long x_size = 0;
};

/// RGB of CMYK as JPEG files store it, 255 minus the ink: each channel is the paper's light times what the ink
/// and the black let through. Files without Adobe's marker are taken so too, as the field's readers do (Pillow).
[[nodiscard]] inline Image<std::uint8_t> rgb_from_cmyk(const Image<std::uint8_t>& ink) {
  Image<std::uint8_t> rgb(ink.height(), ink.width(), 3);
  const std::span<const std::uint8_t> from = ink.pixels();
  const std::span<std::uint8_t> to = rgb.pixels();
  for (std::size_t i = 0; i < to.size() / 3; ++i) {
    const unsigned black = from[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) to[3 * i + c] = static_cast<std::uint8_t>((from[4 * i + c] * black + 127) / 255);
  }
  return rgb;
}

}  // namespace detail

/// Decodes a JPEG from memory; `path` is named in errors.
///
/// Grey files give one channel, all others three: YCbCr is converted to RGB by libjpeg, CMYK and YCCK by
/// R = (1 - C)(1 - K). The orientation tag of cameras is applied unless `options.orient` is off. Throws
/// `ImageError` for truncated and damaged files too, where libjpeg would only warn and fill in grey.
[[nodiscard]] inline AnyImage decode_jpeg(std::span<const std::byte> bytes, const std::string& path,
                                          const ReadOptions& options = {}) {
  if (bytes.empty()) throw ImageError(path, "is empty");
  return detail::within_memory(path, [&] {
    detail::JpegReader reader(path);
    reader.read_header(bytes);
    const Orientation orientation = reader.orientation();
    detail::check_image_size(path, reader.height(), reader.width(),
                             static_cast<std::uint64_t>(reader.channels()), options);
    if (!reader.is_arithmetic()) detail::check_pixels_follow(path, reader.height(), reader.width(), 1024, bytes.size());
    Image<std::uint8_t> image(reader.height(), reader.width(), reader.channels());
    reader.read_rows(image.pixels().data());
    if (image.channels() == 4) image = detail::rgb_from_cmyk(image);
    if (options.orient) image = oriented(std::move(image), orientation);
    return with_channels(std::move(image), options.channels, path);
  });
}

/// Reads a JPEG file; see `decode_jpeg`. A file that cannot be opened is an `ImageError` too.
[[nodiscard]] inline AnyImage read_jpeg(const std::string& path, const ReadOptions& options = {}) {
  return decode_jpeg(detail::read_image_bytes(path, options), path, options);
}

/// A grey or RGB image as a JPEG in memory; quality 1 (worst) to 100.
/// Throws `ShapeError` for other numbers of channels or sides above 65500, `OptionError` for other qualities.
[[nodiscard]] inline std::vector<std::byte> encode_jpeg(const Image<std::uint8_t>& image, int quality = 90) {
  require_shape(image.channels() == 1 || image.channels() == 3,
                "a JPEG holds 1 or 3 channels; the image has ", image.channels());
  require_shape(image.height() <= 65500 && image.width() <= 65500,
                "a JPEG has at most 65500 x 65500 pixels; the image is ", image.height(), " x ",
                image.width());
  if (quality < 1 || quality > 100) throw OptionError("quality", quality, "1 to 100");
  return detail::JpegWriter().encode(image, quality);
}

/// Writes an image as a JPEG file, whole or not at all. Throws `FileError`, and as `encode_jpeg`.
inline void write_jpeg(const std::string& path, const Image<std::uint8_t>& image, int quality = 90) {
  write_bytes(path, encode_jpeg(image, quality));
}

}  // namespace dssl
