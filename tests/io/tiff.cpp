// TIFF files of every kind that is read, written by libtiff and compared to the pixel; damage and hostile files.
#include "catch.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <unistd.h>

#include <dssl/data/image_folder.hpp>
#include <dssl/io/mask_file.hpp>
#include <dssl/io/tiff.hpp>

#include "image_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "tiff_samples.hpp"

namespace {

using namespace dssl;
using namespace dssl::test;

AnyImage read(const std::string& file, const ReadOptions& options = {}) {
  return decode_tiff(as_bytes(file), "in.tif", options);
}
std::string refused(const std::string& file, const ReadOptions& options = {}) {
  return thrown_by<ImageError>([&] { static_cast<void>(read(file, options)); });
}

template <class T>
std::string_view text_of(const Image<T>& image) {
  return {reinterpret_cast<const char*>(image.pixels().data()), image.pixels().size_bytes()};
}

/// The same pixels, a channel after the other.
template <PixelType T>
std::string planes_of(const Image<T>& image) {
  std::string out;
  for (Index c = 0; c < image.channels(); ++c) {
    for (Index y = 0; y < image.height(); ++y) {
      for (Index x = 0; x < image.width(); ++x) out.append(reinterpret_cast<const char*>(&image(y, x, c)), sizeof(T));
    }
  }
  return out;
}

template <PixelType T>
void check_layouts(Index channels) {
  const Image<T> image = scrambled<T>(21, 35, channels);
  Image<T> expected = image;
  if (channels == 2 || channels == 4) {
    expected = Image<T>(21, 35, channels - 1);
    for (Index y = 0; y < 21; ++y) {
      for (Index x = 0; x < 35; ++x) {
        for (Index c = 0; c + 1 < channels; ++c) expected(y, x, c) = image(y, x, c);
      }
    }
  }
  for (const std::uint16_t compression : std::array<std::uint16_t, 4>{COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS}) {
    for (const std::uint32_t tile : {0U, 16U}) {
      for (const bool separate : {false, true}) {
        for (const char* const mode : {"wl", "wb", "w8"}) {
          CAPTURE(channels, compression, tile, separate, mode);
          const std::string file = tiff_file(
              {.width = 35,
               .height = 21,
               .bits = 8 * sizeof(T),
               .samples = static_cast<std::uint16_t>(channels),
               .photometric = static_cast<std::uint16_t>(channels < 3 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB),
               .compression = compression,
               .format = static_cast<std::uint16_t>(std::is_same_v<T, float> ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT),
               .tile = tile,
               .separate = separate,
               .predictor = compression == COMPRESSION_LZW && !std::is_same_v<T, float>,
               .mode = mode},
              separate ? std::string_view(planes_of(image)) : text_of(image));
          REQUIRE(std::get<Image<T>>(read(file)) == expected);
          REQUIRE(std::get<Image<T>>(read(file, {.keep_alpha = true})) == image);
        }
      }
    }
  }
}

/// Number n of the file of an image that the test below damages: a small one of each way to lie.
std::vector<std::string> small_files() {
  const Image<std::uint8_t> image = scrambled<std::uint8_t>(5, 7, 3);
  const TiffLayout layout{.width = 7, .height = 5, .samples = 3, .photometric = PHOTOMETRIC_RGB};
  std::vector<std::string> out{tiff_file(layout, text_of(image))};
  TiffLayout packed = layout;
  packed.compression = COMPRESSION_LZW;
  packed.tile = 16;
  out.push_back(tiff_file(packed, text_of(image)));
  TiffLayout jpeg = layout;
  jpeg.compression = COMPRESSION_JPEG;
  jpeg.photometric = PHOTOMETRIC_YCBCR;
  out.push_back(tiff_file(jpeg, text_of(image)));
  TiffLayout fax{.width = 19, .height = 3, .bits = 1, .photometric = PHOTOMETRIC_MINISWHITE, .compression = COMPRESSION_CCITTFAX4};
  std::string bits(57, '\0');
  for (std::size_t i = 0; i < bits.size(); i += 4) bits[i] = 1;
  out.push_back(tiff_file(fax, bits));
  return out;
}

/// What a call writes to stderr, which is nobody's but the program's.
template <class Call>
std::string stderr_of(const Call& call) {
  const TemporaryFolder folder;
  std::fflush(stderr);
  const int kept = ::dup(2);
  std::FILE* const file = std::fopen((folder / "err").c_str(), "wb");
  ::dup2(::fileno(file), 2);
  call();
  std::fflush(stderr);
  ::dup2(kept, 2);
  ::close(kept);
  std::fclose(file);
  return read_text(folder / "err");
}

}  // namespace

