// Views read through homographies: against functions, resized boxes and quarter turns; and the generator that turns views.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "noise_images.hpp"
#include "thrown.hpp"

#include <dssl/concepts.hpp>
#include <dssl/core/random.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/masks.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/two_views.hpp>
#include <dssl/views/warp.hpp>
#include <dssl/views/warped_views.hpp>

using namespace dssl;

static_assert(ViewGenerator<Warped<MultiCrop<>>> && !PlansViews<Warped<MultiCrop<>>>);
static_assert(MasksPatches<Warped<Masked<MultiCrop<>>>>);

namespace {

/// A smooth picture as a function of the place: waves of 60 pixels and more.
double wave(double x, double y, Index c) { return 0.5 + 0.3 * std::sin(x / 11 + static_cast<double>(c)) * std::cos(y / 13); }

template <class T>
Image<T> wave_image(Index height, Index width, Index channels = 2) {
  Image<T> out(height, width, channels);
  constexpr double full = std::is_same_v<T, std::uint8_t> ? 255 : std::is_same_v<T, std::uint16_t> ? 65535 : 1;
  constexpr double half = std::is_same_v<T, float> ? 0 : 0.5;
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x)
      for (Index c = 0; c < channels; ++c)
        out(y, x, c) = static_cast<T>(full * wave(static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5, c) + half);
  return out;
}

template <class T, class M>
PlanarImage<work_type<T>> warped(const Image<T>& image, const M& map, Index height, Index width,
                                 Interpolation kind = Interpolation::bicubic) {
  PlanarImage<work_type<T>> out, reduced;
  ResampleWorkspace<work_type<T>> workspace;
  warp(out, ImageView<T>(image), map, height, width, kind, reduced, workspace);
  return out;
}

/// Beside the 9 x 9 places at which a map is looked at, it may give anything.
struct Nowhere {
  double strange;

  [[nodiscard]] ScenePoint to_scene(const Point& p) const {
    const double at = 4 * (p.x + 1), off = std::abs(at - std::round(at));
    return off > 0.2 ? ScenePoint{strange, strange} : ScenePoint{8 * (p.x + 1), 8 * (p.y + 1)};
  }
  [[nodiscard]] Point to_view(const ScenePoint& s) const { return {s.x / 8 - 1, s.y / 8 - 1}; }
  [[nodiscard]] friend SceneRegion overlap(const Nowhere&, const Nowhere&) { return {{0, 0}, {16, 16}}; }
  [[nodiscard]] bool straight() const { return true; }
};

Point middle_of(Index y, Index x, Index height, Index width) {
  const auto along = [](Index i, Index n) { return 2 * (static_cast<double>(i) + 0.5) / static_cast<double>(n) - 1; };
  return {along(x, width), along(y, height)};
}

/// A view of the middle of a scene, turned, of 2 `half` pixels a side, one corner drawn in by `perspective`.
HomographyMap turned_view(Index height, Index width, double half, double degrees, double perspective = 0) {
  return {Homography::shift(0.5 * static_cast<double>(width), 0.5 * static_cast<double>(height)) * Homography::rotation(degrees) *
              Homography::scale(half, half) *
              Homography::to_corners({{{-1 + perspective, -1 + perspective}, {1, -1}, {1, 1}, {-1, 1}}}),
          height, width};
}

struct Off {
  double largest = 0;
  double mean = 0;
};

/// How far a warped picture of waves is from the waves themselves, on the scale 0..1.
template <class T>
Off off_waves(const HomographyMap& map, Interpolation kind = Interpolation::bicubic) {
  constexpr double full = std::is_same_v<T, std::uint8_t> ? 255 : 1;
  const auto view = warped(wave_image<T>(200, 260), map, 48, 64, kind);
  Off out;
  for (Index c = 0; c < 2; ++c) {
    for (Index y = 0; y < 48; ++y) {
      for (Index x = 0; x < 64; ++x) {
        const ScenePoint s = map.to_scene(middle_of(y, x, 48, 64));
        const double off = std::abs(static_cast<double>(view.row(c, y)[x]) / full - wave(s.x, s.y, c));
        out.largest = std::max(out.largest, off);
        out.mean += off / (2 * 48 * 64);
      }
    }
  }
  return out;
}

