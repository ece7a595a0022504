// PGM, PPM and PFM: decoded twice to the same pixels, and ids as they are written.
#include <cstddef>
#include <cstdint>

#include <dssl/io/netpbm.hpp>

#include "fuzz.hpp"
#include "image_target.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  for (const ReadOptions& options : fuzz::ways_to_read()) {
    const bool read = fuzz::parses<ImageError>([&] {
      const AnyImage image = decode_netpbm(bytes, "in.pgm", options);
      fuzz::check_image(image, options);
      fuzz::require(decode_netpbm(bytes, "in.pgm", options) == image, "a file gives the same pixels each time");
    });
    const bool ids = fuzz::parses<ImageError>([&] { fuzz::check_image(detail::netpbm_image(bytes, "in.pgm", options, false), options); });
    fuzz::require(read == ids, "a file is read as an image where it is read as a mask");
  }
  return 0;
}