TEST_CASE("TIFF: 8 and 16 bits and floats, in strips and tiles, planes apart and together, packed and not") {
  for (const Index channels : {1, 2, 3, 4}) {
    check_layouts<std::uint8_t>(channels);
    check_layouts<std::uint16_t>(channels);
  }
  check_layouts<float>(1);
  check_layouts<float>(3);
}

TEST_CASE("TIFF: few bits are spread, 0 may be white, palettes are colours, and the white of 16 bits is named") {
  const std::string four("\x00\x01\x0f\x07\x05", 5);
  const TiffLayout layout{.width = 5, .height = 1, .bits = 4};
  CHECK(std::get<Image<std::uint8_t>>(read(tiff_file(layout, four))) == Image<std::uint8_t>(1, 5, 1, {0, 17, 255, 119, 85}));
  TiffLayout inverted = layout;
  inverted.photometric = PHOTOMETRIC_MINISWHITE;
  CHECK(std::get<Image<std::uint8_t>>(read(tiff_file(inverted, four))) == Image<std::uint8_t>(1, 5, 1, {255, 238, 0, 136, 170}));
  TiffLayout bilevel{.width = 9, .height = 2, .bits = 1, .photometric = PHOTOMETRIC_MINISWHITE};
  const std::string bits("\1\0\0\1\1\0\1\0\1\0\0\0\0\0\0\1\1\1", 18);
  Image<std::uint8_t> expected(2, 9, 1);
  for (std::size_t i = 0; i < 18; ++i) expected.pixels()[i] = bits[i] != 0 ? 0 : 255;
  for (const std::uint16_t compression : std::array<std::uint16_t, 4>{COMPRESSION_NONE, COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3, COMPRESSION_CCITTFAX4}) {
    bilevel.compression = compression;
    CHECK(std::get<Image<std::uint8_t>>(read(tiff_file(bilevel, bits))) == expected);
  }
  TiffLayout palette{.width = 3, .height = 1, .bits = 2, .photometric = PHOTOMETRIC_PALETTE,
                     .colours = {0, 257, 514, 65535, 2570, 0, 0, 771, 0, 1028, 0, 0}};
  CHECK(std::get<Image<std::uint8_t>>(read(tiff_file(palette, std::string("\3\1\2", 3)))) ==
        Image<std::uint8_t>(1, 3, 3, {255, 3, 0, 1, 0, 4, 2, 0, 0}) );
  palette.colours = {0, 1, 2, 255, 10, 0, 0, 3, 0, 4, 0, 0};  // of 8 bits, as some programs write it
  CHECK(std::get<Image<std::uint8_t>>(read(tiff_file(palette, std::string("\3\1\2", 3)))) ==
        Image<std::uint8_t>(1, 3, 3, {255, 3, 0, 1, 0, 4, 2, 0, 0}) );
  const Image<std::uint16_t> deep(1, 3, 1, {0, 2048, 4095});
  CHECK(std::get<Image<std::uint16_t>>(read(tiff_file({.width = 3, .height = 1, .bits = 16}, text_of(deep)), {.white = 4095})) ==
        Image<std::uint16_t>(1, 3, 1, {0, 32776, 65535}));
  // Where 0 is white, what is named is the other end.
  const TiffLayout turned{.width = 3, .height = 1, .bits = 16, .photometric = PHOTOMETRIC_MINISWHITE};
  CHECK(std::get<Image<std::uint16_t>>(read(tiff_file(turned, text_of(deep)), {.white = 4095})) ==
        Image<std::uint16_t>(1, 3, 1, {65535, static_cast<std::uint16_t>((2047 * 65535 + 2047) / 4095), 0}));
  CHECK(std::get<Image<std::uint16_t>>(read(tiff_file(turned, text_of(deep)), {.white = 2000})) ==
        Image<std::uint16_t>(1, 3, 1, {65535, 0, 0}));
  CHECK(std::get<Image<std::uint16_t>>(read(tiff_file(turned, text_of(deep)))) == Image<std::uint16_t>(1, 3, 1, {65535, 63487, 61440}));
}

