// PGM, PPM and PFM, made byte for byte here.
#include "catch.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <dssl/io/netpbm.hpp>

#include "thrown.hpp"

namespace {

using dssl::AnyImage;
using dssl::Image;
using dssl::ImageError;
using dssl::Index;
using dssl::ReadOptions;
using dssl::test::contains;
using dssl::test::thrown_by;
using namespace std::string_view_literals;

AnyImage read(std::string_view text, const ReadOptions& options = {}) {
  return dssl::decode_netpbm(std::as_bytes(std::span(text)), "in.pgm", options);
}

template <class T>
std::vector<T> values(const AnyImage& image) {
  const auto pixels = std::get<Image<T>>(image).pixels();
  return {pixels.begin(), pixels.end()};
}

std::string refused(std::string_view text, const ReadOptions& options = {}) {
  return thrown_by<ImageError>([&] { static_cast<void>(read(text, options)); });
}

std::string float_bytes(float value, bool little) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  std::string out;
  for (unsigned b = 0; b < 4; ++b) out += static_cast<char>(bits >> 8U * (little ? b : 3 - b));
  return out;
}

using V8 = std::vector<std::uint8_t>;
using V16 = std::vector<std::uint16_t>;

}  // namespace

TEST_CASE("greys and colours of bytes and of text") {
  const AnyImage grey = read("P5\n# a camera's\n3 2 255\n\x01\x02\x03\x04\x05\xff"sv);
  CHECK((dssl::height(grey) == 2 && dssl::width(grey) == 3 && dssl::channels(grey) == 1));
  CHECK(values<std::uint8_t>(grey) == V8{1, 2, 3, 4, 5, 255});
  const AnyImage colour = read("P6 2 1 255\n\x01\x02\x03\x04\x05\x06"sv);
  CHECK((dssl::height(colour) == 1 && dssl::width(colour) == 2 && dssl::channels(colour) == 3));
  CHECK(values<std::uint8_t>(colour) == V8{1, 2, 3, 4, 5, 6});
  CHECK(values<std::uint8_t>(read("P2 2 2 # greys\n255\n 0 7\n\t8 255"sv)) == V8{0, 7, 8, 255});
  CHECK(values<std::uint8_t>(read("P3\n1 1\n255\n9 10 11\n"sv)) == V8{9, 10, 11});
  // The first pixel may be a blank, and a comment's sign.
  CHECK(values<std::uint8_t>(read("P5 2 1 255\n\n#"sv)) == V8{'\n', '#'});
  CHECK(dssl::channels(read("P5 1 1 255\n\x07"sv, {.channels = 3})) == 3);
}

TEST_CASE("the largest value that a file names is white") {
  CHECK(values<std::uint8_t>(read("P5 4 1 15\n\x00\x01\x08\x0f"sv)) == V8{0, 17, 136, 255});
  CHECK(values<std::uint8_t>(read("P2 3 1 2  0 1 2"sv)) == V8{0, 128, 255});  // 127.5 is rounded
  // 12 bits, the high byte first: 65535 * 1 / 4095 = 16.004, 65535 * 2048 / 4095 = 32775.5
  CHECK(values<std::uint16_t>(read("P5 3 1 4095\n\x00\x01\x08\x00\x0f\xff"sv)) == V16{16, 32776, 65535});
  CHECK(values<std::uint16_t>(read("P5 2 1 65535\n\x12\x34\xff\xff"sv)) == V16{0x1234, 65535});
  // A camera of 12 bits whose program says 65535, and is told its white.
  CHECK(values<std::uint16_t>(read("P5 3 1 65535\n\x00\x01\x0f\xff\x10\x00"sv, {.white = 4095})) == V16{16, 65535, 65535});
}

TEST_CASE("floats are kept as they are, and begin with the lowest row") {
  for (const bool little : {true, false}) {
    std::string file = little ? "Pf\n2 2\n-1.0\n" : "Pf\n2 2\n1\n";
    for (const float v : {0.25F, 0.5F, -1.5F, 1e6F}) file += float_bytes(v, little);
    CHECK(values<float>(read(file)) == std::vector<float>{-1.5F, 1e6F, 0.25F, 0.5F});
    std::string colour = little ? "PF 1 1 -2\n" : "PF 1 1 2\n";
    for (const float v : {0.25F, 0.5F, 1.0F}) colour += float_bytes(v, little);
    CHECK(values<float>(read(colour)) == std::vector<float>{0.25F, 0.5F, 1.0F});
    file.replace(file.size() - 4, 4, float_bytes(std::numeric_limits<float>::quiet_NaN(), little));
    CHECK(contains(refused(file), "in.pgm: holds a value that is not finite, in row 0, column 1"));
  }
  CHECK(values<float>(read("Pf\n1 1\n-1\n" + float_bytes(510.0F, true), {.white = 255})) == std::vector<float>{2.0F});
  CHECK(contains(refused("Pf 1 1 0\n1234"sv), "its scale is '0'"));
  CHECK(contains(refused("Pf 1 1 nan\n1234"sv), "its scale is 'nan'"));
  CHECK(contains(refused("Pf 1 1 -1\n123"sv), "is truncated"));
}

