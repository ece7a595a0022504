// EXIF data: some orientation of the eight, whatever the bytes.
#include <cstddef>
#include <cstdint>

#include <dssl/io/orientation.hpp>

#include "fuzz.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Orientation orientation = exif_orientation(fuzz::bytes_of(data, size));
  const auto number = static_cast<unsigned>(orientation);
  fuzz::require(number >= 1 && number <= 8, "an orientation is one of eight");
  Image<std::uint8_t> image(2, 3, 1);
  for (std::size_t p = 0; p < 6; ++p) image.pixels()[p] = static_cast<std::uint8_t>(p);
  const Image<std::uint8_t> turned = oriented(image, orientation);
  fuzz::require(turned.height() == (swaps_sides(orientation) ? 3 : 2), "sides change places where it says so");
  unsigned seen = 0;
  for (const std::uint8_t pixel : turned.pixels()) seen |= 1U << pixel;
  fuzz::require(seen == 63, "turning moves pixels, and loses none");
  return 0;
}
