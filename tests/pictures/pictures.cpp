// Colours, letters, lines, enlargements and sheets, pixel by pixel.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/pictures/colour_map.hpp>
#include <dssl/pictures/drawing.hpp>
#include <dssl/pictures/heat_map.hpp>
#include <dssl/pictures/lettering.hpp>
#include <dssl/pictures/picture.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

Colour at(const Image<std::uint8_t>& picture, Index y, Index x) {
  return {picture(y, x, 0), picture(y, x, 1), picture(y, x, 2)};
}

Image<std::uint8_t> flat(Index height, Index width, std::uint8_t value) {
  Image<std::uint8_t> out(height, width, 3);
  std::fill(out.pixels().begin(), out.pixels().end(), value);
  return out;
}

/// A picture as text: '#' where it is not black.
std::vector<std::string> shape_of(const Image<std::uint8_t>& picture) {
  std::vector<std::string> rows;
  for (Index y = 0; y < picture.height(); ++y) {
    rows.emplace_back();
    for (Index x = 0; x < picture.width(); ++x) rows.back() += at(picture, y, x) == Colour{} ? '.' : '#';
  }
  return rows;
}

}  // namespace

TEST_CASE("heat colours run from black over red to pale yellow, brighter throughout") {
  CHECK(heat_colour(0) == Colour{0, 0, 4});
  CHECK(heat_colour(0.5) == Colour{188, 55, 84});
  CHECK(heat_colour(1) == Colour{252, 255, 164});
  CHECK(heat_colour(0.25) == Colour{87, 16, 110});
  CHECK(heat_colour(0.125) == Colour{44, 8, 57});
  CHECK(heat_colour(-3) == heat_colour(0));
  CHECK(heat_colour(7) == heat_colour(1));
  CHECK(heat_colour(std::numeric_limits<double>::quiet_NaN()) == Colour{128, 128, 128});
  CHECK(heat_colour(std::numeric_limits<double>::infinity()) == heat_colour(1));
  int before = -1;
  for (int i = 0; i <= 100; ++i) {
    const Colour c = heat_colour(0.01 * i);
    const int grey = luma(c[0], c[1], c[2]);
    CHECK(grey >= before);
    before = grey;
  }
  CHECK(mark_colour(0) == mark_colour(8));
  CHECK(mark_colour(-1) == mark_colour(7));
  for (Index i = 0; i < 8; ++i) {
    for (Index j = 0; j < i; ++j) CHECK(mark_colour(i) != mark_colour(j));
  }
}

TEST_CASE("letters are what they are, small ones capitals, unknown ones question marks") {
  Image<std::uint8_t> picture(5, text_width("T1."), 3);
  CHECK(text_width("T1.") == 9);
  CHECK(text_width("") == 0);
  CHECK(text_width("T1.", 3) == 27);
  draw_text(picture, 0, 0, "t1.", {255, 0, 0});
  CHECK(shape_of(picture) == std::vector<std::string>{"###..#...",  //
                                                      ".#..##...",  //
                                                      ".#...#...",  //
                                                      ".#...#...",  //
                                                      ".#..###.#"});
  Image<std::uint8_t> twice(10, 4, 3), one(5, 3, 3), other(5, 3, 3);
  draw_text(twice, 0, -2, "1", {1, 1, 1}, 2);  // cut off at the left
  CHECK(shape_of(twice)[0] == "##..");
  CHECK(shape_of(twice)[9] == "####");
  draw_text(one, 0, 0, "?", {9, 9, 9});
  draw_text(other, 0, 0, "\x7f", {9, 9, 9});
  CHECK(one == other);
  // No two letters look alike.
  std::vector<Image<std::uint8_t>> seen;
  for (const char letter : std::string(" 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.,:-+=/%()_'*<>?")) {
    Image<std::uint8_t> glyph(5, 6, 3);
    draw_text(glyph, 0, 0, std::string(1, letter), {1, 1, 1});
    CHECK(std::find(seen.begin(), seen.end(), glyph) == seen.end());
    seen.push_back(glyph);
  }
  Image<std::uint8_t> grey(5, 5, 1);
  CHECK(contains(thrown_by<ShapeError>([&] { draw_text(grey, 0, 0, "A", {}); }), "of 1 channels"));
}

