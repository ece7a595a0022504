// Cameras of 12 bits in images of 16 are noticed, floats of another scale too, and nothing else is.
#include "catch.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <dssl/data/few_bits.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <PixelType T>
AnyImage of_value(T value) {
  Image<T> image(2, 2, 1);
  image(1, 0, 0) = value;
  return image;
}

std::string warning(std::vector<AnyImage> images) { return few_bits_warning(MemoryImages(std::move(images))); }

}  // namespace

TEST_CASE("16-bit images of few bits are told with their largest value and a white level") {
  CHECK(contains(warning({of_value<std::uint16_t>(4000), of_value<std::uint16_t>(4095)}), "2 of 2 looked at have no value above 4095 of 65535"));
  CHECK(contains(warning({of_value<std::uint16_t>(4095)}), "12 bits, say so (option 'white', 4095)"));
  CHECK(contains(warning({of_value<std::uint16_t>(16383)}), "(option 'white', 16383)"));
  CHECK(contains(warning({of_value<std::uint16_t>(9)}), "(option 'white', 255)"));
  CHECK(warning({of_value<std::uint16_t>(4095), of_value<std::uint16_t>(65535)}).empty());
  CHECK(contains(warning({of_value<std::uint16_t>(4095), of_value<std::uint16_t>(65535), of_value<std::uint16_t>(90)}),
                 "2 of 3 looked at have no value above 4095"));
  CHECK(warning({of_value<std::uint16_t>(16384)}).empty());
  CHECK(warning({of_value<std::uint8_t>(9), of_value<float>(0.01F)}).empty());
  CHECK(warning({of_value<std::uint16_t>(0)}).empty());
}

TEST_CASE("images of floats that go beyond white are told with their largest value and a white level") {
  CHECK(warning({of_value(255.0F), of_value(200.0F)}) ==
        "images of floats go beyond white, which is 1: 2 of 2 looked at have values up to 255; if their white is another, say so (option "
        "'white', such as 255)");
  CHECK(contains(warning({of_value(4000.0F)}), "(option 'white', such as 4095)"));
  CHECK(contains(warning({of_value(1e9F)}), "(option 'white', such as 65535)"));
  CHECK(warning({of_value(1.5F), of_value(255.0F)}).empty());  // what a filter overshoots, and one image alone
  CHECK(warning({of_value(1.0F)}).empty());
}
