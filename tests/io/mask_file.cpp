// Masks of every kind that labelling programs write, and what cannot be told from them.
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <dssl/io/mask_file.hpp>

#include "bmp_samples.hpp"
#include "image_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Bytes8 = Image<std::uint8_t>;
using Words16 = Image<std::uint16_t>;

template <PixelType T>
Image<T> image_of(Index channels, const std::vector<T>& values, Index width = 3) {
  Image<T> image(static_cast<Index>(values.size()) / (width * channels), width, channels);
  std::copy(values.begin(), values.end(), image.pixels().begin());
  return image;
}

std::vector<int> values_of(const Bytes8& mask) { return {mask.pixels().begin(), mask.pixels().end()}; }

struct Masks {
  TemporaryFolder folder;

  template <PixelType T>
  [[nodiscard]] std::vector<int> ids(const Image<T>& image) const {
    write_png(folder / "m.png", image);
    return values_of(read_mask(folder / "m.png"));
  }
  template <PixelType T>
  [[nodiscard]] std::string refused(const Image<T>& image) const {
    write_png(folder / "m.png", image);
    return thrown_by<LabelError>([&] { static_cast<void>(read_mask(folder / "m.png")); });
  }
  template <PixelType T>
  [[nodiscard]] MarkedMask marked(const Image<T>& image, std::optional<int> threshold = std::nullopt) const {
    write_png(folder / "m.png", image);
    return read_marked_mask(folder / "m.png", {}, threshold);
  }
};

using Ids = std::vector<int>;

}  // namespace

TEST_CASE("ids come out of palettes, greys, 16 bits, like channels, colours of VOC and idle transparency") {
  const Masks masks;
  const Bytes8 grey = image_of<std::uint8_t>(1, {0, 7, 255});
  CHECK(masks.ids(grey) == Ids{0, 7, 255});
  write_png_indices(masks.folder / "p.png", grey);
  CHECK(values_of(read_mask(masks.folder / "p.png")) == Ids{0, 7, 255});
  CHECK(masks.ids(image_of<std::uint16_t>(1, {0, 7, 255})) == Ids{0, 7, 255});
  CHECK(masks.ids(image_of<std::uint16_t>(1, {0, 257, 65535})) == Ids{0, 1, 255});
  CHECK(masks.ids(image_of<std::uint8_t>(3, {0, 0, 0, 1, 1, 1, 255, 255, 255})) == Ids{0, 1, 255});
  // (128, 0, 0) is VOC's 1, (0, 128, 0) its 2, (224, 224, 192) its 255.
  CHECK(masks.ids(image_of<std::uint8_t>(3, {128, 0, 0, 0, 128, 0, 224, 224, 192})) == Ids{1, 2, 255});
  CHECK(masks.ids(image_of<std::uint8_t>(2, {0, 255, 3, 255, 9, 255})) == Ids{0, 3, 9});
  CHECK(masks.ids(image_of<std::uint8_t>(4, {0, 0, 0, 0, 128, 0, 0, 255, 0, 0, 0, 0})) == Ids{0, 1, 0});
  CHECK(masks.ids(image_of<std::uint16_t>(2, {0, 65535, 1, 65535, 2, 65535})) == Ids{0, 1, 2});
}

TEST_CASE("ids that cannot be told are a label's error, in words") {
  const Masks masks;
  CHECK(contains(masks.refused(image_of<std::uint8_t>(3, {0, 0, 0, 255, 0, 0, 0, 0, 0})),
                 "m.png: is a mask of colours, such as (255, 0, 0)"));
  CHECK(contains(masks.refused(image_of<std::uint8_t>(3, {0, 0, 0, 128, 128, 128, 0, 0, 0})), "cannot be told"));
  CHECK(contains(masks.refused(image_of<std::uint16_t>(1, {0, 300, 1})), "values up to 300"));
  CHECK(contains(masks.refused(image_of<std::uint8_t>(2, {255, 0, 255, 255, 255, 0})), "transparency hides"));
  write_jpeg(masks.folder / "m.jpg", smooth_picture(8, 8, 1));
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(read_mask(masks.folder / "m.jpg")); }),
                 "is a JPEG, which does not keep ids"));
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(read_mask(masks.folder / "none.png")); }),
                 "none.png: cannot open"));
  write_text(masks.folder / "text.png", std::string_view("no picture"));
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(read_marked_mask(masks.folder / "text.png")); }),
                 "text.png: not a PNG, JPEG"));
}