TEST_CASE("lines, discs and boxes cover the pixels they should, and no others") {
  Image<std::uint8_t> picture(5, 7, 3);
  draw_line(picture, {1.5, 2.5}, {4.5, 2.5}, {255, 255, 255});
  CHECK(shape_of(picture) == std::vector<std::string>{".......",  //
                                                      ".......",  //
                                                      ".####..",  //
                                                      ".......",  //
                                                      "......."});
  CHECK(at(picture, 2, 3) == Colour{255, 255, 255});
  // Half covered is half mixed in.
  Image<std::uint8_t> between(4, 4, 3);
  draw_line(between, {0, 2}, {4, 2}, {200, 100, 0});
  CHECK(at(between, 1, 2) == Colour{100, 50, 0});
  CHECK(at(between, 2, 2) == Colour{100, 50, 0});
  CHECK(at(between, 0, 2) == Colour{});
  // A slanting line is as thick as a level one.
  Image<std::uint8_t> slanting(40, 40, 3), level(40, 40, 3);
  draw_line(slanting, {10, 10}, {28, 34}, {255, 0, 0}, 3);
  draw_line(level, {5, 20}, {35, 20}, {255, 0, 0}, 3);
  const auto mass = [](const Image<std::uint8_t>& p) {
    double sum = 0;
    for (const auto v : p.pixels()) sum += v;
    return sum / 255;
  };
  CHECK(mass(slanting) == Approx(mass(level)).epsilon(0.02));
  Image<std::uint8_t> disc(21, 21, 3);
  draw_disc(disc, {10.5, 10.5}, 6, {0, 255, 0});
  CHECK(mass(disc) == Approx(3.14159265 * 36).epsilon(0.02));
  draw_disc(disc, {-50, 400}, 8, {9, 9, 9});  // outside
  draw_line(disc, {-1e9, 1e9}, {-1e9, 2e9}, {9, 9, 9});
  Image<std::uint8_t> box(6, 7, 3);
  draw_box(box, {1, 1, 4, 5}, {5, 6, 7});
  CHECK(shape_of(box) == std::vector<std::string>{".......",  //
                                                  ".#####.",  //
                                                  ".#...#.",  //
                                                  ".#...#.",  //
                                                  ".#####.",  //
                                                  "......."});
  Image<std::uint8_t> cut(3, 3, 3);
  draw_box(cut, {-1, -1, 3, 3}, {5, 6, 7});
  CHECK(shape_of(cut) == std::vector<std::string>{".#.", "##.", "..."});
  Image<std::uint8_t> point(25, 25, 3);
  std::fill(point.pixels().begin(), point.pixels().end(), std::uint8_t{200});
  draw_point(point, {12.5, 12.5}, 6, {255, 0, 0});
  CHECK(at(point, 12, 12) == Colour{255, 0, 0});
  CHECK(at(point, 12, 19) == Colour{16, 20, 24});
  CHECK(at(point, 12, 22) == Colour{200, 200, 200});
}

TEST_CASE("images of any type and number of channels become pictures") {
  Image<std::uint16_t> deep(1, 2, 1);
  deep.pixels()[1] = 65535;
  CHECK(rgb_picture(AnyImage(deep)).pixels()[2] == 0);
  CHECK(rgb_picture(AnyImage(deep)).pixels()[5] == 255);
  Image<float> five(1, 1, 5);
  const std::vector<float> values{0.2F, 0.4F, 1.5F, 0.9F, 0.9F};
  std::copy(values.begin(), values.end(), five.pixels().begin());
  CHECK(at(rgb_picture(AnyImage(five)), 0, 0) == Colour{51, 102, 255});
  Image<std::uint8_t> two(1, 1, 2);
  two.pixels()[0] = 7;
  two.pixels()[1] = 99;
  CHECK(at(rgb_picture(AnyImage(two)), 0, 0) == Colour{7, 7, 7});
}

TEST_CASE("cells are enlarged to squares or smoothly") {
  const std::vector<float> cells{0, 1, 2, 3};
  std::vector<float> pixels(5 * 4);
  enlarge(std::span<float>(pixels), std::span<const float>(cells), {2, 2}, 5, 4, Enlargement::nearest);
  CHECK(pixels == std::vector<float>{0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3});
  std::vector<float> smooth(4 * 4), expected(4 * 4);
  enlarge(std::span<float>(smooth), std::span<const float>(cells), {2, 2}, 4, 4, Enlargement::bilinear);
  enlarge(std::span<float>(expected), std::span<const float>(cells), {2, 2}, 4, 4);
  CHECK(smooth == expected);
  Image<std::uint8_t> picture(1, 2, 3);
  picture(0, 1, 2) = 200;
  const auto large = enlarged(picture, 2, 4, Enlargement::nearest);
  CHECK(at(large, 1, 2) == Colour{0, 0, 200});
  CHECK(at(large, 1, 1) == Colour{});
  CHECK(at(enlarged(picture, 1, 4, Enlargement::bilinear), 0, 1) == Colour{0, 0, 50});
}

