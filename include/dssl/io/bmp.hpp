// BMP files, uncompressed: greys and colours of palettes, 16, 24 and 32 bits. Needs no library.
// Tests: tests/io/bmp.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// The header of a BMP, checked: what follows in the file has the room that it asks for.
class BmpHeader {
 public:
  /// Where a channel's bits lie in a pixel.
  struct Bits {
    std::uint32_t mask = 0;
    /// The channel as 8 bits: value x 255 / largest, rounded.
    [[nodiscard]] std::uint8_t of(std::uint32_t pixel) const {
      const std::uint64_t most = mask >> std::countr_zero(mask);
      const std::uint64_t value = (pixel & mask) >> std::countr_zero(mask);
      return static_cast<std::uint8_t>((value * 255 + most / 2) / most);
    }
  };

  static constexpr std::uint64_t pixel_bytes = 4;  ///< when it is decoded, at most

  BmpHeader(std::span<const std::byte> bytes, std::string_view path, const ReadOptions& options)
      : BmpHeader(bytes, bytes.size(), path, options) {}
  /// Of the first bytes of a file of so many: no pixel may be asked for.
  BmpHeader(std::span<const std::byte> bytes, std::size_t file, std::string_view path, const ReadOptions& options)
      : x_bytes(bytes), x_path(path) {
    constexpr std::size_t file_header = 14;
    if (bytes.size() < file_header + 4 || two(0) != 0x4D42) fail("not a BMP file, or truncated in its header");
    const std::size_t size = four(file_header);
    constexpr std::array<std::size_t, 6> known{12, 40, 52, 56, 108, 124};
    if (std::find(known.begin(), known.end(), size) == known.end()) {
      fail(join("is a BMP whose header has ", size, " bytes; expected 12, 40, 52, 56, 108 or 124"));
    }
    if (bytes.size() - file_header < size) fail("is truncated in its header");
    const bool old = size == 12;
    const std::uint32_t tall = old ? two(20) : four(22);
    width = old ? two(18) : four(18);
    from_above = !old && tall > 0x7FFFFFFFU;
    height = from_above ? 0U - tall : tall;
    if (width > 0x7FFFFFFFU || height > 0x7FFFFFFFU) fail("is damaged: a side is longer than 2147483647");
    bits = old ? two(24) : two(28);
    const std::uint32_t compression = old ? 0 : four(30);
    if (compression != 0 && compression != 3) {
      fail(join("is a compressed BMP (method ", compression, "); expected one without compression, or another kind of file"));
    }
    constexpr std::array<std::uint32_t, 6> depths{1, 4, 8, 16, 24, 32};
    if (std::find(depths.begin(), depths.end(), bits) == depths.end() || (compression == 3 && bits != 16 && bits != 32)) {
      fail(join("is a BMP of ", bits, " bits a pixel", compression == 3 ? " with masks; expected 16 or 32"
                                                                         : "; expected 1, 4, 8, 16, 24 or 32"));
    }
    check_image_size(path, height, width, pixel_bytes, options);
    std::size_t after = file_header + size;
    if (bits >= 16) x_find_channels(compression, size, after);
    if (bits <= 8) x_find_palette(old ? 3 : 4, old ? 0 : four(46), after);
    x_first = four(10);
    if (x_first < after || x_first > file) {
      fail(join("is damaged: its pixels begin at byte ", x_first, " of ", file, ", behind a header of ", after));
    }
    x_stride = (static_cast<std::size_t>(width) * bits + 31) / 32 * 4;
    if ((file - x_first) / x_stride < height) {
      fail(join("is truncated: ", height, " x ", width, " pixels cannot lie in ", file - x_first, " bytes"));
    }
  }

  /// The bits of pixel (y, x), counted from the picture's upper left corner; of a palette its index.
  [[nodiscard]] std::uint32_t pixel(std::size_t y, std::size_t x) const {
    const std::size_t row = x_first + (from_above ? y : height - 1 - y) * x_stride;
    switch (bits) {
      case 16: return two(row + 2 * x);
      case 24: return two(row + 3 * x) | byte(row + 3 * x + 2) << 16U;
      case 32: return four(row + 4 * x);
      default: break;
    }
    const std::size_t each = 8 / bits;
    const std::uint32_t index = byte(row + x / each) >> (bits * (each - 1 - x % each)) & ((1U << bits) - 1);
    if (index >= palette.size()) fail(join("is damaged: a pixel has colour ", index, " of a palette of ", palette.size()));
    return index;
  }

  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t bits = 0;
  bool from_above = false;
  std::vector<std::array<std::uint8_t, 3>> palette;  ///< RGB; of 1, 4 and 8 bits
  std::array<Bits, 4> channel{};                     ///< red, green, blue, and alpha where its mask is not 0

 private:
  [[noreturn]] void fail(std::string_view problem) const { throw ImageError(x_path, problem); }
  [[nodiscard]] std::uint32_t byte(std::size_t i) const { return std::to_integer<std::uint32_t>(x_bytes[i]); }
  [[nodiscard]] std::uint32_t two(std::size_t i) const { return byte(i) | byte(i + 1) << 8U; }
  [[nodiscard]] std::uint32_t four(std::size_t i) const { return two(i) | two(i + 2) << 16U; }

