// Reading images of any kind: told apart by content, channels converted, problems named.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/io/image_file.hpp>

#include "bmp_samples.hpp"
#include "exif_samples.hpp"
#include "image_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#ifdef DSSL_WITH_TIFF
#include "tiff_samples.hpp"
#endif
#ifdef DSSL_WITH_WEBP
#include "webp_samples.hpp"
#endif

namespace {

using dssl::AnyImage;
using dssl::Image;
using dssl::ImageError;
using dssl::Index;
using dssl::test::contains;
using dssl::test::scrambled;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using dssl::test::write_text;
using Bytes8 = Image<std::uint8_t>;

}  // namespace

TEST_CASE("the content decides, not the name") {
  const TemporaryFolder folder;
  const Bytes8 image = scrambled<std::uint8_t>(6, 7, 3);
  dssl::write_png(folder / "really_png.jpg", image);
  REQUIRE(std::get<Bytes8>(dssl::read_image(folder / "really_png.jpg")) == image);
  dssl::write_jpeg(folder / "really_jpeg.png", image);
  REQUIRE(dssl::width(dssl::read_image(folder / "really_jpeg.png")) == 7);
}

TEST_CASE("BMP, PGM and PFM are read under any name, and kinds that are not read are named") {
  using namespace std::string_view_literals;
  const TemporaryFolder folder;
  write_text(folder / "a.png", dssl::test::bmp_file({.width = 1, .height = 1, .bits = 24}, "\x01\x02\x03."));
  REQUIRE(std::get<Bytes8>(dssl::read_image(folder / "a.png")) == Bytes8(1, 1, 3, {3, 2, 1}));
  write_text(folder / "b.png", "P5 2 1 255\n\x05\x06"sv);
  REQUIRE(std::get<Bytes8>(dssl::read_image(folder / "b.png")) == Bytes8(1, 2, 1, {5, 6}));
  write_text(folder / "c.png", "Pf 1 1 1\n\x3f\x80\x00\x00"sv);
  REQUIRE(std::get<Image<float>>(dssl::read_image(folder / "c.png")) == Image<float>(1, 1, 1, {1.0F}));
  for (const auto& [bytes, kind] : {std::pair{"GIF89a"sv, "GIF"}, {"P4 1 1\n1"sv, "PBM"}, {"P7\nWIDTH 1"sv, "PAM"}}) {
    write_text(folder / "d.jpg", bytes);
    REQUIRE(contains(thrown_by<ImageError>([&] { (void)dssl::read_image(folder / "d.jpg"); }),
                     std::string("is a ") + kind + " file, a kind that is not read; expected " + std::string(dssl::detail::read_kinds)));
  }
}

TEST_CASE("TIFF and WebP are read where their libraries are, and where they are not it is said what brings them") {
  using namespace std::string_view_literals;
  const TemporaryFolder folder;
  const auto said = [&](std::string_view bytes) {
    write_text(folder / "a.jpg", bytes);
    return thrown_by<ImageError>([&] { (void)dssl::read_image(folder / "a.jpg"); });
  };
#ifdef DSSL_WITH_TIFF
  constexpr std::string_view tiff = "a.jpg: damaged or unsupported TIFF";
#else
  constexpr std::string_view tiff = "a.jpg: is a TIFF file, and this build is without libtiff 4.5 (package libtiff-dev";
#endif
  for (const auto& bytes : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) CHECK(contains(said(bytes), tiff));
#ifdef DSSL_WITH_WEBP
  CHECK(contains(said("RIFF....WEBPVP8 "sv), "a.jpg: truncated WebP"));
#else
  CHECK(contains(said("RIFF....WEBPVP8 "sv), "a.jpg: is a WebP file, and this build is without libwebp (package libwebp-dev"));
#endif
}

TEST_CASE("what is no image says what it starts with") {
  const TemporaryFolder folder;
  write_text(folder / "text.jpg", std::string_view("hello there"));
  REQUIRE(thrown_by<ImageError>([&] { (void)dssl::read_image(folder / "text.jpg"); }) ==
          (folder / "text.jpg: not a " + std::string(dssl::detail::read_kinds) + " file (starts with 'hello th')"));
  write_text(folder / "binary.png", std::string_view("\x00\xFFGIF", 5));
  REQUIRE(contains(thrown_by<ImageError>([&] { (void)dssl::read_image(folder / "binary.png"); }),
                   "'\\x00\\xffGIF'"));
  write_text(folder / "empty.png", std::string_view());
  REQUIRE(contains(thrown_by<ImageError>([&] { (void)dssl::read_image(folder / "empty.png"); }), "is empty"));
}

