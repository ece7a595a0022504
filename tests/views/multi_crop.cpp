#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "views/pictures.hpp"

#include <dssl/views/multi_crop.hpp>

using namespace dssl;
using test::drawn_picture;

namespace {

std::vector<float> rendered(const MultiCrop<>& views, const AnyImage& image, const ViewPlan& plan,
                            ViewWorkspace& workspace) {
  std::vector<float> out(static_cast<std::size_t>(channels(image) * plan.height * plan.width),
                         std::numeric_limits<float>::quiet_NaN());
  views.render(image, plan, out, workspace);
  return out;
}

bool finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

MultiCropOptions small_options() {
  MultiCropOptions options;
  options.locals = 3;
  options.global_size = {40, 56};
  options.local_size = {24, 16};
  return options;
}

/// The name of the option that validation complains of, or nothing.
template <class Change>
std::string complaint(const Change& change) {
  MultiCropOptions options;
  change(options);
  try {
    validate(options);
  } catch (const OptionError& e) {
    return e.field();
  }
  return {};
}

}  // namespace

TEST_CASE("the published options are valid and a wrong one is named") {
  CHECK_NOTHROW(validate(MultiCropOptions{}));
  CHECK_NOTHROW(validate(dino_multi_crop_options()));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  using O = MultiCropOptions;
  CHECK(complaint([](O& o) { o.locals = -1; }) == "locals");
  CHECK(complaint([](O& o) { o.global_size.height = 0; }) == "global_size.height");
  CHECK(complaint([](O& o) { o.local_size.width = -3; }) == "local_size.width");
  CHECK(complaint([](O& o) { o.global_area.low = 0; }) == "global_area.low");
  CHECK(complaint([](O& o) { o.local_area = {0.5, 0.4}; }) == "local_area.high");
  CHECK(complaint([](O& o) { o.local_area.high = 1.5; }) == "local_area.high");
  CHECK(complaint([&](O& o) { o.local_area.low = nan; }) == "local_area.low");
  CHECK(complaint([](O& o) { o.global_zoom = {0, 2}; }) == "global_zoom.low");
  CHECK(complaint([](O& o) { o.local_zoom = {2, 1}; }) == "local_zoom.high");
  CHECK(complaint([&](O& o) { o.local_zoom = {nan, nan}; }) == "local_zoom.low");
  CHECK(complaint([](O& o) { o.local_zoom = {1, 1}; }).empty());
  CHECK(complaint([](O& o) { o.aspect.low = -1; }) == "aspect.low");
  CHECK(complaint([](O& o) { o.aspect = {2, 1}; }) == "aspect.high");
  CHECK(complaint([](O& o) { o.global_overlap = 1; }) == "global_overlap");
  CHECK(complaint([](O& o) { o.local_overlap = -0.1; }) == "local_overlap");
  CHECK(complaint([](O& o) { o.redraws = -1; }) == "redraws");
  CHECK(complaint([](O& o) { o.flip = 1.01; }) == "flip");
  CHECK(complaint([](O& o) { o.jitter = -0.01; }) == "jitter");
  CHECK(complaint([&](O& o) { o.brightness = nan; }) == "brightness");
  CHECK(complaint([](O& o) { o.contrast = -1; }) == "contrast");
  CHECK(complaint([](O& o) { o.saturation = -1; }) == "saturation");
  CHECK(complaint([](O& o) { o.hue = 0.6; }) == "hue");
  CHECK(complaint([](O& o) { o.grey = 2; }) == "grey");
  CHECK(complaint([](O& o) { o.blur_local = 2; }) == "blur_local");
  CHECK(complaint([](O& o) { o.blur_first_global = -2; }) == "blur_first_global");
  CHECK(complaint([](O& o) { o.blur_second_global = -2; }) == "blur_second_global");
  CHECK(complaint([](O& o) { o.blur_radius_low = -1; }) == "blur_radius_low");
  CHECK(complaint([](O& o) { o.blur_radius_high = 0; }) == "blur_radius_high");
  CHECK(complaint([](O& o) { o.solarise_second_global = 7; }) == "solarise_second_global");
  CHECK(complaint([](O& o) { o.mean = {0.5F}; }) == "deviation");
  CHECK(complaint([](O& o) { o.mean = o.deviation = {0.0F}; }) == "deviation");
  MultiCropOptions bad;
  bad.hue = 3;
  CHECK_THROWS_AS(MultiCrop<>(bad), OptionError);
}