double largest_difference(const PlanarImage<float>& a, const PlanarImage<float>& b, Index edge = 0) {
  REQUIRE(a.channels() == b.channels());
  REQUIRE(a.height() == b.height());
  REQUIRE(a.width() == b.width());
  float out = 0;
  for (Index c = 0; c < a.channels(); ++c)
    for (Index y = edge; y < a.height() - edge; ++y)
      for (Index x = edge; x < a.width() - edge; ++x) out = std::max(out, std::abs(a.row(c, y)[x] - b.row(c, y)[x]));
  return static_cast<double>(out);
}

/// So that no filter goes beyond 0 or 1.
Image<float> noise(Index height, Index width) {
  return test::noise_image<float>(height, width, 1, {.seed = 8}, [](RandomStream& random) { return random.uniform(0.3, 0.7); });
}

/// Views of small size without changes of colour.
MultiCropOptions plain_options() {
  MultiCropOptions o;
  o.locals = 2;
  o.global_size = {48, 48};
  o.local_size = {32, 40};
  o.global_area = {0.3, 0.6};
  o.local_area = {0.2, 0.4};
  o.jitter = o.grey = o.blur_first_global = o.blur_second_global = o.blur_local = o.solarise_second_global = 0;
  o.mean = {0, 0};
  o.deviation = {1, 1};
  return o;
}

}  // namespace

TEST_CASE("a warped picture of a function is the function where the map leads, at any density and depth") {
  for (const double degrees : {0.0, 17.0, 90.0, -140.0}) {
    for (const double half : {20.0, 45.0, 68.0}) {  // of less than a pixel, of one and of two to three a pixel
      INFO(degrees << " degrees, " << half << " pixels about the middle");
      const HomographyMap map = turned_view(200, 260, half, degrees, 0.4);
      const Off in_float = off_waves<float>(map);
      CHECK(in_float.largest < 0.008);
      CHECK(in_float.mean < 0.001);
      const Off in_bytes = off_waves<std::uint8_t>(map);
      CHECK(in_bytes.largest < 0.012);
      CHECK(in_bytes.mean < 0.0025);
      CHECK(off_waves<std::uint16_t>(map).largest < 0.008);
      CHECK(off_waves<float>(map, Interpolation::bilinear).largest < 0.015);
      CHECK(off_waves<float>(map, Interpolation::nearest).largest < 0.05);
    }
  }
}

TEST_CASE("a warp without a turn is the box resized: the same filter where it is enlarged") {
  const Image<float> image = noise(60, 80);
  const Box box{20, 30, 20, 24};
  PlanarImage<float> resized;
  ResampleWorkspace<float> workspace;
  for (const bool flip : {false, true}) {
    resample(resized, ImageView<float>(image), box, 60, 72, Interpolation::bicubic, flip, workspace);
    const auto view = warped(image, HomographyMap(CropMap{box, flip}, 60, 80), 60, 72);
    CHECK(largest_difference(view, resized, 9) < 1e-5);  // beyond the edges a box has nothing, and a scene has more
    CHECK(largest_difference(view, resized) > 1e-3);
  }
}

TEST_CASE("a warp reads beyond the view's edges what the image has there") {
  const Image<float> image = noise(80, 80);
  for (const double degrees : {0.0, 30.0}) {
    const auto part = warped(image, turned_view(80, 80, 10, degrees), 60, 60);
    const auto more = warped(image, turned_view(80, 80, 20, degrees), 120, 120);
    float off = 0;
    for (Index y = 0; y < 60; ++y)
      for (Index x = 0; x < 60; ++x) off = std::max(off, std::abs(part.row(0, y)[x] - more.row(0, y + 30)[x + 30]));
    CHECK(off < 1e-5F);
  }
}

