// BMP files, made byte for byte here.
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <dssl/io/bmp.hpp>

#include "bmp_samples.hpp"
#include "thrown.hpp"

namespace {

using dssl::AnyImage;
using dssl::Image;
using dssl::ImageError;
using dssl::ReadOptions;
using dssl::test::bmp_file;
using dssl::test::BmpLayout;
using dssl::test::contains;
using dssl::test::thrown_by;
using namespace std::string_literals;

AnyImage read(std::string_view file, const ReadOptions& options = {}) {
  return dssl::decode_bmp(std::as_bytes(std::span(file)), "in.bmp", options);
}

std::vector<std::uint8_t> values(const AnyImage& image) {
  const auto pixels = std::get<Image<std::uint8_t>>(image).pixels();
  return {pixels.begin(), pixels.end()};
}

std::string refused(std::string_view file, const ReadOptions& options = {}) {
  return thrown_by<ImageError>([&] { static_cast<void>(read(file, options)); });
}

using V8 = std::vector<std::uint8_t>;

}  // namespace

TEST_CASE("rows of 24 bits lie upside down, blue first, filled up to four bytes") {
  const std::string rows = "\x07\x08\x09\x0a\x0b\x0c..\x01\x02\x03\x04\x05\x06..";
  const AnyImage image = read(bmp_file({.width = 2, .height = 2, .bits = 24}, rows));
  CHECK((dssl::height(image) == 2 && dssl::width(image) == 2 && dssl::channels(image) == 3));
  CHECK(values(image) == V8{3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10});
  // A height below 0: from above.
  CHECK(values(read(bmp_file({.width = 2, .height = -2, .bits = 24}, rows))) == V8{9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4});
  // OS/2's header of 12 bytes.
  CHECK(values(read(bmp_file({.width = 2, .height = 2, .bits = 24, .header = 12}, rows))) == values(image));
  CHECK(dssl::channels(read(bmp_file({.width = 2, .height = 2, .bits = 24}, rows), {.channels = 1})) == 1);
}

TEST_CASE("palettes of greys are one channel, of colours three, and of masks indices") {
  const std::vector<std::uint32_t> greys{0x000000, 0x111111, 0xFFFFFF};
  const AnyImage grey = read(bmp_file({.width = 3, .height = 1, .bits = 8, .palette = greys}, "\x02\x00\x01."s));
  CHECK(dssl::channels(grey) == 1);
  CHECK(values(grey) == V8{255, 0, 17});
  const std::vector<std::uint32_t> colours{0x102030, 0xFF0000};
  for (const unsigned header : {12U, 40U, 108U, 124U}) {
    // All colours that the old header's depth has.
    std::vector<std::uint32_t> all = colours;
    if (header == 12) all.resize(16);
    const BmpLayout layout{.width = 3, .height = 1, .bits = 4, .header = header, .palette = all};
    CHECK(values(read(bmp_file(layout, "\x10\x1f.."s))) == V8{255, 0, 0, 16, 32, 48, 255, 0, 0});
  }
  // One bit, the leftmost pixel the highest; nine pixels take two bytes.
  const std::string bits = bmp_file({.width = 9, .height = 1, .bits = 1, .palette = colours}, "\xa0\x80.."s);
  const dssl::detail::BmpHeader header(std::as_bytes(std::span(bits)), "in.bmp", {});
  const Image<std::uint8_t> indices = dssl::detail::bmp_indices(header, "in.bmp");
  CHECK(V8(indices.pixels().begin(), indices.pixels().end()) == V8{1, 0, 1, 0, 0, 0, 0, 0, 1});
  CHECK(contains(refused(bmp_file({.width = 1, .height = 1, .bits = 8, .palette = colours}, "\x02..."s)),
                 "in.bmp: is damaged: a pixel has colour 2 of a palette of 2"));
}