TEST_CASE("a plan depends on seed, epoch, sample and view alone") {
  const MultiCrop<> views(dino_multi_crop_options());
  const RandomKey base{.seed = 1, .epoch = 2, .sample = 3};
  const auto plans = views.plan(360, 480, base);
  REQUIRE(static_cast<Index>(plans.size()) == views.views());
  CHECK(plans ==
        views.plan(360, 480, {.seed = 1, .epoch = 2, .sample = 3, .view = 9, .purpose = Purpose::probe}));
  CHECK(plans != views.plan(360, 480, {.seed = 2, .epoch = 2, .sample = 3}));
  CHECK(plans != views.plan(360, 480, {.seed = 1, .epoch = 3, .sample = 3}));
  CHECK(plans != views.plan(360, 480, {.seed = 1, .epoch = 2, .sample = 4}));
  for (std::size_t a = 0; a < plans.size(); ++a) {
    for (std::size_t b = a + 1; b < plans.size(); ++b) CHECK(plans[a].map != plans[b].map);
  }
  // Colours do not depend on the image's size, nor on how many views there are.
  auto more = dino_multi_crop_options();
  more.locals = 9;
  CHECK(MultiCrop<>(more).plan(50, 90, base)[5].colour == plans[5].colour);
}

TEST_CASE("views have their sizes, boxes and overlaps") {
  const MultiCrop<> views(small_options());
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    const auto plans = views.plan(120, 90, {.seed = 4, .sample = sample});
    const double area = 120.0 * 90.0;
    for (std::size_t v = 0; v < plans.size(); ++v) {
      CHECK(plans[v].height == (v < 2 ? 40 : 24));
      CHECK(plans[v].width == (v < 2 ? 56 : 16));
      REQUIRE(inside(plans[v].map.box, 120, 90));
      for (std::size_t q = 0; q < 2; ++q) {
        if (q == v) continue;
        const double common =
            static_cast<double>(intersect(plans[v].map.box, plans[q].map.box).area()) / area;
        CHECK(common > (v < 2 ? 0.02 : 0.01));
      }
    }
  }
}

TEST_CASE("changes happen as often as the options say") {
  MultiCropOptions options;
  options.locals = 1;
  const MultiCrop<> views(options);
  const int samples = 4000;
  std::array<int, 3> flips{};
  std::array<int, 3> jitters{};
  std::array<int, 3> greys{};
  std::array<int, 3> blurs{};
  std::array<int, 3> solarised{};
  std::array<int, 4> first_step{};
  double radius = 0;
  std::vector<ViewPlan> plans;
  for (int n = 0; n < samples; ++n) {
    views.plan(plans, 100, 100, {.seed = 5, .sample = static_cast<std::uint64_t>(n)});
    for (std::size_t v = 0; v < 3; ++v) {
      const ColourPlan& c = plans[v].colour;
      flips[v] += plans[v].map.flip ? 1 : 0;
      const bool jittered = c.hue != 0.0;
      jitters[v] += jittered ? 1 : 0;
      greys[v] += c.grey ? 1 : 0;
      blurs[v] += c.blur_radius > 0 ? 1 : 0;
      solarised[v] += c.solarise ? 1 : 0;
      if (v == 0) radius += c.blur_radius / samples;
      if (jittered) ++first_step[static_cast<std::size_t>(c.order[0])];
      CHECK((c.brightness >= 0.6 && c.brightness <= 1.4));
      CHECK((c.contrast >= 0.6 && c.contrast <= 1.4));
      CHECK((c.saturation >= 0.8 && c.saturation <= 1.2));
      CHECK((c.hue >= -0.1 && c.hue <= 0.1));
      CHECK((c.blur_radius >= 0.0 && c.blur_radius <= 2.0));
    }
  }
  // Five standard errors of a share of 4000 are at most 0.04.
  const auto near = [&](int count, double share) {
    return std::abs(count / static_cast<double>(samples) - share) <=
           (share == 0.0 || share == 1.0 ? 0.0 : 0.04);
  };
  for (std::size_t v = 0; v < 3; ++v) {
    CHECK(near(flips[v], 0.5));
    CHECK(near(jitters[v], 0.8));
    CHECK(near(greys[v], 0.2));
    CHECK(near(blurs[v], v == 0 ? 1.0 : v == 1 ? 0.1 : 0.5));
    CHECK(near(solarised[v], v == 1 ? 0.2 : 0.0));
  }
  for (const int count : first_step) CHECK(count == Approx(0.25 * 0.8 * 3 * samples).epsilon(0.1));
  CHECK(radius == Approx(1.05).margin(0.05));
}

