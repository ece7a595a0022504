// EXIF orientation: pictures and masks as viewers show them; and what else a codec makes of a file's values.
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <dssl/io/image_file.hpp>
#include <dssl/io/mask_file.hpp>
#include <dssl/io/orientation.hpp>

#include "exif_samples.hpp"
#include "image_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Bytes8 = Image<std::uint8_t>;

std::uint32_t crc(const std::string& bytes) {
  std::uint32_t value = 0xFFFFFFFFU;
  for (const char c : bytes) {
    value ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) value = value >> 1U ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  return ~value;
}

/// A PNG with an eXIf chunk behind its header, which is 33 bytes long.
std::string with_exif_chunk(const std::vector<std::byte>& png, int orientation) {
  const auto number = [](std::uint32_t v) {
    return std::string{static_cast<char>(v >> 24), static_cast<char>(v >> 16 & 0xFF), static_cast<char>(v >> 8 & 0xFF),
                       static_cast<char>(v & 0xFF)};
  };
  const std::string data = exif(orientation, false);
  const std::string chunk = "eXIf" + data;
  std::string out(reinterpret_cast<const char*>(png.data()), png.size());
  return out.insert(33, number(static_cast<std::uint32_t>(data.size())) + chunk + number(crc(chunk)));
}

/// Rows of single letters.
std::vector<std::string> rows(const Bytes8& image) {
  std::vector<std::string> out;
  for (Index y = 0; y < image.height(); ++y) {
    out.emplace_back();
    for (Index x = 0; x < image.width(); ++x) out.back() += static_cast<char>(image(y, x, 0));
  }
  return out;
}

Bytes8 letters() {
  Bytes8 image(2, 3, 1);
  for (std::size_t i = 0; i < 6; ++i) image.pixels()[i] = static_cast<std::uint8_t>('a' + i);
  return image;
}

using Rows = std::vector<std::string>;
// "abc" over "def" as EXIF 2.32 says for values 1 to 8: where row 0 and column 0 of what is stored lie in the picture.
const std::array<Rows, 8> shown{Rows{"abc", "def"},       Rows{"cba", "fed"},       Rows{"fed", "cba"},
                                Rows{"def", "abc"},       Rows{"ad", "be", "cf"},   Rows{"da", "eb", "fc"},
                                Rows{"fc", "eb", "da"},   Rows{"cf", "be", "ad"}};

}  // namespace

TEST_CASE("stored pixels are turned by each of the eight orientations, with all their channels") {
  for (int value = 1; value <= 8; ++value) {
    CAPTURE(value);
    CHECK(rows(oriented(letters(), static_cast<Orientation>(value))) == shown[static_cast<std::size_t>(value - 1)]);
  }
  Bytes8 colour(1, 2, 3);
  for (std::size_t i = 0; i < 6; ++i) colour.pixels()[i] = static_cast<std::uint8_t>(i);
  const Bytes8 turned = oriented(colour, Orientation::turned_right);
  CHECK(turned.height() == 2);
  CHECK(turned(1, 0, 2) == 5);
}

TEST_CASE("the orientation is found in EXIF data, and damaged data tells none") {
  for (int value = 1; value <= 8; ++value) {
    for (const bool big_endian : {false, true}) {
      const std::string data = exif(value, big_endian);
      CHECK(exif_orientation(as_bytes(data)) == static_cast<Orientation>(value));
      CHECK(exif_orientation(as_bytes(std::string("Exif\0\0", 6) + data)) == static_cast<Orientation>(value));
      for (std::size_t cut = 0; cut < data.size(); ++cut) {
        const Orientation found = exif_orientation(as_bytes(data).first(cut));
        CHECK((found == Orientation::as_stored || found == static_cast<Orientation>(value)));
      }
    }
  }
  CHECK(exif_orientation(as_bytes(exif(0, true))) == Orientation::as_stored);
  CHECK(exif_orientation(as_bytes(exif(9, true))) == Orientation::as_stored);
}

TEST_CASE("JPEG and PNG pictures, and masks, are read as viewers show them") {
  const TemporaryFolder folder;
  const Bytes8 picture = smooth_picture(20, 36, 3);
  write_text(folder / "turned.jpg", std::string_view(with_exif(picture, 6)));
  const auto stored = std::get<Bytes8>(read_image(folder / "turned.jpg", {.orient = false}));
  CHECK(stored.height() == 20);
  CHECK(std::get<Bytes8>(read_image(folder / "turned.jpg")) == oriented(stored, Orientation::turned_right));
  CHECK(height(read_image(folder / "turned.jpg")) == 36);

  write_text(folder / "turned.png", std::string_view(with_exif_chunk(encode_png(letters()), 8)));
  CHECK(rows(std::get<Bytes8>(read_image(folder / "turned.png"))) == shown[7]);
  CHECK(rows(std::get<Bytes8>(read_image(folder / "turned.png", {.orient = false}))) == shown[0]);
  CHECK(rows(read_mask(folder / "turned.png")) == shown[7]);
}

TEST_CASE("a white level stretches 16-bit values, and only these") {
  const TemporaryFolder folder;
  Image<std::uint16_t> deep(1, 4, 1);
  deep(0, 1, 0) = 2048, deep(0, 2, 0) = 4095, deep(0, 3, 0) = 5000;
  write_png(folder / "deep.png", deep);
  const auto read = std::get<Image<std::uint16_t>>(read_image(folder / "deep.png", {.white = 4095}));
  CHECK(std::vector<int>(read.pixels().begin(), read.pixels().end()) == std::vector<int>{0, 32776, 65535, 65535});
  CHECK(std::get<Image<std::uint16_t>>(read_image(folder / "deep.png")) == deep);
  write_png(folder / "grey.png", letters());
  CHECK(std::get<Bytes8>(read_image(folder / "grey.png", {.white = 4095})) == letters());
  CHECK(contains(thrown_by<OptionError>([] { ReadOptions{.white = 70000}.validate(); }), "'white' is 70000"));
}

TEST_CASE("an image of too many pixels or bytes is unreadable, in words, and takes no memory") {
  const TemporaryFolder folder;
  write_png(folder / "i.png", scrambled<std::uint16_t>(20, 30, 3));
  const auto refused = [&](const ReadOptions& options) {
    return thrown_by<ImageError>([&] { static_cast<void>(read_image(folder / "i.png", options)); });
  };
  CHECK(contains(refused({.largest_pixels = 599}), "i.png: has 20 x 30 pixels; expected at most 599"));
  CHECK(contains(refused({.largest_bytes = 3000}), "bytes; expected at most 3000"));  // the file's own
  CHECK(refused({.largest_pixels = 600, .largest_bytes = 4000}) == "(nothing was thrown)");
  write_png(folder / "i.png", Image<std::uint16_t>(20, 30, 3));  // a small file of many bytes
  CHECK(contains(refused({.largest_bytes = 3599}), "20 x 30 pixels of 6 bytes; expected at most 3599 bytes"));
  CHECK(refused({.largest_bytes = 3600}) == "(nothing was thrown)");
}
