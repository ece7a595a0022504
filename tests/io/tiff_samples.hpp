// TIFF files, written by libtiff into memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <tiffio.h>

namespace dssl::test {

/// How a TIFF is laid out.
struct TiffLayout {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint16_t bits = 8;
  std::uint16_t samples = 1;
  std::uint16_t photometric = PHOTOMETRIC_MINISBLACK;
  std::uint16_t compression = COMPRESSION_NONE;
  std::uint16_t format = SAMPLEFORMAT_UINT;
  std::uint32_t tile = 0;  ///< side of tiles; 0: strips of two rows
  bool separate = false;   ///< a plane after the other
  bool predictor = false;
  std::uint16_t orientation = 0;  ///< 0: not said
  std::string_view mode = "w";    ///< "wb": big endian, "w8": for more than 4 GiB
  std::vector<std::uint16_t> colours{};  ///< of a palette: reds, greens, blues
  std::uint16_t pages = 1;               ///< each of the same values, or of its own where there are as many
  std::vector<std::uint32_t> kinds{};    ///< NewSubfileType of each; 0: not said
};

struct TiffMemory {
  std::string bytes;
  std::uint64_t at = 0;
};

/// A file of the samples as they lie in rows, planes apart where the layout says so, one in a byte below 8 bits.
inline std::string tiff_file(const TiffLayout& layout, std::string_view values) {
  TiffMemory memory;
  TIFF* const file = TIFFClientOpen(
      "out", std::string(layout.mode).c_str(), &memory,
      [](thandle_t self, void* out, tmsize_t count) -> tmsize_t {
        auto& m = *static_cast<TiffMemory*>(self);
        const auto n = std::min(static_cast<std::size_t>(count), m.bytes.size() - std::min<std::size_t>(m.at, m.bytes.size()));
        std::memcpy(out, m.bytes.data() + m.at, n);
        m.at += n;
        return static_cast<tmsize_t>(n);
      },
      [](thandle_t self, void* in, tmsize_t count) -> tmsize_t {
        auto& m = *static_cast<TiffMemory*>(self);
        const auto n = static_cast<std::size_t>(count);
        if (m.bytes.size() < m.at + n) m.bytes.resize(m.at + n);
        std::memcpy(m.bytes.data() + m.at, in, n);
        m.at += n;
        return count;
      },
      [](thandle_t self, toff_t offset, int from) -> toff_t {
        auto& m = *static_cast<TiffMemory*>(self);
        return m.at = offset + (from == SEEK_SET ? 0 : from == SEEK_CUR ? m.at : m.bytes.size());
      },
      [](thandle_t) { return 0; }, [](thandle_t self) -> toff_t { return static_cast<TiffMemory*>(self)->bytes.size(); },
      nullptr, nullptr);
  for (std::uint16_t page = 0; page < layout.pages; ++page) {
    if (page < layout.kinds.size() && layout.kinds[page] != 0) TIFFSetField(file, TIFFTAG_SUBFILETYPE, layout.kinds[page]);
    TIFFSetField(file, TIFFTAG_IMAGEWIDTH, layout.width);
    TIFFSetField(file, TIFFTAG_IMAGELENGTH, layout.height);
    TIFFSetField(file, TIFFTAG_BITSPERSAMPLE, layout.bits);
    TIFFSetField(file, TIFFTAG_SAMPLESPERPIXEL, layout.samples);
    TIFFSetField(file, TIFFTAG_SAMPLEFORMAT, layout.format);
    TIFFSetField(file, TIFFTAG_PHOTOMETRIC, layout.photometric);
    TIFFSetField(file, TIFFTAG_COMPRESSION, layout.compression);
    TIFFSetField(file, TIFFTAG_PLANARCONFIG, layout.separate ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
    if (layout.predictor) TIFFSetField(file, TIFFTAG_PREDICTOR, PREDICTOR_HORIZONTAL);
    if (layout.orientation != 0) TIFFSetField(file, TIFFTAG_ORIENTATION, layout.orientation);
    const unsigned colours = layout.photometric == PHOTOMETRIC_RGB || layout.photometric == PHOTOMETRIC_YCBCR ? 3 : 1;
    if (layout.samples == colours + 1) {
      const std::uint16_t alpha = EXTRASAMPLE_UNASSALPHA;
      TIFFSetField(file, TIFFTAG_EXTRASAMPLES, 1, &alpha);
    }
    if (!layout.colours.empty()) {
      const std::uint16_t* const first = layout.colours.data();
      const std::size_t each = layout.colours.size() / 3;
      TIFFSetField(file, TIFFTAG_COLORMAP, first, first + each, first + 2 * each);
    }
    if (layout.photometric == PHOTOMETRIC_YCBCR) TIFFSetField(file, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    if (layout.tile != 0) {
      TIFFSetField(file, TIFFTAG_TILEWIDTH, layout.tile);
      TIFFSetField(file, TIFFTAG_TILELENGTH, layout.tile);
    } else {
      TIFFSetField(file, TIFFTAG_ROWSPERSTRIP, layout.compression == COMPRESSION_JPEG ? 16U : 2U);
    }
    const std::size_t in_row = layout.separate ? 1 : layout.samples;  // samples of a pixel of a row
    const std::size_t value_bytes = layout.bits <= 8 ? 1 : layout.bits / 8U;
    const std::size_t row_bytes = layout.width * in_row * value_bytes;
    const std::size_t planes = layout.separate ? layout.samples : 1;
    const std::size_t page_bytes = planes * layout.height * row_bytes;
    const std::size_t own = values.size() >= layout.pages * page_bytes ? page * page_bytes : 0;
    for (std::uint16_t plane = 0; plane < planes; ++plane) {
      const char* const first = values.data() + own + plane * layout.height * row_bytes;
      if (layout.tile == 0) {
        for (std::uint32_t y = 0; y < layout.height; ++y) {
          std::string row(first + y * row_bytes, row_bytes);
          if (layout.bits < 8) {
            std::string packed((row_bytes * layout.bits + 7) / 8, '\0');
            for (std::size_t i = 0; i < row_bytes; ++i) {
              const unsigned shift = 8U - layout.bits - static_cast<unsigned>(i * layout.bits % 8);
              packed[i * layout.bits / 8] = static_cast<char>(static_cast<unsigned char>(packed[i * layout.bits / 8]) | static_cast<unsigned>(row[i]) << shift);
            }
            row = packed;
          }
          TIFFWriteScanline(file, row.data(), y, plane);
        }
        continue;
      }
      for (std::uint32_t top = 0; top < layout.height; top += layout.tile) {
        for (std::uint32_t left = 0; left < layout.width; left += layout.tile) {
          std::string block(layout.tile * layout.tile * in_row * value_bytes, '\0');
          const std::size_t each = in_row * value_bytes;
          for (std::uint32_t y = top; y < std::min(layout.height, top + layout.tile); ++y) {
            const std::size_t count = std::min(layout.tile, layout.width - left) * each;
            std::memcpy(block.data() + (y - top) * layout.tile * each, first + y * row_bytes + left * each, count);
          }
          TIFFWriteTile(file, block.data(), left, top, 0, plane);
        }
      }
    }
    TIFFWriteDirectory(file);
  }
  TIFFClose(file);
  return memory.bytes;
}

}  // namespace dssl::test