TEST_CASE("a warp keeps what is fine along its dense direction, however coarse the other one is") {
  const auto wave_of = [](double place) { return 0.5 + 0.4 * std::sin(2 * std::numbers::pi * place / 8); };
  for (const bool down : {false, true}) {  // whether the coarse one is
    INFO((down ? "rows" : "columns") << " are far apart");
    Image<float> image(200, 200, 1), fine(200, 200, 1);
    for (Index y = 0; y < 200; ++y) {
      for (Index x = 0; x < 200; ++x) {
        image(y, x, 0) = static_cast<float>(wave_of(static_cast<double>(down ? x : y) + 0.5));
        fine(y, x, 0) = (down ? y : x) % 2 == 0 ? 0.F : 1.F;
      }
    }
    const HomographyMap stretched(Homography::shift(100, 100) * (down ? Homography::scale(10, 60) : Homography::scale(60, 10)), 200, 200);
    const auto view = warped(image, stretched, 40, 40), grey = warped(fine, stretched, 40, 40);
    double off = 0, not_grey = 0;
    for (Index y = 0; y < 40; ++y) {
      for (Index x = 0; x < 40; ++x) {
        const ScenePoint s = stretched.to_scene(middle_of(y, x, 40, 40));
        off = std::max(off, std::abs(static_cast<double>(view.row(0, y)[x]) - wave_of(down ? s.x : s.y)));
        not_grey = std::max(not_grey, std::abs(static_cast<double>(grey.row(0, y)[x]) - 0.5));
      }
    }
    CHECK(off < 0.03);
    CHECK(not_grey < 0.2);  // three reads along the coarse direction, of lines that are 0 and 1: a third or two
  }
}

TEST_CASE("a warp of many channels is that of each of them, beyond the image's edges too") {
  for (const Index channels : {1, 2, 3, 4, 5, 9}) {
    const Image<float> image = wave_image<float>(60, 80, channels);
    const HomographyMap map = turned_view(60, 80, 50, 25, 0.3);
    for (const Interpolation kind : {Interpolation::bicubic, Interpolation::nearest}) {
      const auto view = warped(image, map, 70, 90, kind);
      REQUIRE(view.channels() == channels);
      float off = 0;
      for (Index c = 0; c < channels; ++c) {
        Image<float> alone(60, 80, 1);
        for (Index y = 0; y < 60; ++y)
          for (Index x = 0; x < 80; ++x) alone(y, x, 0) = image(y, x, c);
        const auto of_one = warped(alone, map, 70, 90, kind);
        for (Index y = 0; y < 70; ++y)
          for (Index x = 0; x < 90; ++x) off = std::max(off, std::abs(view.row(c, y)[x] - of_one.row(0, y)[x]));
      }
      INFO(channels << " channels");
      CHECK(off < 1e-6F);
    }
  }
}

TEST_CASE("a pixel that is no number stays none in the view, for the run to say so") {
  Image<float> image = wave_image<float>(32, 32, 3);
  image(16, 16, 1) = std::numeric_limits<float>::quiet_NaN();
  for (const Interpolation kind : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic}) {
    const auto view = warped(image, turned_view(32, 32, 10, 20), 24, 24, kind);
    int none = 0, black = 0;
    for (Index i = 0; i < view.plane_size(); ++i) {
      none += std::isnan(view.plane(1)[i]) ? 1 : 0;
      black += view.plane(1)[i] == 0 ? 1 : 0;
      REQUIRE_FALSE(std::isnan(view.plane(0)[i]));
    }
    CHECK(none > 0);
    CHECK(black == 0);
  }
}

TEST_CASE("what a map leads nowhere to between its places is read somewhere") {
  for (const double strange : {std::numeric_limits<double>::quiet_NaN(), 1e300, -1e300, 1e18}) {
    for (const Interpolation kind : {Interpolation::nearest, Interpolation::bicubic}) {
      const auto view = warped(wave_image<std::uint8_t>(16, 16, 3), Nowhere{strange}, 640, 640, kind);
      CHECK(view.width() == 640);
    }
  }
}

