// Views that Cuda renders: those of the CPU, for every kind of image, step and filter; sheets that overlap.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/core/random.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/view_sheet.hpp>

#include "cuda/rig.hpp"
#include "cuda/view_scenes.hpp"
#include "noise_images.hpp"
#include "thrown.hpp"
#include "views/pictures.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

bool same_bits(const Rendered& a, const Rendered& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

ViewPlan plan_of(const Box& box, Index height, Index width, const ColourPlan& colour = {},
                 bool flip = false) {
  return {{box, flip}, height, width, colour};
}

/// Boxes and sizes: smaller, larger, of one pixel, of the whole image, mirrored.
std::vector<ViewPlan> resizes(Index height, Index width) {
  const Box whole{0, 0, height, width};
  return {plan_of(whole, 32, 32),
          plan_of(whole, height, width, {}, true),
          plan_of(whole, 7, 5),
          plan_of({height - 9, width - 11, 9, 11}, 33, 29, {}, true),
          plan_of({3, 2, 21, 17}, 40, 9),
          plan_of({5, 7, 1, 1}, 4, 6),
          plan_of({0, 0, 1, width}, 3, 41),
          plan_of({1, 1, height - 2, width - 2}, 1, 1)};
}

std::vector<ColourPlan> colours() {
  using enum ColourStep;
  std::vector<ColourPlan> out;
  for (const double factor : {0.0, 0.6, 1.4}) {
    out.push_back({.brightness = factor});
    out.push_back({.contrast = factor});
    out.push_back({.saturation = factor});
  }
  for (const double turns : {-0.5, -0.1, 0.07, 0.5}) out.push_back({.hue = turns});
  out.push_back({.grey = true});
  for (const double radius : {0.1, 0.9, 1.9, 6.5, 30.0}) out.push_back({.blur_radius = radius});
  out.push_back({.solarise = true});
  ColourPlan all{.brightness = 1.2,
                 .contrast = 1.3,
                 .saturation = 0.8,
                 .hue = 0.08,
                 .blur_radius = 1.1,
                 .solarise = true};
  for (const auto& order :
       {std::array{brightness, contrast, saturation, hue}, std::array{hue, saturation, contrast, brightness},
        std::array{contrast, hue, brightness, saturation},
        std::array{saturation, brightness, hue, contrast}}) {
    all.order = order;
    all.grey = false;
    out.push_back(all);
    all.grey = true;
    out.push_back(all);
  }
  return out;
}

template <PixelType T>
AnyImage picture_of(Index height, Index width, Index channel_count, std::uint64_t seed = 3) {
  return drawn_picture<T>(height, width, channel_count, seed);
}

/// Pictures of every pixel type and 1, 3 and 5 channels, of odd sizes.
std::vector<AnyImage> pictures() {
  std::vector<AnyImage> out;
  for (const Index c : {1, 3, 5}) {
    out.push_back(picture_of<std::uint8_t>(37, 53, c));
    out.push_back(picture_of<std::uint16_t>(41, 29, c));
    out.push_back(picture_of<float>(31, 47, c));
  }
  return out;
}

bool is_bytes(const AnyImage& image) { return std::holds_alternative<Image<std::uint8_t>>(image); }

/// Checks that views are those of the CPU: to the bit before they are normalised in 8 bits, else within 1e-5
/// of full scale. (Normalising is one float product and one sum: 1e-6 is a 400th of a grey level.) Of turned
/// 8-bit hues one value in a thousand may be off by what a level becomes in later steps: the CPU's compiler
/// may contract its sums.
template <class Views>
void check_views(const Views& views, const std::vector<Scene>& scenes) {
  OnDevice<> device;
  for (const Scene& scene : scenes) {
    INFO(channels(scene.image) << " channels, type " << scene.image.index());
    const bool hue =
        std::ranges::any_of(scene.plans, [](const ViewPlan& plan) { return plan.colour.hue != 0.0; });
    const auto found = distance(views, {scene}, device(views, {scene}), on_host(views, {scene}));
    CAPTURE(found.mean, found.share);
    CHECK(found.largest < (!is_bytes(scene.image)              ? 1e-5
                           : hue && channels(scene.image) == 3 ? 2.0 / 255.0
                                                               : 1e-6));
    if (is_bytes(scene.image)) CHECK(found.share < 1e-3);
  }
}

}  // namespace

TEST_CASE("views on Cuda are resized as on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const auto check = [](const auto& views) {
    std::vector<Scene> scenes;
    for (const AnyImage& image : pictures()) scenes.push_back({image, resizes(height(image), width(image))});
    check_views(views, scenes);
  };
  SECTION("bicubic") { check(MultiCrop<>()); }
  SECTION("bilinear") { check(MultiCrop<MultiCropConfig{Interpolation::bilinear}>()); }
  SECTION("nearest") { check(MultiCrop<MultiCropConfig{Interpolation::nearest}>()); }
}