TEST_CASE("TIFF: 12 bits are spread over 16") {
  // libtiff writes rows as they are packed: 0xABC, 0x001, and half a byte of nothing.
  const std::string file = tiff_file({.width = 1, .height = 1, .bits = 8}, "\xab");
  std::string twelve = file;
  const auto tag = twelve.find(std::string("\x02\x01\x03\0\x01\0\0\0\x08\0", 10));
  REQUIRE(tag != std::string::npos);
  // One pixel of 12 bits takes two bytes: the pixel lies at byte 8, and the byte behind it is the file's padding.
  twelve[tag + 8] = 12;
  const auto counts = twelve.find(std::string("\x17\x01\x03\0\x01\0\0\0\x01\0", 10));
  const auto counts_long = twelve.find(std::string("\x17\x01\x04\0\x01\0\0\0\x01\0", 10));
  REQUIRE((counts != std::string::npos || counts_long != std::string::npos));
  twelve[std::min(counts, counts_long) + 8] = 2;
  twelve[8] = '\xab';
  twelve[9] = '\xc0';
  CHECK(std::get<Image<std::uint16_t>>(read(twelve)) == Image<std::uint16_t>(1, 1, 1, {static_cast<std::uint16_t>((0xABC * 65535 + 2047) / 4095)}));
  CHECK(std::get<Image<std::uint16_t>>(read(twelve, {.white = 0xABC})) == Image<std::uint16_t>(1, 1, 1, {65535}));
}

TEST_CASE("TIFF: the orientation tag turns the picture") {
  const Image<std::uint8_t> image = scrambled<std::uint8_t>(3, 5, 3);
  for (std::uint16_t o = 1; o <= 8; ++o) {
    const std::string file = tiff_file({.width = 5, .height = 3, .samples = 3, .photometric = PHOTOMETRIC_RGB, .orientation = o}, text_of(image));
    CHECK(std::get<Image<std::uint8_t>>(read(file)) == oriented(image, static_cast<Orientation>(o)));
    CHECK(std::get<Image<std::uint8_t>>(read(file, {.orient = false})) == image);
  }
}

TEST_CASE("TIFF: JPEG within is near what was written, whatever its colours and blocks") {
  for (const auto& [samples, photometric] : {std::pair<std::uint16_t, std::uint16_t>{1, PHOTOMETRIC_MINISBLACK}, {3, PHOTOMETRIC_RGB}, {3, PHOTOMETRIC_YCBCR}}) {
    for (const std::uint32_t tile : {0U, 32U}) {
      const Image<std::uint8_t> image = smooth_picture(40, 53, samples);
      const AnyImage got = read(tiff_file({.width = 53, .height = 40, .samples = samples, .photometric = photometric, .compression = COMPRESSION_JPEG, .tile = tile}, text_of(image)));
      const auto& pixels = std::get<Image<std::uint8_t>>(got).pixels();
      REQUIRE(pixels.size() == image.pixels().size());
      double difference = 0;
      for (std::size_t i = 0; i < pixels.size(); ++i) difference += std::abs(pixels[i] - image.pixels()[i]);
      CAPTURE(samples, photometric, tile);
      CHECK(difference / static_cast<double>(pixels.size()) < 4);
    }
  }
}