TEST_CASE("a file that cannot be opened is an unreadable image") {
  const TemporaryFolder folder;
  REQUIRE(thrown_by<ImageError>([&] { (void)dssl::read_image(folder / "none.png"); }) ==
          (folder / "none.png: cannot open to read: No such file or directory"));
  REQUIRE(
      contains(thrown_by<ImageError>([&] { (void)dssl::read_image(folder.path()); }), "is a folder; expected a regular file"));
}

TEMPLATE_TEST_CASE("channels are repeated or become luma, whatever the pixels", "", std::uint8_t,
                   std::uint16_t, float) {
  Image<TestType> grey(2, 2, 1);
  for (Index i = 0; i < 4; ++i) grey(i / 2, i % 2, 0) = static_cast<TestType>(i * 60);
  const auto five = std::get<Image<TestType>>(dssl::with_channels(grey, 5, "x"));
  REQUIRE(five.channels() == 5);
  for (Index c = 0; c < 5; ++c) REQUIRE(five(1, 1, c) == grey(1, 1, 0));

  // White stays white; green weighs 0.587.
  Image<TestType> colour(1, 2, 3);
  const auto full = static_cast<TestType>(dssl::full_scale<TestType>);
  for (Index c = 0; c < 3; ++c) colour(0, 0, c) = full;
  colour(0, 1, 1) = full;
  const auto luma = std::get<Image<TestType>>(dssl::with_channels(colour, 1, "x"));
  REQUIRE(static_cast<float>(luma(0, 0, 0)) == Approx(dssl::full_scale<TestType>));
  REQUIRE(static_cast<float>(luma(0, 1, 0)) ==
          Approx(0.587 * dssl::full_scale<TestType>).margin(dssl::full_scale<TestType> > 1 ? 0.5 : 1e-6));

  REQUIRE(std::get<Image<TestType>>(dssl::with_channels(colour, 0, "x")) == colour);
  REQUIRE(std::get<Image<TestType>>(dssl::with_channels(colour, 3, "x")) == colour);
  REQUIRE(thrown_by<ImageError>([&] { (void)dssl::with_channels(colour, 4, "photo.png"); }) ==
          "photo.png: has 3 channels; expected 4");
}

TEST_CASE("files are read with the channels asked for") {
  const TemporaryFolder folder;
  dssl::write_png(folder / "grey.png", scrambled<std::uint16_t>(3, 3, 1));
  dssl::write_jpeg(folder / "colour.jpg", scrambled<std::uint8_t>(3, 3, 3));
  REQUIRE(dssl::channels(dssl::read_image(folder / "grey.png", {.channels = 3})) == 3);
  REQUIRE(
      std::holds_alternative<Image<std::uint16_t>>(dssl::read_image(folder / "grey.png", {.channels = 3})));
  REQUIRE(dssl::channels(dssl::read_image(folder / "colour.jpg", {.channels = 1})) == 1);
  REQUIRE(
      contains(thrown_by<ImageError>([&] { (void)dssl::read_image(folder / "colour.jpg", {.channels = 5}); }),
               "colour.jpg"));
}

