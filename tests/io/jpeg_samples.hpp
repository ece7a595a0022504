// JPEG files of kinds that the library reads and does not write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <dssl/io/jpeg.hpp>
#include <dssl/views/image.hpp>

namespace dssl::test {

/// The file of an image whose channels are those of `space`; `configure(codec)` changes libjpeg's defaults.
template <class Configure>
[[nodiscard]] std::vector<std::byte> make_jpeg(const Image<std::uint8_t>& image, J_COLOR_SPACE space,
                                               const Configure& configure) {
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors{};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&codec, &buffer, &size);
  codec.image_height = static_cast<JDIMENSION>(image.height());
  codec.image_width = static_cast<JDIMENSION>(image.width());
  codec.input_components = static_cast<int>(image.channels());
  codec.in_color_space = space;
  jpeg_set_defaults(&codec);
  configure(codec);
  jpeg_start_compress(&codec, TRUE);
  while (codec.next_scanline < codec.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<Index>(codec.next_scanline)));
    jpeg_write_scanlines(&codec, &row, 1);
  }
  jpeg_finish_compress(&codec);
  jpeg_destroy_compress(&codec);
  const auto* const first = reinterpret_cast<const std::byte*>(buffer);
  std::vector<std::byte> bytes(first, first + size);
  std::free(buffer);
  return bytes;
}

}  // namespace dssl::test
