// TIFF: decoded twice to the same pixels, also its second page, and indices and values as they are stored; the pages of its file.
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
    fuzz::check_image(decode_tiff(bytes, "in.tif", options, 2), options);
  });
  fuzz::parses<ImageError>([&] {
    const ReadOptions options = fuzz::small_images();
    detail::TiffReader reader(detail::TiffInput(bytes), "in.tif", options);
    fuzz::check_image(detail::tiff_image(reader, "in.tif", options, true), options);
  });
  const detail::TiffPages pages = detail::further_tiff_pages(fuzz::file_of("in.tif", bytes));
  fuzz::require(pages.images.empty() || pages.images.front() > 1, "the first page is none of the further ones");
  return 0;
}
