// PNG files: all depths and layouts, masks whose indices stay, damage named.
#include "catch.hpp"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <dssl/io/png.hpp>

#include "image_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using dssl::AnyImage;
using dssl::Image;
using dssl::ImageError;
using dssl::Index;
using dssl::test::as_bytes;
using dssl::test::contains;
using dssl::test::make_png;
using dssl::test::PngLayout;
using dssl::test::scrambled;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using dssl::test::write_text;
using Bytes8 = Image<std::uint8_t>;

}  // namespace

TEMPLATE_TEST_CASE("images of 1 and 3 channels come back to the bit", "", std::uint8_t, std::uint16_t) {
  const TemporaryFolder folder;
  for (const Index channels : {Index{1}, Index{3}}) {
    for (const auto& [height, width] :
         std::vector<std::pair<Index, Index>>{{1, 1}, {5, 3}, {1, 300}, {257, 2}}) {
      CAPTURE(channels, height, width);
      const Image<TestType> image = scrambled<TestType>(height, width, channels);
      dssl::write_png(folder / "i.png", image);
      const AnyImage back = dssl::read_png(folder / "i.png");
      REQUIRE(std::holds_alternative<Image<TestType>>(back));
      REQUIRE(std::get<Image<TestType>>(back) == image);
    }
  }
}

TEMPLATE_TEST_CASE("transparency is dropped, or kept on demand", "", std::uint8_t, std::uint16_t) {
  const TemporaryFolder folder;
  for (const Index channels : {Index{2}, Index{4}}) {
    const Image<TestType> image = scrambled<TestType>(4, 5, channels);
    dssl::write_png(folder / "i.png", image);
    const auto kept = std::get<Image<TestType>>(dssl::read_png(folder / "i.png", {.keep_alpha = true}));
    REQUIRE(kept == image);
    const auto dropped = std::get<Image<TestType>>(dssl::read_png(folder / "i.png"));
    REQUIRE(dropped.channels() == channels - 1);
    for (Index c = 0; c + 1 < channels; ++c) REQUIRE(dropped(3, 4, c) == image(3, 4, c));
  }
}

TEST_CASE("interlaced files give the same pixels") {
  const Bytes8 image = scrambled<std::uint8_t>(13, 11, 3);
  const std::vector<std::uint8_t> samples(image.pixels().begin(), image.pixels().end());
  const std::string png = make_png({.colour_type = PNG_COLOR_TYPE_RGB, .interlaced = true}, 13, 11, samples);
  REQUIRE(std::get<Bytes8>(dssl::decode_png(as_bytes(png), "i.png")) == image);
}

TEST_CASE("greys of 1, 2 and 4 bits are spread over 0 to 255, as masks they stay") {
  const TemporaryFolder folder;
  for (const int depth : {1, 2, 4}) {
    const int most = (1 << depth) - 1;
    std::vector<std::uint8_t> samples;
    for (int i = 0; i < 21; ++i) samples.push_back(static_cast<std::uint8_t>(i * 5 % (most + 1)));
    for (const bool interlaced : {false, true}) {
      CAPTURE(depth, interlaced);
      const std::string png =
          make_png({.depth = depth, .interlaced = interlaced, .packed = true}, 3, 7, samples);
      write_text(folder / "g.png", std::string_view(png));
      const auto grey = std::get<Bytes8>(dssl::read_png(folder / "g.png"));
      const Bytes8 mask = dssl::read_png_indices(folder / "g.png");
      for (std::size_t i = 0; i < samples.size(); ++i) {
        REQUIRE(grey.pixels()[i] == samples[i] * 255 / most);
        REQUIRE(mask.pixels()[i] == samples[i]);
      }
    }
  }
}

TEST_CASE("a palette image is colours as an image and indices as a mask") {
  const TemporaryFolder folder;
  for (const int depth : {2, 4, 8}) {
    std::vector<std::uint8_t> samples;
    for (int i = 0; i < 30; ++i) samples.push_back(static_cast<std::uint8_t>(i % (1 << depth)));
    const std::string png =
        make_png({.depth = depth, .colour_type = PNG_COLOR_TYPE_PALETTE, .packed = true}, 5, 6, samples);
    write_text(folder / "p.png", std::string_view(png));
    const auto colours = std::get<Bytes8>(dssl::read_png(folder / "p.png"));
    REQUIRE(colours.channels() == 3);
    const Bytes8 mask = dssl::read_png_indices(folder / "p.png");
    REQUIRE(mask.channels() == 1);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      REQUIRE(mask.pixels()[i] == samples[i]);
      REQUIRE(colours.pixels()[3 * i] == 3 * samples[i]);
      REQUIRE(colours.pixels()[3 * i + 1] == 255 - samples[i]);
    }
  }
}

TEST_CASE("a mask keeps its indices and its palette") {
  const TemporaryFolder folder;
  Bytes8 mask(2, 3, 1);
  const std::vector<std::uint8_t> ids{0, 1, 15, 254, 255, 7};
  std::copy(ids.begin(), ids.end(), mask.pixels().begin());
  dssl::write_png_indices(folder / "m.png", mask);
  REQUIRE(dssl::read_png_indices(folder / "m.png") == mask);
  REQUIRE(dssl::read_png_palette(folder / "m.png") == dssl::voc_palette());

  const dssl::Palette two{{1, 2, 3}, {4, 5, 6}};
  for (std::uint8_t& p : mask.pixels()) p = p == 0 ? 0 : 1;
  dssl::write_png_indices(folder / "two.png", mask, two);
  REQUIRE(dssl::read_png_indices(folder / "two.png") == mask);
  REQUIRE(dssl::read_png_palette(folder / "two.png") == two);
  mask(0, 0, 0) = 2;
  REQUIRE(contains(thrown_by<dssl::ShapeError>([&] { dssl::write_png_indices(folder / "x.png", mask, two); }),
                   "index 2"));
}