  void x_find_channels(std::uint32_t compression, std::size_t size, std::size_t& after) {
    if (compression == 0) {
      if (bits == 16) {
        channel = {Bits{0x7C00}, Bits{0x3E0}, Bits{0x1F}, Bits{}};
      } else {
        channel = {Bits{0xFF0000}, Bits{0xFF00}, Bits{0xFF}, Bits{}};
      }
      return;
    }
    constexpr std::size_t masks = 54;  // the same place, in the header or behind one of 40 bytes
    const std::size_t count = size >= 56 ? 4 : 3;
    if (x_bytes.size() < masks + 4 * count) fail("is truncated in its header");
    if (size == 40) after += 4 * count;
    std::uint32_t met = 0;
    for (std::size_t c = 0; c < count; ++c) {
      const std::uint32_t mask = four(masks + 4 * c);
      const std::uint32_t ones = mask == 0 ? 0 : mask >> std::countr_zero(mask);
      const bool in_pixel = bits == 32 || mask <= 0xFFFF;
      if ((mask == 0 && c < 3) || (ones & (ones + 1)) != 0 || (met & mask) != 0 || !in_pixel) {
        fail(join("is damaged: the mask of channel ", c, " is ", mask, "; expected adjoining bits of a pixel's ", bits,
                  " that are no other channel's"));
      }
      met |= mask;
      channel[c].mask = mask;
    }
  }

  void x_find_palette(std::size_t each, std::uint32_t used, std::size_t& after) {
    const std::uint32_t most = 1U << bits;
    if (used > most) fail(join("is damaged: its palette has ", used, " colours; expected at most ", most));
    const std::size_t count = used == 0 ? most : used;
    if ((x_bytes.size() - after) / each < count) fail("is truncated in its palette");
    for (std::size_t i = 0; i < count; ++i, after += each) {
      palette.push_back({static_cast<std::uint8_t>(byte(after + 2)), static_cast<std::uint8_t>(byte(after + 1)),
                         static_cast<std::uint8_t>(byte(after))});
    }
  }

  std::span<const std::byte> x_bytes;
  std::string_view x_path;
  std::size_t x_first = 0;
  std::size_t x_stride = 0;
};

[[nodiscard]] inline bool is_bmp(std::span<const std::byte> bytes) {
  return bytes.size() >= 2 && std::to_integer<char>(bytes[0]) == 'B' && std::to_integer<char>(bytes[1]) == 'M';
}

/// Whether a palette is the row of greys from black to white: a grey BMP, as there is no other kind of it.
[[nodiscard]] inline bool is_grey_row(const BmpHeader& header) {
  const std::uint32_t most = (1U << header.bits) - 1;
  for (std::uint32_t i = 0; i < header.palette.size(); ++i) {
    const auto grey = static_cast<std::uint8_t>((i * 255 + most / 2) / most);
    if (header.palette[i] != std::array<std::uint8_t, 3>{grey, grey, grey}) return false;
  }
  return !header.palette.empty();
}

/// A mask: the palette's indices as they are (H,W,1). Throws `ImageError` where the file has no palette.
[[nodiscard]] inline Image<std::uint8_t> bmp_indices(const BmpHeader& header, std::string_view path) {
  if (header.palette.empty()) throw ImageError(path, join("is a BMP of ", header.bits, " bits; expected one with a palette"));
  Image<std::uint8_t> out(header.height, header.width, 1);
  std::uint8_t* to = out.pixels().data();
  for (std::size_t y = 0; y < header.height; ++y) {
    for (std::size_t x = 0; x < header.width; ++x) *to++ = static_cast<std::uint8_t>(header.pixel(y, x));
  }
  return out;
}

}  // namespace detail

/// Decodes an uncompressed BMP from memory; `path` is named in errors.
///
/// Palettes of greys alone, as grey cameras write them, give one channel; everything else three, of 8 bits: a channel
/// of n bits is value x 255 / (2^n - 1), rounded. Transparency, where a mask says that there is any, is dropped
/// unless `options.keep_alpha`. Compressed files, palette indices beyond the palette and sizes that the file cannot
/// hold are an `ImageError`. Test: tests/io/bmp.cpp.
[[nodiscard]] inline AnyImage decode_bmp(std::span<const std::byte> bytes, const std::string& path,
                                         const ReadOptions& options = {}) {
  return detail::within_memory(path, [&]() -> AnyImage {
    const detail::BmpHeader header(bytes, path, options);
    const bool grey = !header.palette.empty() && std::all_of(header.palette.begin(), header.palette.end(), [](const auto& c) {
      return c[0] == c[1] && c[1] == c[2];
    });
    const std::size_t channels = grey ? 1 : options.keep_alpha && header.channel[3].mask != 0 ? 4 : 3;
    Image<std::uint8_t> image(header.height, header.width, static_cast<Index>(channels));
    std::uint8_t* to = image.pixels().data();
    for (std::size_t y = 0; y < header.height; ++y) {
      for (std::size_t x = 0; x < header.width; ++x) {
        const std::uint32_t pixel = header.pixel(y, x);
        for (std::size_t c = 0; c < channels; ++c) *to++ = header.palette.empty() ? header.channel[c].of(pixel) : header.palette[pixel][c];
      }
    }
    return with_channels(std::move(image), options.channels, path);
  });
}

}  // namespace dssl