TEST_CASE("ids of a palette BMP and of a PGM are as they are written; floats are no mask") {
  using namespace std::string_view_literals;
  const Masks masks;
  write_text(masks.folder / "m.bmp", dssl::test::bmp_file({.width = 2, .height = 1, .bits = 8, .palette = {0, 0xFF0000, 0xFFFFFF}}, "\x02\x01.."));
  CHECK(read_mask(masks.folder / "m.bmp") == Image<std::uint8_t>(1, 2, 1, {2, 1}));
  CHECK(read_marked_mask(masks.folder / "m.bmp").mask == Image<std::uint8_t>(1, 2, 1, {1, 1}));
  write_text(masks.folder / "m.pgm", "P5 3 1 2\n\x02\x01\x00"sv);
  CHECK(read_mask(masks.folder / "m.pgm") == Image<std::uint8_t>(1, 3, 1, {2, 1, 0}));
  write_text(masks.folder / "m.pfm", "Pf 1 1 1\n\x3f\x80\x00\x00"sv);
  for (const bool marked : {false, true}) {
    CHECK(contains(thrown_by<LabelError>([&] {
                     if (marked) static_cast<void>(read_marked_mask(masks.folder / "m.pfm"));
                     else static_cast<void>(read_mask(masks.folder / "m.pfm"));
                   }),
                   "m.pfm: is a mask of floats; expected 8 or 16 bits"));
  }
}

TEST_CASE("a palette of greys gives its indices, of a BMP as of a PNG; a grey BMP is read as a grey PNG") {
  const Masks masks;
  const std::string bmp = masks.folder / "m.bmp";
  const std::string rows = std::string("\0\1\2\1", 4);
  const Ids ids{0, 1, 2, 1};
  // Greys that fall, and a camera's two: never the greys themselves.
  for (const std::vector<std::uint32_t>& greys : {std::vector<std::uint32_t>{0xFFFFFF, 0x808080, 0}, {0, 0xFFFFFF, 0x111111}}) {
    write_text(bmp, bmp_file({.width = 4, .height = 1, .bits = 8, .palette = greys}, rows));
    Palette palette;
    for (const std::uint32_t grey : greys) {
      const auto g = static_cast<std::uint8_t>(grey);
      palette.push_back({g, g, g});
    }
    write_png_indices(masks.folder / "m.png", image_of<std::uint8_t>(1, {0, 1, 2, 1}, 4), palette);
    for (const std::string& path : {bmp, masks.folder / "m.png"}) {
      CHECK(values_of(read_mask(path)) == ids);
      CHECK(values_of(read_marked_mask(path).mask) == Ids{0, 1, 1, 1});
    }
  }
  // Values between two, as a mask has them that was resized: no kinds of defects, in a grey BMP as in a grey PNG.
  std::vector<std::uint32_t> all;
  for (std::uint32_t v = 0; v < 256; ++v) all.push_back(v * 0x010101);
  const Bytes8 resized = image_of<std::uint8_t>(1, {0, 1, 2, 3, 4, 5, 100, 127, 128, 250, 254, 255}, 12);
  write_text(bmp, bmp_file({.width = 12, .height = 1, .bits = 8, .palette = all},
                           std::string(resized.pixels().begin(), resized.pixels().end())));
  CHECK(read_mask(bmp) == resized);
  CHECK(read_marked_mask(bmp).between);
  CHECK(values_of(read_marked_mask(bmp).mask) == values_of(masks.marked(resized).mask));
  // With one grey out of the row it is a palette, whose indices are kinds.
  all[254] = 0;
  write_text(bmp, bmp_file({.width = 12, .height = 1, .bits = 8, .palette = all},
                           std::string(resized.pixels().begin(), resized.pixels().end())));
  CHECK_FALSE(read_marked_mask(bmp).between);
}

