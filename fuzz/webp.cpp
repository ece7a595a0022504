// WebP: decoded twice to the same pixels.
#include <cstddef>
#include <cstdint>

#include <dssl/io/webp.hpp>

#include "fuzz.hpp"
#include "image_target.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  for (const ReadOptions& options : fuzz::ways_to_read()) {
    fuzz::parses<ImageError>([&] {
      const AnyImage image = decode_webp(bytes, "in.webp", options);
      fuzz::check_image(image, options);
      fuzz::require(decode_webp(bytes, "in.webp", options) == image, "a file gives the same pixels each time");
    });
  }
  return 0;
}