TEST_CASE("a warp by a quarter turn is the picture turned") {
  const Image<float> image = noise(61, 61);
  const auto plain = warped(image, turned_view(61, 61, 15, 0), 64, 64);
  const auto turned = warped(image, turned_view(61, 61, 15, 90), 64, 64);
  float off = 0;
  for (Index y = 0; y < 64; ++y)
    for (Index x = 0; x < 64; ++x) off = std::max(off, std::abs(turned.row(0, y)[x] - plain.row(0, x)[63 - y]));
  CHECK(off < 1e-5F);
}

TEST_CASE("a fine pattern seen from afar is grey, and not what a few of its pixels are") {
  Image<std::uint8_t> board(400, 400, 1);
  for (Index y = 0; y < 400; ++y)
    for (Index x = 0; x < 400; ++x) board(y, x, 0) = (x + y) % 2 == 0 ? 0 : 255;
  const auto contrast = [&](const HomographyMap& map, Interpolation kind) {
    const auto view = warped(board, map, 40, 40, kind);
    double out = 0;
    for (Index y = 0; y < 40; ++y)
      for (Index x = 0; x < 40; ++x) out = std::max(out, std::abs(static_cast<double>(view.row(0, y)[x]) - 127.5));
    return out;
  };
  for (const double degrees : {0.0, 20.0, 45.0}) {
    INFO(degrees << " degrees");
    CHECK(contrast(turned_view(400, 400, 130, degrees), Interpolation::bicubic) < 6);
    CHECK(contrast(turned_view(400, 400, 130, degrees), Interpolation::bilinear) < 6);
    CHECK(contrast(turned_view(400, 400, 130, degrees), Interpolation::nearest) == 127.5);
    // One side of the view is three times as dense as the other.
    const HomographyMap angled(Homography::shift(200, 200) * Homography::rotation(degrees) *
                                   Homography::to_corners({{{-40, -120}, {40, -120}, {120, 120}, {-120, 120}}}),
                               400, 400);
    CHECK(contrast(angled, Interpolation::bicubic) < 25);
    // Stretched: five pixels of the board across, and half a pixel down. (By 45 degrees that shows the board's diagonals.)
    if (degrees == 45) continue;
    const HomographyMap stretched(Homography::shift(200, 200) * Homography::rotation(degrees) * Homography::scale(100, 10), 400, 400);
    CHECK(contrast(stretched, Interpolation::bicubic) < 40);
  }
}

TEST_CASE("a warp of OpenCV") {
  // OpenCV 5.0.0: cv2.warpPerspective of this picture in float by the matrix, which leads from the view's pixels to the
  // picture's, INTER_LINEAR, WARP_INVERSE_MAP, BORDER_REFLECT. Its pixels lie at whole numbers, ours half a pixel further.
  Image<float> image(12, 14, 1);
  for (Index y = 0; y < 12; ++y)
    for (Index x = 0; x < 14; ++x) image(y, x, 0) = static_cast<float>((37 * x * x + 91 * y + 53 * x * y) % 256) / 255;
  constexpr std::array<float, 48> expected{
      104.72F, 117.577675F, 123.80792F, 56.221672F, 49.51237F, 79.411F, 143.84174F, 33.68336F, 60.323296F, 34.90906F, 162.28961F, 181.92264F,
      100.23103F, 113.08796F, 164.3915F, 97.45151F, 128.50702F, 108.07063F, 124.17937F, 187.89449F, 90.63799F, 142.66344F, 206.67545F,
      190.31522F, 191.50755F, 195.89697F, 174.05962F, 131.60956F, 51.05514F, 24.086607F, 80.65485F, 170.73582F, 55.376453F, 141.05258F,
      140.26118F, 76.640015F, 50.258904F, 60.03967F, 99.398125F, 114.17014F, 97.74619F, 79.75675F, 99.83884F, 45.223457F, 71.79401F,
      135.66075F, 156.8012F, 66.853745F};
  const Homography matrix({0.9, 0.25, -1.3, -0.2, 0.8, 2.6, 0.004, -0.003, 1});
  const Homography to_pixels = Homography::shift(-0.5, -0.5) * Homography::scale(4, 3) * Homography::shift(1, 1);
  const auto view =
      warped(image, HomographyMap(Homography::shift(0.5, 0.5) * matrix * to_pixels, 12, 14), 6, 8, Interpolation::bilinear);
  float off = 0;
  for (Index i = 0; i < 48; ++i) off = std::max(off, std::abs(255 * view.plane(0)[i] - expected[static_cast<std::size_t>(i)]));
  CHECK(off < 2e-3F);
}