TEST_CASE("heat maps: each cell's colour, over grey, and the scale") {
  const std::vector<double> cells{-1, 0, 1, 3};
  const ValueRange range = range_of(std::span<const double>(cells));
  CHECK(range == ValueRange{-1, 3});
  const auto map = heat_map(std::span<const double>(cells), {2, 2}, 4, 4, range, Enlargement::nearest);
  CHECK(at(map, 0, 0) == heat_colour(0));
  CHECK(at(map, 1, 2) == heat_colour(0.25));
  CHECK(at(map, 2, 1) == heat_colour(0.5));
  CHECK(at(map, 3, 3) == heat_colour(1));
  Image<std::uint8_t> image(4, 4, 3);
  for (Index i = 0; i < 16; ++i) image.pixels()[static_cast<std::size_t>(3 * i)] = 200;  // red: grey 60
  const auto over =
      heat_overlay(image, std::span<const double>(cells), {2, 2}, range, Enlargement::nearest, 0.25);
  CHECK(at(over, 3, 3) == Colour{static_cast<std::uint8_t>(0.75 * 60 + 0.25 * 252 + 0.5),
                                 static_cast<std::uint8_t>(0.75 * 60 + 0.25 * 255 + 0.5),
                                 static_cast<std::uint8_t>(0.75 * 60 + 0.25 * 164 + 0.5)});
  CHECK(heat_overlay(image, std::span<const double>(cells), {2, 2}, range, Enlargement::nearest, 1) == map);
  CHECK(contains(thrown_by<OptionError>([&] {
                   static_cast<void>(heat_overlay(image, std::span<const double>(cells), {2, 2}, range,
                                                  Enlargement::nearest, 1.5));
                 }),
                 "'alpha' is 1.5"));
  // All alike: the lowest colour, and no division by nothing.
  const std::vector<float> even(4, 2.0F);
  CHECK(at(heat_map(std::span<const float>(even), {2, 2}, 2, 2, range_of(std::span<const float>(even))), 0,
           0) == heat_colour(0));
  const std::vector<double> holes{std::numeric_limits<double>::quiet_NaN(), 4, 2};
  CHECK(range_of(std::span<const double>(holes)) == ValueRange{2, 4});
  CHECK(range_of(std::span<const double>()) == ValueRange{0, 0});

  const auto scale = colour_scale(51, {0, 0.125});
  CHECK(scale.height() == 51);
  CHECK(at(scale, 0, 0) == heat_colour(1));
  CHECK(at(scale, 25, 7) == heat_colour(0.5));
  CHECK(at(scale, 50, 3) == heat_colour(0));
  Image<std::uint8_t> label(5, text_width("0.125"), 3);
  std::fill(label.pixels().begin(), label.pixels().end(), std::uint8_t{255});
  draw_text(label, 0, 0, "0.125", {16, 20, 24});
  for (Index y = 0; y < 5; ++y) {
    for (Index x = 0; x < label.width(); ++x) CHECK(at(scale, y, 10 + x) == at(label, y, x));
  }
}

TEST_CASE("a sheet holds pictures of any sizes under their captions") {
  std::vector<CaptionedPicture> pictures{{flat(3, 4, 10), "a"}, {flat(5, 2, 20)}, {flat(2, 6, 30)}};
  const auto sheet = contact_sheet(pictures, {.columns = 2, .gap = 1});
  // Columns of 6 and 2, rows of 8 (caption) + 5 and 2.
  REQUIRE(sheet.width() == 1 + 6 + 1 + 2 + 1);
  REQUIRE(sheet.height() == 1 + 8 + 5 + 1 + 2 + 1);
  CHECK(at(sheet, 9, 1) == Colour{10, 10, 10});
  CHECK(at(sheet, 11, 4) == Colour{10, 10, 10});
  CHECK(at(sheet, 12, 1) == Colour{255, 255, 255});
  CHECK(at(sheet, 13, 9) == Colour{20, 20, 20});
  CHECK(at(sheet, 15, 6) == Colour{30, 30, 30});
  CHECK(at(sheet, 1, 2) == Colour{16, 20, 24});  // the top of the A
  CHECK(at(sheet, 0, 0) == Colour{255, 255, 255});
  // A caption wider than its column does not run into the next.
  pictures[0].caption = std::string(50, 'M');
  const auto cut = contact_sheet(pictures, {.columns = 2, .gap = 1});
  CHECK(at(cut, 1, 7) == Colour{255, 255, 255});
  CHECK(contact_sheet(std::span(pictures).first(1), {.columns = 9, .gap = 0}).width() == 4);
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(contact_sheet(pictures, {.columns = 0})); }),
                 "'columns' is 0"));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(contact_sheet({}, {})); }), "no pictures"));
}
