#include "catch.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "views/pictures.hpp"

#include <dssl/views/resample.hpp>

using namespace dssl;
using test::difference;
using test::drawn_picture;
using test::picture;

namespace {

Box whole(Index height, Index width) { return {0, 0, height, width}; }

}  // namespace

TEST_CASE("resized crops are Pillow's") {
  const auto file = SafetensorsFile::open(test::fixture_path("augment.safetensors"));
  const auto source = picture(file, "source");
  const std::vector<std::pair<std::string, Interpolation>> kinds{{"nearest", Interpolation::nearest},
                                                                 {"bilinear", Interpolation::bilinear},
                                                                 {"bicubic", Interpolation::bicubic}};
  int cases = 0;
  for (int crop = 0; file.contains("crop" + std::to_string(crop) + ".box"); ++crop) {
    const std::string name = "crop" + std::to_string(crop);
    const auto box = file.read<Index>(name + ".box");
    for (const auto& [kind_name, kind] : kinds) {
      const auto wanted = picture(file, name + "." + kind_name);
      const auto got = resize(source, {box[0], box[1], box[2], box[3]}, box[4], box[5], kind);
      const auto d = difference(got, wanted);
      INFO(name << " " << kind_name << ": largest difference " << d.largest << ", share different "
                << d.share_different);
      CHECK(d.largest <= 2);
      CHECK(d.share_above_one <= 0.001);
      if (kind == Interpolation::nearest) CHECK(d.largest == 0);
      ++cases;
    }
  }
  CHECK(cases > 0);
}

TEST_CASE("resizing to the same size changes nothing, in any type") {
  const auto check = [](const auto& image) {
    for (const auto kind : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic}) {
      CHECK(resize(image, image.height(), image.width(), kind) == image);
    }
  };
  check(drawn_picture<std::uint8_t>(37, 53, 3));
  check(drawn_picture<std::uint16_t>(37, 53, 2));
  check(drawn_picture<float>(37, 53, 5));
}

TEST_CASE("a flipped resize is the resize of the mirrored box") {
  const auto image = drawn_picture<std::uint8_t>(61, 83, 3);
  auto mirrored = image;
  for (Index y = 0; y < image.height(); ++y) {
    for (Index x = 0; x < image.width(); ++x) {
      for (Index c = 0; c < 3; ++c) mirrored(y, x, c) = image(y, image.width() - 1 - x, c);
    }
  }
  const Box box{5, 7, 40, 51};
  const Box mirrored_box{box.y, image.width() - box.x - box.width, box.height, box.width};
  for (const auto kind : {Interpolation::bilinear, Interpolation::bicubic}) {
    const auto a = resize(image, box, 33, 29, kind, true);
    const auto b = resize(mirrored, mirrored_box, 33, 29, kind, false);
    // The weights of a mirrored axis differ by the rounding of their sum only.
    CHECK(difference(a, b).largest <= 1);
    CHECK(difference(a, b).share_different < 0.001);
  }
}

TEST_CASE("a constant picture stays constant whatever the box and the size") {
  Image<std::uint8_t> image(30, 40, 1);
  std::fill(image.pixels().begin(), image.pixels().end(), std::uint8_t{173});
  for (const Box box : {whole(30, 40), Box{3, 5, 1, 1}, Box{0, 0, 30, 1}, Box{29, 0, 1, 40}}) {
    for (const auto& [h, w] : {std::pair<Index, Index>{1, 1}, {7, 90}, {64, 3}, {33, 17}}) {
      const auto out = resize(image, box, h, w);
      CHECK(std::all_of(out.pixels().begin(), out.pixels().end(), [](auto v) { return v == 173; }));
    }
  }
}

TEST_CASE("pixels outside the box take no part") {
  auto image = drawn_picture<std::uint8_t>(40, 50, 3);
  const Box box{10, 12, 20, 17};
  const auto before = resize(image, box, 31, 9);
  for (Index y = 0; y < 40; ++y) {
    for (Index x = 0; x < 50; ++x) {
      const bool in = y >= box.y && y < box.y + box.height && x >= box.x && x < box.x + box.width;
      for (Index c = 0; c < 3 && !in; ++c) image(y, x, c) = 255;
    }
  }
  CHECK(resize(image, box, 31, 9) == before);
}

TEST_CASE("16-bit and float resizes follow the 8-bit one") {
  for (const Index channels : {1, 2, 3, 5}) {
    const auto a = resize(drawn_picture<std::uint8_t>(70, 90, channels), {4, 6, 60, 71}, 32, 48);
    const auto b = resize(drawn_picture<std::uint16_t>(70, 90, channels), {4, 6, 60, 71}, 32, 48);
    const auto c = resize(drawn_picture<float>(70, 90, channels), {4, 6, 60, 71}, 32, 48);
    double worst = 0;
    for (std::size_t i = 0; i < a.pixels().size(); ++i) {
      worst = std::max(worst, std::abs(a.pixels()[i] - b.pixels()[i] / 257.0));
      worst = std::max(worst, std::abs(a.pixels()[i] - c.pixels()[i] * 255.0));
    }
    // Half a level from rounding the result, and less than one from rounding between the passes.
    CHECK(worst < 1.5);
  }
}

TEST_CASE("nearest copies values and never mixes them") {
  Image<std::uint16_t> labels(9, 14, 1);
  for (std::size_t i = 0; i < labels.pixels().size(); ++i) {
    labels.pixels()[i] = static_cast<std::uint16_t>(i * 519 % 65536);
  }
  const auto out = resize(labels, 23, 5, Interpolation::nearest);
  for (const auto v : out.pixels()) {
    CHECK(std::find(labels.pixels().begin(), labels.pixels().end(), v) != labels.pixels().end());
  }
}

TEST_CASE("one workspace serves pictures of any size in turn") {
  ResampleWorkspace<std::uint8_t> workspace;
  PlanarImage<std::uint8_t> out;
  for (const auto& [h, w] : {std::pair<Index, Index>{90, 120}, {1, 1}, {3, 700}, {200, 10}, {90, 120}}) {
    const auto image = drawn_picture<std::uint8_t>(h, w, 3);
    resample(out, image, whole(h, w), 20, 24, Interpolation::bicubic, false, workspace);
    CHECK(to_image<std::uint8_t>(out) == resize(image, 20, 24));
  }
}

TEST_CASE("a box outside the image or an empty size is an error") {
  const auto image = drawn_picture<std::uint8_t>(10, 12, 1);
  CHECK_THROWS_AS(resize(image, {0, 0, 11, 12}, 4, 4), ShapeError);
  CHECK_THROWS_AS(resize(image, {-1, 0, 4, 4}, 4, 4), ShapeError);
  CHECK_THROWS_AS(resize(image, {0, 0, 0, 4}, 4, 4), ShapeError);
  CHECK_THROWS_AS(resize(image, {0, 0, 4, 4}, 0, 4), ShapeError);
}

TEST_CASE("transposing a block of bytes") {
  std::array<std::uint8_t, 256> in;
  std::array<std::uint8_t, 256> out;
  for (std::size_t i = 0; i < 256; ++i) in[i] = static_cast<std::uint8_t>(i * 37 + i / 16);
  detail::transpose_16x16(out.data(), in.data());
  for (std::size_t i = 0; i < 16; ++i) {
    for (std::size_t j = 0; j < 16; ++j) CHECK(out[j * 16 + i] == in[i * 16 + j]);
  }
}