TEST_CASE("TIFF: JPEG and fax data that end before their pixels are refused, where libtiff warns and fills in") {
  const Image<std::uint8_t> image = scrambled<std::uint8_t>(16, 16, 1);
  std::string jpeg = tiff_file({.width = 16, .height = 16, .compression = COMPRESSION_JPEG}, text_of(image));
  const auto scan = jpeg.find("\xff\xda");
  REQUIRE(scan != std::string::npos);
  jpeg.replace(scan + 30, 2, "\xff\xd9");
  CHECK(contains(refused(jpeg), "in.tif: damaged TIFF: "));
  const std::string fax = tiff_file({.width = 19, .height = 2, .bits = 1, .photometric = PHOTOMETRIC_MINISWHITE, .compression = COMPRESSION_CCITTFAX4}, std::string(38, '\1'));
  std::string ended = fax;
  ended.replace(8, 3, std::string("\0\x10\x01", 3));  // the end of the data at once
  INFO(refused(ended));
  CHECK(contains(refused(ended), "in.tif: "));
}

TEST_CASE("TIFF: a file cut anywhere is refused in a line, or gives the same pixels") {
  for (const std::string& whole : small_files()) {
    const AnyImage image = read(whole);
    std::size_t same = 0;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      try {
        const AnyImage cut = read(whole.substr(0, size));
        CHECK(cut == image);
        ++same;
      } catch (const ImageError& error) {
        CHECK(contains(error.what(), "in.tif: "));
      }
    }
    CHECK(same < 16);  // what lies behind the last value that is needed
  }
}

TEST_CASE("TIFF: bytes that are changed are refused in a line or give a picture, and nothing is printed") {
  const std::string printed = stderr_of([] {
    for (const std::string& whole : small_files()) {
      for (std::size_t i = 0; i < whole.size(); ++i) {
        for (const char value : {'\0', '\x7f', '\xff'}) {
          std::string file = whole;
          file[i] = value;
          try {
            static_cast<void>(read(file, {.largest_pixels = 1 << 16, .largest_bytes = 1 << 20}));
          } catch (const ImageError&) {
          }
        }
      }
    }
  });
  CHECK(printed.empty());
}