TEST_CASE("beyond its edges an image is reflected") {
  const Image<float> image = noise(40, 40);
  // The left half of one view lies left of the image, the upper half of the other above it.
  const auto view = warped(image, HomographyMap(Homography::shift(0, 20) * Homography::scale(10, 10), 40, 40), 40, 40);
  const auto above = warped(image, HomographyMap(Homography::shift(20, 0) * Homography::scale(10, 10), 40, 40), 40, 40);
  float off = 0;
  for (Index y = 0; y < 40; ++y) {
    for (Index x = 0; x < 20; ++x) {
      off = std::max(off, std::abs(view.row(0, y)[x] - view.row(0, y)[39 - x]));
      off = std::max(off, std::abs(above.row(0, x)[y] - above.row(0, 39 - x)[y]));
    }
  }
  CHECK(off < 1e-6F);
  CHECK(std::abs(view.row(0, 3)[39] - view.row(0, 3)[20]) > 1e-3F);
}

TEST_CASE("a view that shows nothing of its image shows the edge that is nearest") {
  Image<float> image(40, 40, 1);
  for (Index y = 0; y < 40; ++y)
    for (Index x = 0; x < 40; ++x) image(y, x, 0) = static_cast<float>(x == 0 ? 0.25 : x == 39 ? 0.75 : 0.0);
  for (const auto& [at, value] : {std::pair(-100.0, 0.25F), {140.0, 0.75F}}) {
    const auto view = warped(image, HomographyMap(Homography::shift(at, 20) * Homography::scale(10, 10), 40, 40), 4, 4);
    for (Index y = 0; y < 4; ++y)
      for (Index x = 0; x < 4; ++x) CHECK(std::abs(view.row(0, y)[x] - value) < 1e-6F);
  }
  CHECK(test::thrown_by<ShapeError>([&] {
          static_cast<void>(warped(image, HomographyMap(Homography::shift(20, 20) * Homography::scale(1e12, 10), 40, 40), 4, 4));
        }).find("expected a pixel and a finite extent") != std::string::npos);
}

TEST_CASE("small views anywhere in a picture that a strong pincushion lens corrects are drawn") {
  const SyntheticScenes scenes({.seed = 3, .count = 1, .height = 96, .width = 128, .channels = 1});
  MultiCropOptions options = plain_options();
  options.mean = options.deviation = {};
  options.camera = {.height = 96, .width = 128, .fx = 100, .fy = 100, .cx = 63.5, .cy = 47.5, .k1 = 0.9};
  options.global_area = {0.9, 1};
  options.local_area = {0.012, 0.015};
  options.local_size = {16, 16};
  options.locals = 8;
  const Warped<MultiCrop<>> views(options);
  const SampleMaker<Warped<MultiCrop<>>, RandomPoints<>> maker(views, RandomPoints<>(2), 1, true);
  const AnyImage image = scenes.load(0).image;
  SampleViews sample;
  ViewWorkspace workspace;
  for (std::uint64_t n = 0; n < 40; ++n) CHECK_NOTHROW(maker.make(sample, image, RandomKey{.seed = 5, .sample = n}, workspace));
}

