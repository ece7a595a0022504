// Class maps, inputs and their labels, and pictures of predictions.
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include <dssl/features/class_map.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/pictures/overlay.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

ClassMap identity_map() { return ClassMap({.classes = 255, .void_ids = {255}}); }

/// An image whose pixels are their mask's ids, repeated over the channels.
LabelledImage labelled(Index height, Index width, Index channels = 3) {
  LabelledImage out;
  Image<std::uint8_t> image(height, width, channels);
  out.mask = Image<std::uint8_t>(height, width, 1);
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      const auto id = static_cast<std::uint8_t>((y * 16 + x * 3) % 250);
      out.mask(y, x, 0) = id;
      for (Index c = 0; c < channels; ++c) image(y, x, c) = id;
    }
  }
  out.image = image;
  return out;
}

}  // namespace

TEST_CASE("mask ids become classes") {
  const ClassMap voc({.classes = 21, .void_ids = {255}});
  CHECK(voc.classes() == 21);
  CHECK(voc.class_of(20) == 20);
  CHECK(voc.class_of(21) == ClassMap::ignored);
  CHECK(voc.class_of(255) == ClassMap::ignored);

  const ClassMap chosen({.classes = 21, .void_ids = {255}, .only = {8, 0, 17}});
  CHECK(chosen.classes() == 3);
  CHECK(std::vector<std::uint8_t>(chosen.ids().begin(), chosen.ids().end()) ==
        std::vector<std::uint8_t>{0, 8, 17});
  CHECK(chosen.class_of(8) == 1);
  CHECK(chosen.class_of(1) == ClassMap::ignored);

  const ClassMap inner({.classes = 4, .void_ids = {1}});
  CHECK(inner.classes() == 3);
  CHECK(inner.class_of(1) == ClassMap::ignored);
  CHECK(inner.class_of(3) == 2);
  CHECK(inner.id_of(2) == 3);

  const auto refused = [](const ClassOptions& options) {
    return thrown_by<OptionError>([&] { static_cast<void>(ClassMap(options)); });
  };
  CHECK(contains(refused({.classes = 0}), "'classes' is 0"));
  CHECK(contains(refused({.classes = 3, .only = {256}}), "'only' is 256"));
  CHECK(contains(refused({.classes = 3, .only = {1, 1}}), "each id once"));
  CHECK(contains(refused({.classes = 3, .void_ids = {1}, .only = {1}}), "not void"));
  CHECK(contains(refused({.classes = 1, .void_ids = {0}}), "at least one class"));
  CHECK(contains(refused({.classes = 256, .void_ids = {}}), "at most 255"));
  CHECK(contains(refused({.classes = 256, .void_ids = {300}}), "'void' is 300"));
}

TEST_CASE("labels lie where their pixels lie, in crops, mirrored, enlarged and reduced") {
  const auto picture = labelled(9, 14);
  // Sizes at which no middle of a cell falls between two pixels.
  for (const auto size : {std::array<Index, 2>{6, 10}, {9, 14}, {22, 30}}) {
    // Read at the nearest pixel, the image shows the ids themselves.
    const InputRenderer renderer(
        {.height = size[0], .width = size[1], .interpolation = Interpolation::nearest}, identity_map());
    for (const bool flip : {false, true}) {
      for (const Box box : {Box{0, 0, 9, 14}, Box{2, 3, 5, 7}}) {
        const auto out = renderer.render(picture, {.box = box, .flip = flip}, size[0], size[1]);
        const auto image = renderer.picture(out.image);
        for (Index y = 0; y < size[0]; ++y) {
          for (Index x = 0; x < size[1]; ++x) {
            REQUIRE(out.labels[static_cast<std::size_t>(y * size[1] + x)] == image(y, x, 0));
          }
        }
      }
    }
  }
}