TEST_CASE("TIFF: what is not read, and sizes that cannot follow, are named before anything is made of them") {
  const auto values = [](std::size_t count) { return std::string(count, '\1'); };
  CHECK(contains(refused(tiff_file({.width = 2, .height = 2, .bits = 32}, values(16))), "in.tif: is a TIFF that has 32 bits a value"));
  CHECK(contains(refused(tiff_file({.width = 2, .height = 2, .format = SAMPLEFORMAT_INT}, values(4))), "has values of kind 2 and 8 bits"));
  CHECK(contains(refused(tiff_file({.width = 2, .height = 2, .samples = 4, .photometric = PHOTOMETRIC_SEPARATED}, values(16))), "has colours of kind 5"));
  CHECK(contains(refused(tiff_file({.width = 2, .height = 2, .samples = 5, .photometric = PHOTOMETRIC_RGB}, values(20))), "has 5 values a pixel; expected 3"));
  const float broken = std::numeric_limits<float>::quiet_NaN();
  CHECK(contains(refused(tiff_file({.width = 1, .height = 1, .bits = 32, .format = SAMPLEFORMAT_IEEEFP}, std::string(reinterpret_cast<const char*>(&broken), 4))), "holds a value that is not finite"));

  // The sides of a good file, or of its tiles, changed to 30 000.
  const auto grown = [&](std::string file, char tag) {
    for (const char which : {tag, static_cast<char>(tag + 1)}) {
      for (const char kind : {'\3', '\4'}) {
        const auto at = file.find(std::string{which, '\1', kind, '\0', '\1', '\0', '\0', '\0'});
        if (at != std::string::npos) file[at + 8] = '\x30', file[at + 9] = '\x75';
      }
    }
    return file;
  };
  const ReadOptions larger{.largest_pixels = Index{1} << 31};
  for (const std::uint16_t compression : std::array<std::uint16_t, 4>{COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS}) {
    const std::string strips = grown(tiff_file({.width = 20, .height = 20, .compression = compression}, values(400)), '\0');
    CHECK(contains(refused(strips), "has 30000 x 30000 pixels; expected at most"));
    CHECK(contains(refused(strips, larger), "30000 x 30000 pixels cannot lie in"));
    const std::string tiles = grown(tiff_file({.width = 20, .height = 20, .compression = compression, .tile = 32}, values(400)), '\x42');
    CHECK(contains(refused(tiles, larger), "30000 x 30000 pixels cannot lie in"));
  }
  const std::string small = tiff_file({.width = 2, .height = 2}, values(4));
  CHECK(contains(refused(small, {.largest_pixels = 3}), "option 'largest_pixels'"));
  CHECK(contains(refused(small, {.largest_bytes = 3}), "in.tif: "));
  CHECK(contains(refused("II*"), "in.tif: damaged or unsupported TIFF: "));

  // 64 strips that all say to take the whole file.
  std::string shared = tiff_file({.width = 64, .height = 128, .compression = COMPRESSION_ADOBE_DEFLATE}, values(64 * 128));
  std::size_t counts = std::string::npos;
  for (const char kind : {'\3', '\4'}) counts = std::min(counts, shared.find(std::string{'\x17', '\1', kind, '\0', '\x40', '\0', '\0', '\0'}));
  REQUIRE(counts != std::string::npos);
  const std::size_t each = shared[counts + 2] == '\3' ? 2 : 4;
  const std::size_t at = static_cast<unsigned char>(shared[counts + 8]) + 256U * static_cast<unsigned char>(shared[counts + 9]);
  for (std::size_t i = 0; i < 64; ++i) {
    shared[at + i * each] = static_cast<char>(shared.size() & 255U);
    shared[at + i * each + 1] = static_cast<char>(shared.size() >> 8U);
  }
  CHECK(contains(refused(shared), "has 64 strips or tiles that take more than 16 times the file's"));
}

TEST_CASE("TIFF: masks are indices and values as they are stored") {
  const TemporaryFolder folder;
  const auto mask_of = [&](const TiffLayout& layout, std::string_view values) {
    write_text(folder / "m.tif", tiff_file(layout, values));
    const Image<std::uint8_t> mask = read_mask(folder / "m.tif");
    return std::vector<int>(mask.pixels().begin(), mask.pixels().end());
  };
  using Ids = std::vector<int>;
  const std::string_view ids("\0\1\3", 3);
  CHECK(mask_of({.width = 3, .height = 1}, ids) == Ids{0, 1, 3});
  CHECK(mask_of({.width = 3, .height = 1, .bits = 2}, ids) == Ids{0, 1, 3});
  CHECK(mask_of({.width = 3, .height = 1, .bits = 2, .photometric = PHOTOMETRIC_PALETTE, .compression = COMPRESSION_LZW, .orientation = 2,
                 .colours = std::vector<std::uint16_t>(12, 9)}, ids) == Ids{3, 1, 0});
  const Image<std::uint16_t> deep(1, 3, 1, {0, 7, 255});
  CHECK(mask_of({.width = 3, .height = 1, .bits = 16}, text_of(deep)) == Ids{0, 7, 255});
  const MarkedMask marked = read_marked_mask(folder / "m.tif");
  CHECK(marked.mask == Image<std::uint8_t>(1, 3, 1, {0, 1, 1}));
  write_text(folder / "m.tif", tiff_file({.width = 3, .height = 1, .compression = COMPRESSION_JPEG}, ids));
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(read_mask(folder / "m.tif")); }), "is a JPEG in a TIFF, which does not keep ids"));
  const float value = 1;
  write_text(folder / "m.tif", tiff_file({.width = 1, .height = 1, .bits = 32, .format = SAMPLEFORMAT_IEEEFP}, std::string(reinterpret_cast<const char*>(&value), 4)));
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(read_mask(folder / "m.tif")); }), "is a mask of floats"));
}