TEST_CASE("a plain view is the normalised crop, mirrored where it says so") {
  const auto image = drawn_picture<std::uint8_t>(60, 80, 3);
  const MultiCrop<> views(small_options());
  ViewWorkspace workspace;
  ViewPlan plan{{{0, 0, 60, 80}, false}, 60, 80, {}};
  const auto plain = rendered(views, image, plan, workspace);
  CHECK(plain[0] == Approx((image(0, 0, 0) / 255.0 - 0.485) / 0.229).margin(1e-5));
  plan.map.flip = true;
  const auto flipped = rendered(views, image, plan, workspace);
  bool mirrored = true;
  for (std::size_t y = 0; y < 3 * 60; ++y) {
    for (std::size_t x = 0; x < 80; ++x) mirrored = mirrored && plain[y * 80 + x] == flipped[y * 80 + 79 - x];
  }
  CHECK(mirrored);
}

TEST_CASE("a point of the scene is where the view's map says") {
  // One bright square on black, found again in the view at the place the map gives.
  Image<float> image(100, 120, 1);
  for (Index y = 60; y < 64; ++y) {
    for (Index x = 30; x < 34; ++x) image(y, x, 0) = 1.0F;
  }
  const MultiCrop<> views(small_options());
  ViewWorkspace workspace;
  for (const bool flip : {false, true}) {
    const ViewPlan plan{{{40, 10, 50, 60}, flip}, 100, 90, {}};
    const auto out = rendered(views, image, plan, workspace);
    const auto brightest = static_cast<Index>(std::max_element(out.begin(), out.end()) - out.begin());
    double mass = 0;
    double mean_x = 0;
    double mean_y = 0;
    for (Index i = 0; i < 100 * 90; ++i) {
      const double v = 0.25 * static_cast<double>(out[static_cast<std::size_t>(i)]) + 0.5;
      mass += v;
      mean_x += v * (static_cast<double>(i % 90) + 0.5);
      mean_y += v * (static_cast<double>(i / 90) + 0.5);
    }
    const Point p = plan.map.to_view({32.0, 62.0});
    CHECK(mean_x / mass == Approx(45.0 * (p.x + 1.0)).margin(0.3));
    CHECK(mean_y / mass == Approx(50.0 * (p.y + 1.0)).margin(0.3));
    CHECK(std::abs(static_cast<double>(brightest % 90) - 45.0 * (p.x + 1.0)) < 6.0);
  }
}

TEST_CASE("the same bits from every thread, workspace and order") {
  const MultiCrop<> views(small_options());
  const AnyImage image = drawn_picture<std::uint8_t>(90, 130, 3);
  const auto plans = views.plan(90, 130, {.seed = 8});
  std::vector<std::vector<float>> here;
  ViewWorkspace workspace;
  for (const auto& plan : plans) here.push_back(rendered(views, image, plan, workspace));
  std::vector<std::vector<float>> there(plans.size());
  std::thread other([&] {
    ViewWorkspace own;
    for (std::size_t v = plans.size(); v-- > 0;) there[v] = rendered(views, image, plans[v], own);
  });
  other.join();
  CHECK(here == there);
}