TEST_CASE("nearest copies floats on Cuda, also those beyond the range", "[cuda]") {
  if (!device_is_there()) return;
  Image<float> image(5, 7, 2);
  for (std::size_t i = 0; i < image.pixels().size(); ++i) image.pixels()[i] = 0.1F * static_cast<float>(i) - 2.0F;
  const std::vector<Scene> scenes{{image, {plan_of({0, 1, 5, 6}, 4, 11)}}};
  const MultiCrop<MultiCropConfig{Interpolation::nearest}> views;
  CHECK(distance(views, scenes, OnDevice<>()(views, scenes), on_host(views, scenes)).largest < 1e-6);
}

TEST_CASE("views on Cuda change their colours as on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  for (const AnyImage& image : pictures()) {
    for (const ColourPlan& colour : colours()) {
      CAPTURE(colour.brightness, colour.contrast, colour.saturation, colour.hue, colour.grey,
              colour.blur_radius, colour.solarise);
      check_views(MultiCrop<>(), {{image, {plan_of({2, 3, 25, 23}, 34, 31, colour)}}});
    }
  }
}

TEST_CASE("8-bit values are rounded on Cuda as on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  // All levels in any company; and dark ones, of which a sum that was contracted cuts some to another level.
  for (const unsigned levels : {255U, 15U}) {
    const Image<std::uint8_t> image =
        noise_image(96, 96, 3, {.seed = 9, .purpose = Purpose::user},
                    [&](RandomStream& random) { return random.bits() & levels; });
    for (const ColourPlan& colour :
         {ColourPlan{.hue = 0.033}, ColourPlan{.hue = -0.21}, ColourPlan{.brightness = 0.7},
          ColourPlan{.contrast = 0.6}, ColourPlan{.saturation = 0.6}, ColourPlan{.saturation = 1.1},
          ColourPlan{.grey = true}}) {
      CAPTURE(levels, colour.brightness, colour.contrast, colour.saturation, colour.hue, colour.grey);
      check_views(MultiCrop<MultiCropConfig{Interpolation::nearest}>(),
                  {{image, {plan_of({0, 0, 96, 96}, 96, 96, colour)}}});
    }
  }
}

TEST_CASE("views of a batch on Cuda, drawn from the same keys as the CPU's, have equal bits in any company",
          "[cuda]") {
  if (!device_is_there()) return;
  MultiCropOptions options;
  options.global_size = {48, 40};
  options.local_size = {24, 33};
  const MultiCrop<> views(options);
  std::vector<Scene> scenes;
  for (const AnyImage& image : pictures()) {
    scenes.push_back({image, views.plan(height(image), width(image), {.seed = 4, .sample = scenes.size()})});
  }
  OnDevice<> device;
  const Rendered whole = device(views, scenes);
  CHECK(device.runs(0) == 1);
  const auto found = distance(views, scenes, whole, on_host(views, scenes));
  CHECK(found.largest < 2.0 / 255.0);
  CHECK(found.share < 1e-3);
  SECTION("in every order of threads and blocks") {
    for (int way = 1; way < ways_of_running(); ++way) {
      run_in_way(way);
      CHECK(same_bits(OnDevice<>()(views, scenes), whole));
    }
    run_in_way(0);
  }
  SECTION("in several runs") {
    OnDevice<> little(std::size_t{100} << 10);
    CHECK(same_bits(little(views, scenes), whole));
    CHECK(little.runs(0) > 4);
    OnDevice<> one_by_one(1);
    CHECK(same_bits(one_by_one(views, scenes), whole));
    CHECK(one_by_one.runs(0) == whole.size());
  }
  SECTION("image by image") {
    Rendered parts;
    for (const Scene& scene : scenes) {
      for (auto& view : device(views, {scene})) parts.push_back(std::move(view));
    }
    CHECK(same_bits(parts, whole));
  }
}

TEST_CASE("sheets of views overlap on Cuda", "[cuda]") {
  if (!device_is_there()) return;
  MultiCropOptions options;
  options.global_size = options.local_size = {16, 16};
  options.locals = 1;
  const MultiCrop<> views(options);
  std::vector<std::vector<Scene>> sheets;
  for (std::uint64_t i = 0; i < 14; ++i) {
    // First each is larger than those before, so that all memory has to grow while it is in use; then none
    // is.
    const Index extent = i < 5 ? 30 + 10 * static_cast<Index>(i) : 30;
    Scene scene{picture_of<std::uint8_t>(extent, extent, 3, i), {}};
    scene.plans = views.plan(extent, extent, {.seed = i});
    sheets.push_back({scene});
  }
  for (int way = 0; way < ways_of_running(); ++way) {
    run_in_way(way);
    OnDevice<> device;
    device.send(views, sheets[0]);
    for (std::size_t i = 1; i < sheets.size(); ++i) {
      device.send(views, sheets[i]);
      if (i == 1)
        CHECK(
            contains(thrown_by<Error>([&] { static_cast<void>(device.renderer().stage(1)); }), "two sheets"));
      device.render();
    }
    device.render();
    CHECK(contains(thrown_by<Error>([&] { device.renderer().render({}); }), "no sheet of views"));
    for (std::size_t i = 0; i < sheets.size(); ++i) {
      CHECK(distance(views, sheets[i], device.read(i), on_host(views, sheets[i])).share < 1e-3);
    }
    CHECK(device.renderer().device_bytes() > 0);
  }
  run_in_way(0);
}