TEST_CASE("what is marked is what is not 0, whatever colour or depth it is drawn in") {
  const Masks masks;
  CHECK(values_of(masks.marked(image_of<std::uint8_t>(1, {0, 1, 255})).mask) == Ids{0, 1, 1});
  CHECK(values_of(masks.marked(image_of<std::uint8_t>(3, {0, 0, 0, 255, 0, 0, 0, 0, 9})).mask) == Ids{0, 1, 1});
  CHECK(values_of(masks.marked(image_of<std::uint8_t>(4, {0, 0, 0, 255, 0, 255, 0, 255, 0, 0, 0, 255})).mask) ==
        Ids{0, 1, 0});
  CHECK(values_of(masks.marked(image_of<std::uint8_t>(2, {0, 255, 255, 255, 0, 255})).mask) == Ids{0, 1, 0});
  CHECK(values_of(masks.marked(image_of<std::uint16_t>(1, {0, 1, 65535})).mask) == Ids{0, 1, 1});
  CHECK_FALSE(masks.marked(image_of<std::uint8_t>(1, {0, 1, 255})).between);
  // Kinds of defects are few values.
  const MarkedMask kinds = masks.marked(image_of<std::uint8_t>(1, {0, 1, 2, 3, 4, 5, 6, 7, 8}));
  CHECK(values_of(kinds.mask) == Ids{0, 1, 1, 1, 1, 1, 1, 1, 1});
  CHECK_FALSE(kinds.between);
}

TEST_CASE("a mask of many values is parted in the middle, and says so") {
  const Masks masks;
  const Bytes8 noisy = image_of<std::uint8_t>(1, {0, 1, 2, 3, 4, 5, 100, 127, 128, 250, 254, 255});
  const MarkedMask read = masks.marked(noisy);
  CHECK(values_of(read.mask) == Ids{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1});
  CHECK(read.between);
  CHECK(read.values == 12);
  CHECK(values_of(masks.marked(noisy, 2).mask) == Ids{0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  CHECK(values_of(masks.marked(image_of<std::uint16_t>(1, {0, 2 * 257, 60000}), 2).mask) == Ids{0, 0, 1});

  // The ringing of JPEG around a square is no defect, in the JPEG and in a PNG made of it.
  Bytes8 square(32, 32, 1);
  for (Index y = 9; y < 22; ++y) {
    for (Index x = 11; x < 21; ++x) square(y, x, 0) = 255;
  }
  Bytes8 expected = square;
  for (std::uint8_t& v : expected.pixels()) v = v != 0 ? 1 : 0;
  write_jpeg(masks.folder / "m.jpg", square, 80);
  const MarkedMask jpeg = read_marked_mask(masks.folder / "m.jpg");
  CHECK(jpeg.mask == expected);
  CHECK(jpeg.between);
  CHECK(masks.marked(std::get<Bytes8>(read_image(masks.folder / "m.jpg"))).mask == expected);
  write_jpeg(masks.folder / "m.jpg", Bytes8(16, 16, 1));
  const MarkedMask black = read_marked_mask(masks.folder / "m.jpg");
  CHECK(black.mask == Bytes8(16, 16, 1));
  CHECK_FALSE(black.between);
}

TEST_CASE("a mask of two greys or of few bits is marked by its greys, and a threshold is on their scale") {
  const Masks masks;
  const std::string bmp = masks.folder / "m.bmp";
  // Of 1 bit, black first and white first: the same picture.
  for (const bool black_first : {true, false}) {
    const std::vector<std::uint32_t> palette = black_first ? std::vector<std::uint32_t>{0, 0xFFFFFF} : std::vector<std::uint32_t>{0xFFFFFF, 0};
    write_text(bmp, bmp_file({.width = 4, .height = 1, .bits = 1, .palette = palette}, std::string(black_first ? "\x30" : "\xC0") + "..."));
    CHECK(values_of(read_marked_mask(bmp).mask) == Ids{0, 0, 1, 1});
    CHECK(values_of(read_marked_mask(bmp, {}, 127).mask) == Ids{0, 0, 1, 1});
    CHECK(values_of(read_marked_mask(bmp, {}, 255).mask) == Ids{0, 0, 0, 0});
    CHECK(values_of(read_mask(bmp)) == (black_first ? Ids{0, 0, 1, 1} : Ids{1, 1, 0, 0}));
  }
  // Of 4 bits 0, 7, 8, 15, which are 0, 119, 136 and 255.
  std::vector<std::uint32_t> row;
  for (std::uint32_t v = 0; v < 16; ++v) row.push_back(v * 0x111111);
  write_text(bmp, bmp_file({.width = 4, .height = 1, .bits = 4, .palette = row}, "\x07\x8F.."));
  CHECK(values_of(read_marked_mask(bmp, {}, 127).mask) == Ids{0, 0, 1, 1});
  CHECK(values_of(read_marked_mask(bmp, {}, 118).mask) == Ids{0, 1, 1, 1});
  CHECK(values_of(read_marked_mask(bmp, {}, 119).mask) == Ids{0, 0, 1, 1});
}