TEST_CASE("8-bit, 16-bit and float pictures give the same views") {
  const MultiCrop<> views(small_options());
  ViewWorkspace workspace;
  for (const Index channels : {1, 2, 3, 5}) {
    const AnyImage bytes = drawn_picture<std::uint8_t>(90, 130, channels);
    const AnyImage words = drawn_picture<std::uint16_t>(90, 130, channels);
    const AnyImage floats = drawn_picture<float>(90, 130, channels);
    double mean_difference = 0;
    double words_from_floats = 0;
    std::size_t count = 0;
    for (std::uint64_t sample = 0; sample < 10; ++sample) {
      auto plans = views.plan(90, 130, {.seed = 9, .sample = sample});
      for (auto& plan : plans) {
        // An inversion from one half on turns a rounding into a jump; it is tested by itself.
        plan.colour.solarise = false;
        const auto a = rendered(views, bytes, plan, workspace);
        const auto b = rendered(views, words, plan, workspace);
        const auto c = rendered(views, floats, plan, workspace);
        REQUIRE(finite(a));
        REQUIRE(finite(b));
        // In grey levels: the smallest deviation is 0.224 of the range.
        for (std::size_t i = 0; i < a.size(); ++i) {
          mean_difference += 255.0 * 0.225 * static_cast<double>(std::abs(a[i] - b[i]));
          words_from_floats =
              std::max(words_from_floats, 255.0 * 0.25 * static_cast<double>(std::abs(b[i] - c[i])));
        }
        count += a.size();
      }
    }
    INFO(channels << " channels");
    // Each step in 8 bits rounds or cuts by up to one level, a turned hue by up to six; on average they stay
    // below 1.5.
    CHECK(mean_difference / static_cast<double>(count) < 1.5);
    CHECK(words_from_floats < 0.01);
  }
}

TEST_CASE("means and deviations: given, for three channels, for others") {
  ViewWorkspace workspace;
  const ViewPlan plan{{{0, 0, 8, 8}, false}, 8, 8, {}};
  const auto value = [&](const MultiCrop<>& views, Index channels) {
    Image<float> image(8, 8, channels);
    std::fill(image.pixels().begin(), image.pixels().end(), 0.75F);
    return rendered(views, image, plan, workspace).back();
  };
  CHECK(value(MultiCrop<>(), 3) == Approx((0.75 - 0.406) / 0.225));
  CHECK(value(MultiCrop<>(), 1) == Approx(1.0));
  CHECK(value(MultiCrop<>(), 5) == Approx(1.0));
  MultiCropOptions options;
  options.mean = {0.25F, 0.5F};
  options.deviation = {0.5F, 0.125F};
  CHECK(value(MultiCrop<>(options), 2) == Approx(2.0));
  CHECK_THROWS_AS(value(MultiCrop<>(options), 3), ShapeError);
}

TEST_CASE("tiny and long images give finite views") {
  const MultiCrop<> views(small_options());
  ViewWorkspace workspace;
  for (const auto& [height, width] :
       {std::pair<Index, Index>{1, 1}, {1, 2}, {2, 3}, {1, 10000}, {10000, 10}, {10, 10000}}) {
    const AnyImage image = drawn_picture<std::uint8_t>(height, width, 3);
    INFO(height << " x " << width);
    const auto plans = views.plan(height, width, {.seed = 10});
    for (const auto& plan : plans) {
      REQUIRE(inside(plan.map.box, height, width));
      CHECK(finite(rendered(views, image, plan, workspace)));
    }
  }
}