TEST_CASE("warped views that are not turned are the boxes that they come from, to the bit") {
  const SyntheticScenes scenes({.seed = 3, .count = 2, .height = 96, .width = 128, .channels = 3});
  const AnyImage image = scenes.load(0).image;
  MultiCropOptions options = plain_options();
  options.mean = options.deviation = {};
  options.jitter = 1;
  const MultiCrop<> boxes(options);
  const Warped<MultiCrop<>> views(options);
  const RandomKey key{.seed = 5, .sample = 1};
  const auto expected = boxes.plan(96, 128, key);
  std::vector<WarpedPlan> plans;
  views.plan(plans, 96, 128, key);
  REQUIRE(plans.size() == expected.size());
  ViewWorkspace workspace;
  for (std::size_t v = 0; v < plans.size(); ++v) {
    CHECK(plans[v].view == expected[v]);
    CHECK(plans[v].map == LensMap(HomographyMap(expected[v].map, 96, 128), Lens(), 96, 128));
    std::vector<float> a(static_cast<std::size_t>(3 * plans[v].view.height * plans[v].view.width)), b(a.size());
    boxes.render(image, expected[v], a, workspace);
    views.render(image, plans[v], b, workspace);
    CHECK((a == b));
  }
}

TEST_CASE("warped views are turned within their range, and corners drawn into the box") {
  MultiCropOptions options = plain_options();
  options.rotation = 30;
  const Warped<MultiCrop<>> turned(options);
  options.rotation = 0;
  options.perspective = 0.4;
  const Warped<MultiCrop<>> angled(options);
  std::vector<WarpedPlan> plans;
  double least = 0, most = 0, nearest = 1, furthest = 0;
  for (std::uint64_t sample = 0; sample < 60; ++sample) {
    turned.plan(plans, 90, 120, {.seed = 2, .sample = sample});
    for (const WarpedPlan& plan : plans) {
      const CropMap& box = plan.view.map;
      const ScenePoint left = plan.map.to_scene({-1, 0}), right = plan.map.to_scene({1, 0}), top = plan.map.to_scene({0, -1});
      const ScenePoint middle = plan.map.to_scene({0, 0}), was = box.to_scene({0, 0});
      CHECK(std::hypot(middle.x - was.x, middle.y - was.y) < 1e-9);
      CHECK(std::hypot(right.x - left.x, right.y - left.y) == Approx(static_cast<double>(box.box.width)));
      CHECK(2 * std::hypot(middle.x - top.x, middle.y - top.y) == Approx(static_cast<double>(box.box.height)));
      const double sign = box.flip ? -1 : 1;
      const double degrees = std::atan2(sign * (right.y - left.y), sign * (right.x - left.x)) / std::numbers::pi * 180;
      least = std::min(least, degrees);
      most = std::max(most, degrees);
    }
    angled.plan(plans, 90, 120, {.seed = 2, .sample = sample});
    for (const WarpedPlan& plan : plans) {
      for (const Point corner : {Point{-1, -1}, Point{1, -1}, Point{1, 1}, Point{-1, 1}}) {
        const Point in_box = plan.view.map.to_view(plan.map.to_scene(corner));
        for (const double share : {in_box.x * corner.x, in_box.y * corner.y}) {
          nearest = std::min(nearest, share);
          furthest = std::max(furthest, share);
        }
      }
    }
  }
  CHECK(least >= -30);
  CHECK(most <= 30);
  CHECK(least < -28);
  CHECK(most > 28);
  CHECK(nearest >= 0.6 - 1e-9);
  CHECK(nearest < 0.62);
  CHECK(furthest <= 1 + 1e-9);
  CHECK(furthest > 0.98);
}

