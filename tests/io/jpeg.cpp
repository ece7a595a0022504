// JPEG files: grey, colour and ink, damage that libjpeg only warns of, no output.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <variant>
#include <vector>

#include <unistd.h>

#include <dssl/io/jpeg.hpp>

#include "image_samples.hpp"
#include "jpeg_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using dssl::Image;
using dssl::ImageError;
using dssl::Index;
using dssl::test::contains;
using dssl::test::make_jpeg;
using dssl::test::smooth_picture;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using Bytes8 = Image<std::uint8_t>;

int largest_difference(const Bytes8& a, const Bytes8& b) {
  REQUIRE(a.pixels().size() == b.pixels().size());
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels().size(); ++i)
    largest = std::max(largest, std::abs(a.pixels()[i] - b.pixels()[i]));
  return largest;
}

/// A JPEG of four inks (CMYK, or YCCK as Adobe's programs write it), all pixels alike.
std::vector<std::byte> ink_jpeg(J_COLOR_SPACE stored, bool adobe, const std::vector<std::uint8_t>& ink) {
  Bytes8 image(16, 16, 4);
  for (std::size_t i = 0; i < image.pixels().size(); ++i) image.pixels()[i] = ink[i % 4];
  return make_jpeg(image, JCS_CMYK, [&](jpeg_compress_struct& codec) {
    jpeg_set_colorspace(&codec, stored);
    codec.write_Adobe_marker = adobe ? TRUE : FALSE;
    jpeg_set_quality(&codec, 100, TRUE);
  });
}

/// A JPEG of one grey whose coefficients come in several scans: those but the first say nothing.
std::vector<std::byte> progressive_jpeg(Index height, Index width) {
  return make_jpeg(Bytes8(height, width, 1), JCS_GRAYSCALE,
                   [](jpeg_compress_struct& codec) { jpeg_simple_progression(&codec); });
}

}  // namespace

TEST_CASE("a colour and a grey JPEG come back close to what was written") {
  const TemporaryFolder folder;
  for (const Index channels : {Index{1}, Index{3}}) {
    for (const auto& [height, width] :
         std::vector<std::pair<Index, Index>>{{40, 56}, {1, 1}, {3, 200}, {33, 1}}) {
      CAPTURE(channels, height, width);
      const Bytes8 picture = smooth_picture(height, width, channels);
      dssl::write_jpeg(folder / "i.jpg", picture, 98);
      const auto back = std::get<Bytes8>(dssl::read_jpeg(folder / "i.jpg"));
      REQUIRE(back.height() == height);
      REQUIRE(back.width() == width);
      REQUIRE(back.channels() == channels);
      if (height > 3 && width > 3) REQUIRE(largest_difference(back, picture) <= 12);
    }
  }
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("lower quality makes smaller files") {
  const Bytes8 picture = dssl::test::scrambled<std::uint8_t>(64, 64, 3);
  REQUIRE(dssl::encode_jpeg(picture, 20).size() < dssl::encode_jpeg(picture, 90).size());
  REQUIRE(contains(thrown_by<dssl::OptionError>([&] { (void)dssl::encode_jpeg(picture, 0); }), "quality"));
  REQUIRE_THROWS_AS(dssl::encode_jpeg(Bytes8(2, 2, 4)), dssl::ShapeError);
  REQUIRE_THROWS_AS(dssl::encode_jpeg(Bytes8(1, 70000, 1)), dssl::ShapeError);
}

TEST_CASE("ink becomes RGB as the field reads it: inverted, with Adobe's marker or without") {
  // 0 % cyan, 100 % magenta, 50 % yellow, 20 % black, as shares of 255.
  const std::vector<std::uint8_t> inverted{255, 0, 127, 204};
  Bytes8 expected(16, 16, 3);
  for (Index i = 0; i < 256; ++i) {
    expected(i / 16, i % 16, 0) = 204;
    expected(i / 16, i % 16, 1) = 0;
    expected(i / 16, i % 16, 2) = 102;
  }
  const auto read = [](const std::vector<std::byte>& jpeg) {
    return std::get<Bytes8>(dssl::decode_jpeg(jpeg, "ink.jpg"));
  };
  REQUIRE(largest_difference(read(ink_jpeg(JCS_CMYK, false, inverted)), expected) <= 3);
  REQUIRE(largest_difference(read(ink_jpeg(JCS_CMYK, true, inverted)), expected) <= 3);
  REQUIRE(largest_difference(read(ink_jpeg(JCS_YCCK, true, inverted)), expected) <= 3);
}

TEST_CASE("a JPEG cut short anywhere is unreadable, and nothing is printed") {
  const TemporaryFolder folder;
  const std::vector<std::byte> whole = dssl::encode_jpeg(smooth_picture(40, 40, 3), 90);
  const std::string printed = folder / "stderr.txt";
  std::fflush(stderr);
  const int before = ::dup(2);
  REQUIRE(std::freopen(printed.c_str(), "w", stderr) != nullptr);
  std::vector<std::string> errors;
  for (std::size_t length = 0; length < whole.size(); ++length) {
    errors.push_back(
        thrown_by<ImageError>([&] { (void)dssl::decode_jpeg(std::span(whole).first(length), "cut.jpg"); }));
  }
  std::fflush(stderr);
  ::dup2(before, 2);
  ::close(before);
  REQUIRE(dssl::test::read_text(printed).empty());
  for (const std::string& error : errors) REQUIRE(error.starts_with("cut.jpg: "));
  REQUIRE(contains(errors.back(), "Premature end of JPEG file"));
}

TEST_CASE("no flipped bit leads outside the image") {
  const std::vector<std::byte> whole = dssl::encode_jpeg(smooth_picture(24, 24, 3), 80);
  int unreadable = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::vector<std::byte> damaged = whole;
    damaged[at] ^= std::byte{0x41};
    try {
      const auto image =
          std::get<Bytes8>(dssl::decode_jpeg(damaged, "flip.jpg", {.largest_pixels = 1 << 20}));
      REQUIRE(image.pixels().size() ==
              static_cast<std::size_t>(image.height() * image.width() * image.channels()));
    } catch (const ImageError&) {
      ++unreadable;
    }
  }
  REQUIRE(unreadable > 0);
}