TEST_CASE("comments may stand right behind a word, and a comment's line end is the header's") {
  CHECK(values<std::uint8_t>(read("P5#comment\n2 1 255\n\x07\x08"sv)) == V8{7, 8});
  CHECK(values<std::uint8_t>(read("P5# of two words\n2#width\n1#height\r255#largest\n\x07\x08"sv)) == V8{7, 8});
  CHECK(values<std::uint8_t>(read("P2#greys\n2 1 255 7#seven\n8#eight"sv)) == V8{7, 8});
  CHECK(values<float>(read("Pf#floats\n1 1 -1#little\n" + float_bytes(0.5F, true))) == std::vector<float>{0.5F});
  // A blank before the sign ends the header: the sign is a pixel.
  CHECK(values<std::uint8_t>(read("P5 2 1 255 #\n"sv)) == V8{'#', '\n'});
  CHECK(contains(refused("P5 2 1 255#"sv), "is truncated: ends before its pixels"));
}

TEST_CASE("a header that ends with the line end of Windows is read where the size tells, and else refused in words") {
  CHECK(values<std::uint8_t>(read("P5\r\n# made on Windows\r\n2 1\r\n255\r\n\x07\x08"sv)) == V8{7, 8});
  CHECK(values<std::uint8_t>(read("P5 2 1 255#largest\r\n\x07\x08"sv)) == V8{7, 8});
  CHECK(values<std::uint16_t>(read("P5 1 1 65535\r\n\x12\x34"sv)) == V16{0x1234});
  CHECK(values<float>(read("Pf\r\n1 1\r\n-1\r\n" + float_bytes(0.5F, true))) == std::vector<float>{0.5F});
  // By the format's letter: '\n' is the first pixel.
  CHECK(values<std::uint8_t>(read("P5 2 1 255\r\n\x08"sv)) == V8{'\n', 8});
  // So it is where the header's other lines end otherwise, whatever the size.
  CHECK(values<std::uint8_t>(read("P5\r2 1\r255\r\n\x08\x09"sv)) == V8{'\n', 8});
  CHECK(values<std::uint8_t>(read("P5\n2 1#wide\n255\r\n\x08\x09"sv)) == V8{'\n', 8});
  // One byte too many behind another blank is nobody's.
  CHECK(values<std::uint8_t>(read("P5 2 1 255\n\n\x08\x09"sv)) == V8{'\n', 8});
  CHECK(values<std::uint8_t>(read("P5 2 1 255\r\x07\x08\x09"sv)) == V8{7, 8});
  CHECK(contains(refused("P5 2 1 255\r\n\x07\r\n"sv),
                 "in.pgm: its header ends with a line end of Windows (\\r\\n), and where its pixels begin cannot be told: "
                 "3 bytes follow, and they take 2; expected one blank behind the largest value"));
}

TEST_CASE("damage is named, and no size that cannot follow gets memory") {
  CHECK(contains(refused("P5 3 2 255\n12345"sv), "is truncated: 2 x 3 pixels cannot lie in 5 bytes"));
  CHECK(contains(refused("P5 8192 8192 255\n1"sv), "is truncated: 8192 x 8192 pixels"));
  CHECK(contains(refused("P2 8192 8192 255\n1"sv), "is truncated: 8192 x 8192 pixels"));
  CHECK(contains(refused("P6 99999 99999 255\n1"sv), "option 'largest_pixels'"));
  CHECK(contains(refused("P5 2 2 255\n1234"sv, {.largest_pixels = 3}), "option 'largest_pixels'"));
  CHECK(contains(refused("P5 2 2 65535\n12345678"sv, {.largest_bytes = 7}), "option 'largest_bytes'"));
  CHECK(contains(refused("P5 0 2 255\n"sv), "its width is '0'; expected 1 to 2147483647"));
  CHECK(contains(refused("P5 -1 2 255\n"sv), "its width is '-1'"));
  CHECK(contains(refused("P5 1 4294967297 255\n"sv), "its height is '4294967297'"));
  CHECK(contains(refused("P5 1 1 0\n1"sv), "its largest value is '0'; expected 1 to 65535"));
  CHECK(contains(refused("P5 1 1 65536\n12"sv), "its largest value is '65536'"));
  CHECK(contains(refused("P5 1 1 100\n\x65"sv), "holds the value 101; its largest is 100"));
  CHECK(contains(refused("P2 1 1 100 101"sv), "its value of a pixel is '101'; expected 0 to 100"));
  CHECK(contains(refused("P2 2 1 9 1 x"sv), "its value of a pixel is 'x'"));
  CHECK(contains(refused("P5 1 # 1 255"sv), "is truncated: ends before its height"));
  CHECK(contains(refused("P5 1 1 255"sv), "is truncated: ends before its pixels"));
  CHECK(contains(refused("P4 8 1\n1"sv), "not a PGM, PPM or PFM file"));
}