TEST_CASE("views upside down and by quarters show the scene where their maps lead, and are the upright ones with pixels moved") {
  const Image<float> image = wave_image<float>(160, 220);
  MultiCropOptions options = plain_options();
  options.vertical_flip = 0.5;
  options.quarter_turns = 0.6;
  std::array<int, 4> quarters{};
  int upside_down = 0, all = 0;
  for (const double rotation : {0.0, 15.0}) {
    options.rotation = rotation;
    const Warped<MultiCrop<>> views(options);
    ViewWorkspace workspace;
    double off_scene = 0, off_upright = 0;
    for (std::uint64_t sample = 0; sample < 100; ++sample) {
      std::vector<WarpedPlan> plans;
      views.plan(plans, 160, 220, {.seed = 8, .sample = sample});
      for (const WarpedPlan& plan : plans) {
        ++quarters[static_cast<std::size_t>(plan.quarter_turn.quarters)];
        upside_down += plan.quarter_turn.upside_down ? 1 : 0;
        ++all;
        const Index height = plan.view.height, width = plan.view.width;
        const PlanarImage<float> view = views.draw(image, plan, workspace);
        REQUIRE(view.height() == height);
        REQUIRE(view.width() == width);
        for (Index y = 2; y < height - 2; ++y) {  // at the edges a box has nothing beyond
          for (Index x = 2; x < width - 2; ++x) {
            const ScenePoint at = plan.map.to_scene(middle_of(y, x, height, width));
            if (at.x < 3 || at.y < 3 || at.x > 217 || at.y > 157) continue;
            off_scene = std::max(off_scene, std::abs(static_cast<double>(view.row(1, y)[x]) - wave(at.x, at.y, 1)));
          }
        }
        if (rotation != 0 || sample > 20) continue;
        WarpedPlan upright = plan;
        upright.quarter_turn = {};
        const bool lies = plan.quarter_turn.quarters % 2 == 1;
        if (lies) std::swap(upright.view.height, upright.view.width);
        const PlanarImage<float>& as_it_was = views.draw(image, upright, workspace);
        for (Index y = 0; y < height; ++y) {
          for (Index x = 0; x < width; ++x) {
            // Clockwise: what was at the left is above; then what was above is below.
            std::array<Index, 2> from{y, x};
            switch (plan.quarter_turn.quarters) {
              case 1:
                from = {width - 1 - x, y};
                break;
              case 2:
                from = {height - 1 - y, width - 1 - x};
                break;
              case 3:
                from = {x, height - 1 - y};
                break;
              default:
                break;
            }
            if (plan.quarter_turn.upside_down) from[0] = as_it_was.height() - 1 - from[0];
            off_upright = std::max(off_upright, static_cast<double>(std::abs(view.row(0, y)[x] - as_it_was.row(0, from[0])[from[1]])));
          }
        }
      }
    }
    CHECK(off_scene < 0.012);
    CHECK(off_upright == 0);
  }
  const auto near = [&](int count, double share) {
    CHECK(std::abs(count - share * all) < 4 * std::sqrt(share * (1 - share) * all));
  };
  near(upside_down, 0.5);
  near(quarters[0], 0.4);
  for (const std::size_t q : {1U, 2U, 3U}) near(quarters[q], 0.2);
}