TEST_CASE("a padded input keeps the shape, and is void around the picture") {
  const auto picture = labelled(10, 20);
  const InputRenderer renderer(
      {.height = 40, .width = 40, .fit = InputFit::pad, .interpolation = Interpolation::nearest},
      identity_map());
  const auto out = renderer.render(picture, 40, 40);
  const auto image = renderer.picture(out.image);
  for (Index y = 0; y < 40; ++y) {
    for (Index x = 0; x < 40; ++x) {
      const auto label = out.labels[static_cast<std::size_t>(y * 40 + x)];
      if (y < 10 || y >= 30) {
        REQUIRE(label == ClassMap::ignored);
        REQUIRE(out.image[static_cast<std::size_t>(y * 40 + x)] == 0.0F);
      } else {
        REQUIRE(label == picture.mask((y - 10) / 2, x / 2, 0));
        REQUIRE(image(y, x, 1) == label);
      }
    }
  }
  // Labels of a quarter of the size lie at the same places.
  const auto coarse = renderer.render(picture, 10, 10);
  CHECK(coarse.labels[1 * 10 + 4] == ClassMap::ignored);
  CHECK(coarse.labels[5 * 10 + 4] == picture.mask(6, 9, 0));
}

TEST_CASE("inputs are normalised as in training, for any number of channels") {
  auto picture = labelled(4, 4, 1);
  const InputRenderer grey({.height = 4, .width = 4, .channels = 1}, identity_map());
  const auto out = grey.render(picture, 4, 4);
  CHECK(out.image[1] == Approx((3.0 / 255 - 0.5) / 0.25).epsilon(1e-5));
  const InputRenderer colour({.height = 4, .width = 4}, identity_map());
  picture = labelled(4, 4, 3);
  const auto rgb = colour.render(picture, 4, 4);
  CHECK(rgb.image[16 + 1] == Approx((3.0 / 255 - 0.456) / 0.224).epsilon(1e-5));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(grey.render(picture, 4, 4)); }),
                 "3 channels; expected 1"));
  picture.mask = Image<std::uint8_t>(3, 4, 1);
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(colour.render(picture, 4, 4)); }),
                 "a mask of 3 x 4"));
  CHECK(contains(
      thrown_by<OptionError>([&] { InputRenderer({.mean = {0.5F}, .deviation = {1.0F}}, identity_map()); }),
      "'mean'"));
}

TEST_CASE("overlays mix the colour of the id into labelled pixels") {
  std::set<std::array<std::uint8_t, 3>> colours;
  for (int id = 0; id < 256; ++id) colours.insert(class_colour(static_cast<std::uint8_t>(id)));
  CHECK(colours.size() == 256);
  CHECK(class_colour(1) == std::array<std::uint8_t, 3>{128, 0, 0});
  CHECK(class_colour(15) == std::array<std::uint8_t, 3>{192, 128, 128});

  const ClassMap classes({.classes = 21, .only = {1, 15}});
  Image<std::uint8_t> image(1, 3, 3);
  for (auto& p : image.pixels()) p = 100;
  const std::vector<std::uint8_t> labels{0, 1, ClassMap::ignored};
  const auto mixed = overlay(image, labels, classes, 0.5);
  CHECK(mixed(0, 0, 0) == 114);
  CHECK(mixed(0, 0, 1) == 50);
  CHECK(mixed(0, 1, 0) == 146);
  CHECK(mixed(0, 2, 0) == 100);
  const auto all = prediction_overlay(image, labels, labels, classes, 1.0);
  CHECK(all.width() == 3 * 3 + 2 * 4);
  CHECK(all.height() == 1);
  CHECK(all(0, 0, 0) == 100);
  CHECK(all(0, 3, 0) == 255);
  CHECK(all(0, 7, 0) == 128);
  CHECK(all(0, 14 + 1, 2) == 128);
  CHECK(contains(
      thrown_by<ShapeError>([&] { static_cast<void>(overlay(image, std::span(labels).first(2), classes)); }),
      "2 labels"));
}