TEST_CASE("16 and 32 bits, with masks and without, and transparency where a mask says so") {
  // 5 bits a channel: 31 is 255, 16 is 132.
  CHECK(values(read(bmp_file({.width = 2, .height = 1, .bits = 16}, "\x1f\x42\x00\x7c"s))) == V8{132, 132, 255, 255, 0, 0});
  const std::vector<std::uint32_t> five_six_five{0xF800, 0x07E0, 0x001F};
  CHECK(values(read(bmp_file({.width = 2, .height = 1, .bits = 16, .compression = 3, .masks = five_six_five}, "\xe0\x07\x00\xf8"s))) ==
        V8{0, 255, 0, 255, 0, 0});
  CHECK(values(read(bmp_file({.width = 1, .height = 1, .bits = 32}, "\x01\x02\x03\x04"s), {.keep_alpha = true})) == V8{3, 2, 1});
  const std::vector<std::uint32_t> with_alpha{0xFF, 0xFF00, 0xFF0000, 0xFF000000};
  const std::string alpha =
      bmp_file({.width = 1, .height = 1, .bits = 32, .compression = 3, .header = 108, .masks = with_alpha}, "\x01\x02\x03\x04"s);
  CHECK(values(read(alpha)) == V8{1, 2, 3});
  CHECK(values(read(alpha, {.keep_alpha = true})) == V8{1, 2, 3, 4});
  // 10 bits a channel: 1023 is 255, 512 is 128.
  const std::vector<std::uint32_t> ten{0x3FF00000, 0xFFC00, 0x3FF};
  CHECK(values(read(bmp_file({.width = 1, .height = 1, .bits = 32, .compression = 3, .masks = ten}, "\x00\x00\xf8\x3f"s))) == V8{255, 128, 0});
}

TEST_CASE("damage and what is not read are named, and no size that cannot follow gets memory") {
  const std::string row = "\x01\x02\x03.";
  const BmpLayout one{.width = 1, .height = 1, .bits = 24};
  const auto changed = [&](auto change) {
    BmpLayout layout = one;
    change(layout);
    return refused(bmp_file(layout, row));
  };
  CHECK(contains(changed([](BmpLayout& l) { l.width = 20000, l.height = 20000; }), "option 'largest_pixels'"));
  CHECK(contains(changed([](BmpLayout& l) { l.width = 8192, l.height = 8192; }), "is truncated: 8192 x 8192 pixels cannot lie in 4 bytes"));
  CHECK(contains(changed([](BmpLayout& l) { l.width = 0; }), "has 1 x 0 pixels"));
  CHECK(contains(changed([](BmpLayout& l) { l.width = -1; }), "a side is longer"));
  CHECK(contains(changed([](BmpLayout& l) { l.height = -2147483647 - 1; }), "a side is longer"));
  CHECK(contains(changed([](BmpLayout& l) { l.bits = 2; }), "is a BMP of 2 bits a pixel; expected 1, 4, 8, 16, 24 or 32"));
  CHECK(contains(changed([](BmpLayout& l) { l.compression = 1; }), "is a compressed BMP (method 1)"));
  CHECK(contains(changed([](BmpLayout& l) { l.compression = 3; }), "24 bits a pixel with masks"));
  CHECK(contains(changed([](BmpLayout& l) { l.header = 64; }), "header has 64 bytes"));
  CHECK(contains(changed([](BmpLayout& l) { l.pixels_at = 20; }), "its pixels begin at byte 20 of 58"));
  CHECK(contains(changed([](BmpLayout& l) { l.pixels_at = 59; }), "its pixels begin at byte 59 of 58"));
  CHECK(contains(changed([](BmpLayout& l) { l.bits = 8, l.colours = 257; }), "its palette has 257 colours; expected at most 256"));
  CHECK(contains(changed([](BmpLayout& l) { l.bits = 8, l.colours = 256; }), "is truncated in its palette"));
  for (const auto& masks : {std::vector<std::uint32_t>{0xF0F, 0xF0, 0xF000}, {0xFF, 0x1FF, 0xFF0000}, {0, 0xFF, 0xFF00}}) {
    CHECK(contains(changed([&](BmpLayout& l) { l.bits = 32, l.compression = 3, l.masks = masks; }), "is damaged: the mask of channel"));
  }
  const std::string whole = bmp_file(one, row);
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK(contains(refused(whole.substr(0, size)), "in.bmp: "));
  CHECK(contains(refused(whole, {.largest_bytes = 3}), "option 'largest_bytes'"));
}
