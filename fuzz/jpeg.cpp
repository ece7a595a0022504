// JPEG: decoded twice to the same pixels, and again after it was written.
#include <cstddef>
#include <cstdint>
#include <variant>

#include <dssl/io/jpeg.hpp>

#include "fuzz.hpp"
#include "image_target.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  for (const ReadOptions& options : fuzz::ways_to_read()) {
    fuzz::parses<ImageError>([&] {
      const AnyImage image = decode_jpeg(bytes, "in.jpg", options);
      fuzz::check_image(image, options);
      fuzz::require(decode_jpeg(bytes, "in.jpg", options) == image, "a file gives the same pixels each time");
      const auto& pixels = std::get<Image<std::uint8_t>>(image);
      const AnyImage again = decode_jpeg(encode_jpeg(pixels), "out.jpg");
      fuzz::require(height(again) == pixels.height() && width(again) == pixels.width() &&
                        channels(again) == pixels.channels(),
                    "an image that was written has the size that it had");
    });
  }
  return 0;
}