TEST_CASE("a plan of another image, a wrong size or an empty image is an error") {
  const MultiCrop<> views(small_options());
  ViewWorkspace workspace;
  const AnyImage image = drawn_picture<std::uint8_t>(20, 20, 3);
  ViewPlan plan{{{0, 0, 21, 20}, false}, 8, 8, {}};
  std::vector<float> out(3 * 8 * 8);
  CHECK_THROWS_AS(views.render(image, plan, out, workspace), ShapeError);
  plan.map.box.height = 20;
  CHECK_NOTHROW(views.render(image, plan, out, workspace));
  out.pop_back();
  CHECK_THROWS_AS(views.render(image, plan, out, workspace), ShapeError);
  CHECK_THROWS_AS(views.plan(0, 5, {}), ShapeError);
}

TEST_CASE("crops by pixels show as much of an image as there are pixels in the view, however large the image") {
  CHECK(area_shown({0.1, 0.2}, {}, {8, 8}, 100, 100) == AreaRange{0.1, 0.2});
  CHECK(area_shown({0.1, 0.2}, {1, 2}, {8, 16}, 64, 32) == AreaRange{1.0 / 64, 1.0 / 16});
  CHECK(area_shown({0.1, 0.2}, {0.25, 1}, {8, 8}, 16, 16) == AreaRange{0.25, 1.0});  // a fourth of the pixels would be more than there is
  MultiCropOptions options = small_options();
  options.global_size = {96, 96};
  options.local_size = {32, 48};
  options.locals = 3;
  options.global_zoom = {1, 1};
  options.local_zoom = {1, 2};
  const MultiCrop<> views(options);
  for (const auto& [height, width] : {std::pair<Index, Index>{300, 400}, {3000, 4000}}) {
    for (std::uint64_t n = 0; n < 40; ++n) {
      const auto plans = views.plan(height, width, RandomKey{.seed = 3, .sample = n});
      for (std::size_t v = 0; v < plans.size(); ++v) {
        const auto area = static_cast<double>(plans[v].map.box.area());
        if (v < 2) {
          CHECK(area == Approx(96 * 96).epsilon(0.02));  // whole pixels
        } else {
          CHECK((area > 0.95 * 32 * 48 / 4 && area < 1.05 * 32 * 48));
        }
      }
    }
  }
}

TEST_CASE("local views keep their size beside global ones that are crops by pixels") {
  MultiCropOptions options = small_options();
  options.global_size = {96, 96};
  options.local_size = {48, 48};
  options.locals = 3;
  options.global_zoom = {1, 1};
  const auto locals_of = [&](double least, double most) {
    const MultiCrop<> views(options);
    for (std::uint64_t n = 0; n < 40; ++n) {
      const auto plans = views.plan(3000, 4000, RandomKey{.seed = 4, .sample = n});
      for (std::size_t v = 2; v < plans.size(); ++v) {
        const auto share = static_cast<double>(plans[v].map.box.area()) / 12e6;
        CHECK((share > 0.98 * least && share < 1.02 * most));
      }
    }
  };
  options.local_area = {0.05, 0.2};
  locals_of(0.05, 0.2);
  options.local_zoom = {0.1, 0.25};  // 48 x 48 pixels show 192 x 192 to 480 x 480 of the image's
  locals_of(192 * 192 / 12e6, 480 * 480 / 12e6);
}

TEST_CASE("the four colour steps are done in the plan's order") {
  const auto image = drawn_picture<std::uint8_t>(32, 32, 3);
  const MultiCrop<> views(small_options());
  ViewWorkspace workspace;
  ViewPlan plan{{{0, 0, 32, 32}, false}, 32, 32, {}};
  plan.colour.brightness = 1.4;
  plan.colour.contrast = 0.6;
  PlanarImage<std::uint8_t> planes;
  to_planes(planes, image);
  adjust_brightness(planes, 1.4);
  adjust_contrast(planes, 0.6);
  CHECK(to_image<std::uint8_t>(views.draw(image, plan, workspace)) == to_image<std::uint8_t>(planes));
  std::swap(plan.colour.order[0], plan.colour.order[1]);
  to_planes(planes, image);
  adjust_contrast(planes, 0.6);
  adjust_brightness(planes, 1.4);
  CHECK(to_image<std::uint8_t>(views.draw(image, plan, workspace)) == to_image<std::uint8_t>(planes));
}
