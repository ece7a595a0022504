// TIFF: decoded twice to the same pixels, and indices and values as they are stored.
#include <cstddef>
#include <cstdint>

#include <dssl/io/tiff.hpp>

#include "fuzz.hpp"
#include "image_target.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  for (const ReadOptions& options : fuzz::ways_to_read()) {
    fuzz::parses<ImageError>([&] {
      const AnyImage image = decode_tiff(bytes, "in.tif", options);
      fuzz::check_image(image, options);
      fuzz::require(decode_tiff(bytes, "in.tif", options) == image, "a file gives the same pixels each time");
    });
  }
  fuzz::parses<ImageError>([&] {
    const ReadOptions options = fuzz::small_images();
    detail::TiffReader reader(bytes, "in.tif", options);
    fuzz::check_image(detail::tiff_image(reader, "in.tif", options, true), options);
  });
  static_cast<void>(detail::tiff_further_pages(fuzz::file_of("in.tif", bytes)));
  return 0;
}