TEST_CASE("a JPEG of impossible size is refused before memory is taken") {
  std::vector<std::byte> jpeg = dssl::encode_jpeg(smooth_picture(16, 16, 1));
  // The frame header: FF C0, two bytes of length, one of precision, then height and width.
  for (std::size_t at = 0; at + 8 < jpeg.size(); ++at) {
    if (jpeg[at] == std::byte{0xFF} && jpeg[at + 1] == std::byte{0xC0}) {
      for (std::size_t i = 5; i < 9; ++i) jpeg[at + i] = std::byte{0xF0};
      break;
    }
  }
  const std::string error = thrown_by<ImageError>([&] { (void)dssl::decode_jpeg(jpeg, "bomb.jpg"); });
  REQUIRE(contains(error, "bomb.jpg: has 61680 x 61680 pixels; expected at most"));
}

TEST_CASE("a JPEG whose size cannot follow is refused before memory is taken") {
  std::vector<std::byte> jpeg = dssl::encode_jpeg(smooth_picture(16, 16, 1));
  for (std::size_t at = 0; at + 8 < jpeg.size(); ++at) {
    if (jpeg[at] == std::byte{0xFF} && jpeg[at + 1] == std::byte{0xC0}) {
      for (const std::size_t i : {5, 7}) jpeg[at + i] = std::byte{0x20};
      break;
    }
  }
  const std::string error = thrown_by<ImageError>([&] { (void)dssl::decode_jpeg(jpeg, "bomb.jpg"); });
  REQUIRE(contains(error, "bomb.jpg: is truncated or damaged: 8208 x 8208 pixels cannot lie in "));

  // The emptiest there is: all pixels alike.
  REQUIRE(dssl::width(dssl::decode_jpeg(dssl::encode_jpeg(Bytes8(3000, 3000, 1), 1), "plain.jpg")) == 3000);
}

TEST_CASE("a JPEG of very many scans is refused before they take minutes") {
  std::vector<std::byte> jpeg = progressive_jpeg(64, 64);
  // The last scan again and again; each goes over all blocks.
  std::size_t scan = jpeg.size() - 2;
  while (!(jpeg[scan] == std::byte{0xFF} && jpeg[scan + 1] == std::byte{0xDA})) --scan;
  const std::vector<std::byte> last(jpeg.begin() + static_cast<std::ptrdiff_t>(scan), jpeg.end() - 2);
  REQUIRE(dssl::width(dssl::decode_jpeg(jpeg, "few.jpg")) == 64);
  for (int n = 0; n < 600; ++n) jpeg.insert(jpeg.end() - 2, last.begin(), last.end());
  REQUIRE(thrown_by<ImageError>([&] { (void)dssl::decode_jpeg(jpeg, "many.jpg"); }) ==
          "many.jpg: damaged or unsupported JPEG: more than 500 scans");
}