TEST_CASE("points of warped views lie on the same of the scene in both pictures, or are not valid") {
  MultiCropOptions options = plain_options();
  options.rotation = 45;
  options.perspective = 0.3;
  const Warped<MultiCrop<>> views(options);
  constexpr Index count = 16;
  const SampleMaker<Warped<MultiCrop<>>, RandomPoints<count>> maker(views, RandomPoints<count>(), 2, true);
  REQUIRE(maker.shape(1).checked_points);
  REQUIRE_FALSE(maker.shape(1).framed);
  const AnyImage image = wave_image<float>(160, 220);
  /// Channel c of view v at a point, read bilinearly.
  const auto seen = [&](const SampleViews& sample, Index v, const Point& p, Index c) {
    std::size_t first = 0;
    for (Index w = 0; w < v; ++w) first += static_cast<std::size_t>(2 * views.size(w).height * views.size(w).width);
    const ViewSize size = views.size(v);
    const auto at = [&](double x, double y) {
      const Index column = std::clamp<Index>(static_cast<Index>(x), 0, size.width - 1);
      const Index row = std::clamp<Index>(static_cast<Index>(y), 0, size.height - 1);
      return static_cast<double>(sample.images[first + static_cast<std::size_t>((c * size.height + row) * size.width + column)]);
    };
    const double x = std::max(0.0, 0.5 * (p.x + 1) * static_cast<double>(size.width) - 0.5);
    const double y = std::max(0.0, 0.5 * (p.y + 1) * static_cast<double>(size.height) - 0.5);
    const double fx = x - std::floor(x), fy = y - std::floor(y);
    return (1 - fy) * ((1 - fx) * at(x, y) + fx * at(x + 1, y)) + fy * ((1 - fx) * at(x, y + 1) + fx * at(x + 1, y + 1));
  };
  ViewWorkspace workspace;
  double largest = 0;
  std::size_t valid = 0, all = 0;
  for (std::uint64_t number = 0; number < 12; ++number) {
    SampleViews sample, again;
    const RandomKey key{.seed = 6, .sample = number};
    maker.make(sample, image, key, workspace);
    maker.make(again, image, key, workspace);
    CHECK((sample.images == again.images && sample.valid == again.valid && sample.student_points == again.student_points));
    CHECK(sample.frames.empty());
    std::vector<WarpedPlan> plans;
    views.plan(plans, 160, 220, key);
    for (Index q = 0; q < 2; ++q) {
      for (Index v = 0; v < views.views(); ++v) {
        for (Index k = 0; k < count; ++k) {
          const auto row = static_cast<std::size_t>((q * views.views() + v) * count + k);
          const Point& there = sample.teacher_points[row];
          const Point& here = sample.student_points[static_cast<std::size_t>((v * 2 + q) * count + k)];
          ++all;
          CHECK((std::abs(there.x) <= 1 && std::abs(there.y) <= 1 && std::abs(here.x) <= 1 && std::abs(here.y) <= 1));
          if (sample.valid[row] == 0) continue;
          ++valid;
          const ScenePoint s = plans[static_cast<std::size_t>(q)].map.to_scene(there);
          const ScenePoint other = plans[static_cast<std::size_t>(v)].map.to_scene(here);
          CHECK(std::hypot(s.x - other.x, s.y - other.y) < 1e-6);
          CHECK((s.x > -1e-6 && s.y > -1e-6 && s.x < 220 + 1e-6 && s.y < 160 + 1e-6));
          for (Index c = 0; c < 2; ++c) {
            largest = std::max({largest, std::abs(seen(sample, q, there, c) - wave(s.x, s.y, c)),
                                std::abs(seen(sample, v, here, c) - wave(s.x, s.y, c))});
          }
        }
      }
    }
  }
  CHECK(largest < 0.06);  // at a view's edge a point lies half a pixel beyond the middle of its last pixel
  CHECK(valid > all * 95 / 100);
}

TEST_CASE("views that are boxes say that they are not turned") {
  MultiCropOptions options;
  options.rotation = 30;
  CHECK(test::thrown_by<OptionError>([&] { const MultiCrop<> views(options); }) ==
        "option 'rotation' is 30; expected 0 where views are boxes of the image: with_views<Warped<...>> has others");
  options.rotation = 181;
  CHECK(test::thrown_by<OptionError>([&] { const Warped<MultiCrop<>> views(options); }) ==
        "option 'rotation' is 181; expected 0 to 180 degrees");
  options.rotation = 0;
  options.quarter_turns = 0.75;
  CHECK(test::thrown_by<OptionError>([&] { const MultiCrop<> views(options); }) ==
        "option 'quarter_turns' is 0.75; expected 0 where views are boxes of the image: with_views<Warped<...>> has others");
  options.vertical_flip = 2;
  CHECK(test::thrown_by<OptionError>([&] { const Warped<MultiCrop<>> views(options); }) ==
        "option 'vertical_flip' is 2; expected a probability in [0, 1]");
  options.vertical_flip = options.quarter_turns = 0;
  options.perspective = 0.6;
  CHECK(test::thrown_by<OptionError>([&] { const Warped<TwoViews> views(options); }) ==
        "option 'perspective' is 0.6; expected a share in [0, 0.5]");
}
