// BMP: decoded twice to the same pixels, and indices of palettes.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <dssl/io/bmp.hpp>

#include "fuzz.hpp"
#include "image_target.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  for (const ReadOptions& options : fuzz::ways_to_read()) {
    fuzz::parses<ImageError>([&] {
      const AnyImage image = decode_bmp(bytes, "in.bmp", options);
      fuzz::check_image(image, options);
      fuzz::require(decode_bmp(bytes, "in.bmp", options) == image, "a file gives the same pixels each time");
    });
    fuzz::parses<ImageError>([&] {
      const detail::BmpHeader header(bytes, "in.bmp", options);
      const Image<std::uint8_t> mask = detail::bmp_indices(header, "in.bmp");
      fuzz::check_image(mask, ReadOptions{.channels = 1, .largest_pixels = options.largest_pixels});
      const auto pixels = mask.pixels();
      fuzz::require(*std::max_element(pixels.begin(), pixels.end()) < header.palette.size(), "indices are of the palette");
    });
  }
  return 0;
}