TEST_CASE("the palette of the VOC data sets") {
  const dssl::Palette palette = dssl::voc_palette();
  REQUIRE(palette[0] == std::array<std::uint8_t, 3>{0, 0, 0});
  REQUIRE(palette[1] == std::array<std::uint8_t, 3>{128, 0, 0});
  REQUIRE(palette[15] == std::array<std::uint8_t, 3>{192, 128, 128});
  REQUIRE(palette[20] == std::array<std::uint8_t, 3>{0, 64, 128});
  REQUIRE(palette[255] == std::array<std::uint8_t, 3>{224, 224, 192});
}

TEST_CASE("colour and 16-bit files are no masks") {
  const TemporaryFolder folder;
  dssl::write_png(folder / "rgb.png", scrambled<std::uint8_t>(2, 2, 3));
  dssl::write_png(folder / "deep.png", scrambled<std::uint16_t>(2, 2, 1));
  const std::string error = thrown_by<ImageError>([&] { (void)dssl::read_png_indices(folder / "rgb.png"); });
  REQUIRE(contains(error, folder / "rgb.png"));
  REQUIRE(contains(error, "expected a mask"));
  REQUIRE_THROWS_AS(dssl::read_png_indices(folder / "deep.png"), ImageError);
}

TEST_CASE("a PNG cut short anywhere is unreadable") {
  const std::vector<std::byte> whole = dssl::encode_png(scrambled<std::uint8_t>(9, 8, 3));
  REQUIRE(dssl::height(dssl::decode_png(whole, "whole.png")) == 9);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    const std::string error =
        thrown_by<ImageError>([&] { (void)dssl::decode_png(std::span(whole).first(length), "cut.png"); });
    REQUIRE(contains(error, "cut.png: damaged PNG: "));
  }
}

TEST_CASE("a flipped bit in a PNG is found by its checksums or changes no pixel") {
  const Bytes8 image = scrambled<std::uint8_t>(6, 5, 1);
  const std::vector<std::byte> whole = dssl::encode_png(image);
  int unreadable = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::vector<std::byte> damaged = whole;
    damaged[at] ^= std::byte{0x10};
    bool same = true;
    try {
      same = std::get<Bytes8>(dssl::decode_png(damaged, "flip.png")) == image;
    } catch (const ImageError&) {
      ++unreadable;
    }
    CAPTURE(at);
    REQUIRE(same);
  }
  REQUIRE(unreadable > static_cast<int>(whole.size()) / 2);
}

TEST_CASE("a small file cannot ask for all memory") {
  std::vector<std::byte> bomb = dssl::encode_png(Bytes8(3000, 3000, 1));
  REQUIRE(bomb.size() < 40000);
  const std::string error =
      thrown_by<ImageError>([&] { (void)dssl::decode_png(bomb, "bomb.png", {.largest_pixels = 8'999'999}); });
  REQUIRE(error == "bomb.png: has 3000 x 3000 pixels; expected at most 8999999 (option 'largest_pixels')");
  REQUIRE(dssl::width(dssl::decode_png(bomb, "bomb.png", {.largest_pixels = 9'000'000})) == 3000);
}

TEST_CASE("a size or a chunk that a small file only names gets no memory") {
  // 16 MB of pixels after which the file ends.
  std::vector<std::byte> bytes = dssl::encode_png(Bytes8(4000, 4000, 1));
  REQUIRE(bytes.size() > 16'000'000 / 1032);
  REQUIRE(dssl::width(dssl::decode_png(bytes, "whole.png")) == 4000);
  bytes.resize(100);
  const std::string error = thrown_by<ImageError>([&] { (void)dssl::decode_png(bytes, "cut.png"); });
  REQUIRE(error == "cut.png: is truncated or damaged: 4000 x 4000 pixels cannot lie in 100 bytes");
  REQUIRE(thrown_by<ImageError>([&] { (void)dssl::decode_png_indices(bytes, "cut.png"); }) == error);

  // EXIF data of 1.8 GB, of which libpng would take the memory.
  std::vector<std::byte> exif = dssl::encode_png(Bytes8(2, 2, 1));
  const std::string name("\x6e\x00\x2f\x30" "eXIf", 8);
  const auto chunk = as_bytes(name);
  constexpr std::size_t header = 8 + 25;
  exif.insert(exif.begin() + header, chunk.begin(), chunk.end());
  exif.resize(header + 30);
  REQUIRE(thrown_by<ImageError>([&] { (void)dssl::decode_png(exif, "exif.png"); }) ==
          "exif.png: damaged PNG: truncated, or a chunk of 1845505840 bytes in a file of 63");
  exif.resize(header + 8);  // of the chunk its length and name alone
  REQUIRE(contains(thrown_by<ImageError>([&] { (void)dssl::decode_png(exif, "exif.png"); }), "a chunk of 1845505840 bytes"));
}

TEST_CASE("a PNG that cannot be written leaves the old file") {
  const TemporaryFolder folder;
  const Bytes8 image(2, 2, 1);
  REQUIRE(contains(thrown_by<dssl::FileError>([&] { dssl::write_png(folder / "none/i.png", image); }),
                   "none/i.png"));
  REQUIRE_THROWS_AS(dssl::write_png(folder / "five.png", Bytes8(2, 2, 5)), dssl::ShapeError);
  REQUIRE(folder.entries() == 0);
}
