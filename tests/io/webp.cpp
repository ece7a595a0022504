// WebP files, written by libwebp: pixels, transparency, orientation, damage.
#include "catch.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <dssl/data/image_folder.hpp>
#include <dssl/io/mask_file.hpp>
#include <dssl/io/webp.hpp>

#include "image_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "webp_samples.hpp"

namespace {

using namespace dssl;
using namespace dssl::test;
using Bytes8 = Image<std::uint8_t>;

AnyImage read(const std::string& file, const ReadOptions& options = {}) {
  return decode_webp(as_bytes(file), "in.webp", options);
}
std::string refused(const std::string& file, const ReadOptions& options = {}) {
  return thrown_by<ImageError>([&] { static_cast<void>(read(file, options)); });
}

Bytes8 without_last_channel(const Bytes8& image) {
  Bytes8 out(image.height(), image.width(), image.channels() - 1);
  for (Index y = 0; y < out.height(); ++y) {
    for (Index x = 0; x < out.width(); ++x) {
      for (Index c = 0; c < out.channels(); ++c) out(y, x, c) = image(y, x, c);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("WebP without loss gives the pixels, with transparency where it is asked for") {
  const Bytes8 colours = scrambled<std::uint8_t>(9, 13, 3);
  CHECK(std::get<Bytes8>(read(webp_file(colours, -1))) == colours);
  CHECK(std::get<Bytes8>(read(webp_file(colours, -1), {.keep_alpha = true})) == colours);
  Bytes8 clear = scrambled<std::uint8_t>(9, 13, 4);
  for (Index y = 0; y < 9; ++y) {
    for (Index x = 0; x < 13; ++x) clear(y, x, 3) |= 1;  // what is wholly clear loses its colour as it is written
  }
  CHECK(std::get<Bytes8>(read(webp_file(clear, -1), {.keep_alpha = true})) == clear);
  CHECK(std::get<Bytes8>(read(webp_file(clear, -1))) == without_last_channel(clear));
  CHECK(channels(read(webp_file(colours, -1), {.channels = 1})) == 1);
}

TEST_CASE("WebP with loss is near what was written") {
  for (const Index count : {3, 4}) {
    Bytes8 image = smooth_picture(40, 53, count);
    if (count == 4) {
      for (std::size_t i = 3; i < image.pixels().size(); i += 4) image.pixels()[i] = static_cast<std::uint8_t>(128 + i % 100);
    }
    const AnyImage got = read(webp_file(image, 95), {.keep_alpha = true});
    const auto& pixels = std::get<Bytes8>(got).pixels();
    REQUIRE(pixels.size() == image.pixels().size());
    double difference = 0;
    for (std::size_t i = 0; i < pixels.size(); ++i) difference += std::abs(pixels[i] - image.pixels()[i]);
    CHECK(difference / static_cast<double>(pixels.size()) < 4);
  }
}

TEST_CASE("WebP is turned by its EXIF data") {
  const Bytes8 image = scrambled<std::uint8_t>(3, 5, 3);
  const std::string exif("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", 26);
  const std::string file = webp_with_exif(webp_file(image, -1), 5, 3, exif);
  CHECK(std::get<Bytes8>(read(file)) == oriented(image, Orientation::turned_right));
  CHECK(std::get<Bytes8>(read(file, {.orient = false})) == image);
  for (std::size_t size = 0; size < file.size(); ++size) CHECK(contains(refused(file.substr(0, size)), "in.webp: "));
}

TEST_CASE("WebP: a file cut anywhere is refused in a line, and changed bytes give a picture or a line") {
  for (const float quality : {-1.0F, 80.0F}) {
    for (const Index count : {3, 4}) {
      const std::string whole = webp_file(scrambled<std::uint8_t>(9, 7, count), quality);
      for (std::size_t size = 0; size < whole.size(); ++size) CHECK(contains(refused(whole.substr(0, size)), "in.webp: "));
      for (std::size_t i = 0; i < whole.size(); ++i) {
        std::string file = whole;
        file[i] = static_cast<char>(~file[i]);
        try {
          static_cast<void>(read(file, {.largest_pixels = 1 << 16}));
        } catch (const ImageError& error) {
          CHECK(contains(error.what(), "in.webp: "));
        }
      }
    }
  }
}

TEST_CASE("WebP: sizes beyond the options, pictures of nothing and animations are refused before they are decoded") {
  const std::string small = webp_file(scrambled<std::uint8_t>(4, 4, 3), -1);
  CHECK(contains(refused(small, {.largest_pixels = 15}), "option 'largest_pixels'"));
  CHECK(contains(refused(small, {.largest_bytes = 47}), "option 'largest_bytes'"));
  // The size of lossless data: 14 bits each, less 1, behind the chunk's head and a byte.
  std::string vast = small;
  const std::uint32_t sides = 8191U | 8191U << 14U;
  for (std::size_t b = 0; b < 4; ++b) vast[21 + b] = static_cast<char>(sides >> (8 * b));
  CHECK(contains(refused(vast), "8192 x 8192 pixels cannot lie in"));
  std::string moving = webp_with_exif(small, 4, 4, "");
  moving[20] = 2;
  CHECK(contains(refused(moving), "is an animated WebP"));
}

TEST_CASE("WebP: folders take it, and masks without loss keep their ids") {
  const TemporaryFolder folder;
  Bytes8 ids(2, 3, 3);
  for (Index c = 0; c < 3; ++c) ids(1, 2, c) = 7;
  write_text(folder / "a.webp", webp_file(ids, -1));
  CHECK(ImageFolder(folder.path()).size() == 1);
  CHECK(read_mask(folder / "a.webp") == Bytes8(2, 3, 1, {0, 0, 0, 0, 0, 7}));
  write_text(folder / "a.webp", webp_file(ids, 90));
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(read_mask(folder / "a.webp")); }), "is a lossy WebP, which does not keep ids"));
}