TEST_CASE("what sides an image has is read of its header alone, as it is shown") {
  using namespace std::string_view_literals;
  using dssl::ImageExtent;
  const TemporaryFolder folder;
  const auto sides = [&](const char* name) { return dssl::read_image_extent(folder / name); };
  const Bytes8 image = scrambled<std::uint8_t>(400, 300, 3);  // larger than what is read of it
  dssl::write_png(folder / "a.png", image);
  dssl::write_jpeg(folder / "a.jpg", image);
  write_text(folder / "turned.jpg", dssl::test::with_exif(image, 6));
  write_text(folder / "a.bmp", dssl::test::bmp_file({.width = 300, .height = 400, .bits = 24}, std::string(400 * 900, 'x')));
  write_text(folder / "a.ppm", "P6 # three\n300 400\n255\n" + std::string(400 * 900, 'x'));
  write_text(folder / "deep.ppm", "P6\n300 400\n4095\n" + std::string(400 * 1800, '\1'));
  write_text(folder / "float.pfm", "PF\n300 400\n-1\n" + std::string(400 * 3600, '\0'));
  // What is too large to be decoded, as a file or as pixels, is too large to be measured.
  for (const auto& [name, bytes] : std::vector<std::pair<const char*, Index>>{
           {"a.png", 360000}, {"a.jpg", 360000}, {"a.bmp", 480000}, {"a.ppm", 360000}, {"deep.ppm", 720000}, {"float.pfm", 1440000}}) {
    const Index file = static_cast<Index>(std::filesystem::file_size(folder / name));
    for (const Index most : {bytes - 1, file - 1}) {
      const dssl::ReadOptions options{.largest_bytes = most};
      CHECK(contains(thrown_by<ImageError>([&] { (void)dssl::read_image_extent(folder / name, options); }), "'largest_bytes'"));
      CHECK(contains(thrown_by<ImageError>([&] { (void)dssl::read_image(folder / name, options); }), "'largest_bytes'"));
    }
    const dssl::ReadOptions enough{.largest_bytes = std::max(file, bytes)};
    CHECK(dssl::read_image_extent(folder / name, enough) == ImageExtent{400, 300});
    CHECK(dssl::channels(dssl::read_image(folder / name, enough)) == 3);
  }
  for (const char* const name : {"a.png", "a.jpg", "a.bmp", "a.ppm"}) {
    CHECK(sides(name) == ImageExtent{400, 300});
    // The pixels may be gone for all that is known, but of a BMP, whose header says how long it is.
    std::filesystem::resize_file(folder / name, 70000);
    if (std::string_view(name) == "a.bmp") {
      CHECK(contains(thrown_by<ImageError>([&] { (void)sides(name); }), "a.bmp: is truncated"));
    } else {
      CHECK(sides(name) == ImageExtent{400, 300});
    }
  }
  CHECK(sides("turned.jpg") == ImageExtent{300, 400});
  CHECK(dssl::read_image_extent(folder / "turned.jpg", {.orient = false}) == ImageExtent{400, 300});

  // A header that is longer than what is read at first: comments of a JPEG.
  const std::string jpeg = dssl::test::read_text(folder / "turned.jpg");
  std::string padded = jpeg.substr(0, 2);
  for (int i = 0; i < 3; ++i) padded += "\xff\xfe\xff\xff"sv, padded += std::string(0xFFFF - 2, ' ');
  write_text(folder / "long.jpg", padded + jpeg.substr(2));
  CHECK(sides("long.jpg") == ImageExtent{300, 400});
#ifdef DSSL_WITH_TIFF
  write_text(folder / "a.tif", dssl::test::tiff_file({.width = 3, .height = 2, .orientation = 6, .pages = 2}, "abcdef"));
  CHECK(sides("a.tif") == ImageExtent{3, 2});
  CHECK(sides("a.tif, page 2") == ImageExtent{3, 2});
  CHECK(dssl::read_image_extent(folder / "a.tif, page 2", {.orient = false}) == ImageExtent{2, 3});
  CHECK(contains(thrown_by<ImageError>([&] { (void)sides("a.tif, page 3"); }), "is a TIFF of 2 pages"));
  // A TIFF under another name too, of which a page's parts alone are read.
  write_text(folder / "tiff.png", dssl::test::tiff_file({.width = 3, .height = 2, .orientation = 6, .pages = 100}, "abcdef"));
  const dssl::ReadOptions small{.largest_bytes = 10000};
  REQUIRE(std::filesystem::file_size(folder / "tiff.png") > 10000);
  CHECK(dssl::read_image_extent(folder / "tiff.png", small) == ImageExtent{3, 2});
  CHECK(dssl::read_image(folder / "tiff.png", small) == dssl::read_image(folder / "a.tif"));
#endif
#ifdef DSSL_WITH_WEBP
  write_text(folder / "a.webp", dssl::test::webp_file(image, -1));
  CHECK(sides("a.webp") == ImageExtent{400, 300});
#endif
  write_text(folder / "none.png", "GIF89a and more"sv);
  CHECK(contains(thrown_by<ImageError>([&] { (void)sides("none.png"); }), "none.png: not a "));
  CHECK(contains(thrown_by<ImageError>([&] { (void)sides("missing.png"); }), "missing.png: cannot open to read"));
  CHECK(contains(thrown_by<ImageError>([&] { (void)dssl::read_image_extent(folder / "a.png", {.largest_pixels = 1000}); }),
                 "option 'largest_pixels'"));
}
