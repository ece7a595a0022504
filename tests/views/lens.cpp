// Lenses against OpenCV's numbers, maps one after another, views that are corrected for a lens, and those of
// two cameras.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fixtures.hpp"
#include "thrown.hpp"

#include <dssl/core/camera.hpp>
#include <dssl/core/random.hpp>
#include <dssl/data/image_pairs.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/homography.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/paired_views.hpp>
#include <dssl/views/warp.hpp>
#include <dssl/views/warped_views.hpp>

using namespace dssl;

namespace {

double apart(const ScenePoint& a, const ScenePoint& b) {
  return std::max(std::abs(a.x - b.x), std::abs(a.y - b.y));
}

SafetensorsFile fixture() {
  const std::string path = test::fixture_path("lens.safetensors");
  return SafetensorsFile::open(
      std::filesystem::exists(path) ? path : test::own_fixture_folder() + "/lens.safetensors");
}

Camera camera_of(const std::vector<double>& n) {
  return {.height = static_cast<Index>(n.at(0)),
          .width = static_cast<Index>(n.at(1)),
          .fx = n.at(2),
          .fy = n.at(3),
          .cx = n.at(4),
          .cy = n.at(5),
          .k1 = n.at(6),
          .k2 = n.at(7),
          .p1 = n.at(8),
          .p2 = n.at(9),
          .k3 = n.at(10),
          .k4 = n.at(11),
          .k5 = n.at(12),
          .k6 = n.at(13)};
}

constexpr std::array<const char*, 4> cameras{"barrel", "rational", "pincushion", "small"};

/// Its lens pulls the picture's corners in by a fifth.
Camera bent_camera() {
  return {.height = 240,
          .width = 320,
          .fx = 230,
          .fy = 228,
          .cx = 163,
          .cy = 117,
          .k1 = -0.24,
          .k2 = 0.05,
          .p1 = 2e-3,
          .p2 = -1e-3};
}

/// A picture as a function of the place.
double wave(double x, double y) { return 0.5 + 0.3 * std::sin(x / 11) * std::cos(y / 13); }

/// Views of 48 x 64 pixels without changes of colour.
MultiCropOptions plain_options() {
  MultiCropOptions options;
  options.locals = 2;
  options.global_size = options.local_size = {48, 64};
  options.global_area = {0.15, 0.4};
  options.local_area = {0.1, 0.3};
  options.jitter = options.grey = options.blur_first_global = options.blur_second_global =
      options.blur_local = options.solarise_second_global = 0;
  options.mean = {0};
  options.deviation = {1};
  return options;
}

/// Of pixel (y, x) of a view of that size.
Point middle_of(Index y, Index x) {
  return {2 * (static_cast<double>(x) + 0.5) / 64 - 1, 2 * (static_cast<double>(y) + 0.5) / 48 - 1};
}

/// What a camera records of waves in a plane: `plane` leads from its corrected picture to the waves.
Image<float> recorded_by(const Lens& lens, Index height, Index width, const Homography& plane = {}) {
  Image<float> out(height, width, 1);
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      const auto from = lens.back({static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5});
      REQUIRE(from.has_value());
      const ScenePoint at = plane(from->x, from->y);
      out(y, x, 0) = static_cast<float>(wave(at.x, at.y));
    }
  }
  return out;
}

}  // namespace

TEST_CASE("lenses: points of OpenCV, there and back") {
  const auto file = fixture();
  for (const std::string name : cameras) {
    INFO(name);
    const Lens lens(camera_of(file.read<double>(name + ".camera")));
    const auto corrected = file.read<double>(name + ".corrected"),
               recorded = file.read<double>(name + ".recorded"),
               undistorted = file.read<double>(name + ".undistorted");
    REQUIRE(corrected.size() == recorded.size());
    double there = 0, back = 0, of_opencv = 0, moved = 0;
    for (std::size_t i = 0; i < corrected.size(); i += 2) {
      const ScenePoint from{corrected[i] + 0.5, corrected[i + 1] + 0.5},
          to{recorded[i] + 0.5, recorded[i + 1] + 0.5};
      there = std::max(there, apart(lens(from.x, from.y), to));
      const std::optional<ScenePoint> again = lens.back(to);
      REQUIRE(again.has_value());
      back = std::max(back, apart(*again, from));
      of_opencv = std::max(of_opencv, apart(*again, {undistorted[i] + 0.5, undistorted[i + 1] + 0.5}));
      moved = std::max(moved, apart(from, to));
    }
    CHECK(there < 1e-9);
    CHECK(back < 1e-7);
    CHECK(of_opencv < 1e-6);
    CHECK(moved > 4);
  }
}

TEST_CASE("lenses: the maps of OpenCV's initUndistortRectifyMap") {
  const auto file = fixture();
  for (const std::string name : cameras) {
    INFO(name);
    const Lens lens(camera_of(file.read<double>(name + ".camera")));
    const auto map = file.read<float>(name + ".map");
    const auto shape = file.shape(name + ".map");
    double off = 0;
    for (Index y = 0; y < shape.at(1); ++y) {
      for (Index x = 0; x < shape.at(2); ++x) {
        const auto at = static_cast<std::size_t>(y * shape.at(2) + x);
        const ScenePoint to = lens(16 * static_cast<double>(x) + 0.5, 16 * static_cast<double>(y) + 0.5);
        off = std::max(off, apart(to, {static_cast<double>(map[at]) + 0.5,
                                       static_cast<double>(map[map.size() / 2 + at]) + 0.5}));
      }
    }
    CHECK(off < 1e-4);  // which is in float
  }
}

TEST_CASE("lenses: the way back holds its bound wherever there is one, and says where there is none") {
  const auto file = fixture();
  RandomStream random({.seed = 3});
  for (const std::string name : cameras) {
    INFO(name);
    const Camera camera = camera_of(file.read<double>(name + ".camera"));
    const Lens lens(camera);
    double off = 0;
    int found = 0;
    for (int i = 0; i < 2000; ++i) {
      const ScenePoint s{random.uniform(0, 1) * static_cast<double>(camera.width),
                         random.uniform(0, 1) * static_cast<double>(camera.height)};
      const auto back = lens.back(s);
      if (!back) continue;
      ++found;
      off = std::max(off, apart(lens(back->x, back->y), s));
    }
    CHECK(off <= Lens::back_bound);
    // The rational one, of coefficients that no calibration found, has folded back before the corners of what it recorded.
    CHECK((name == std::string("rational") ? found > 1500 && found < 2000 : found == 2000));
  }
  // At r2 = 1 / 1.2 the radius is at its largest, two thirds of it: what is recorded further out came from
  // nowhere.
  const Lens folding({.height = 100, .width = 100, .fx = 100, .fy = 100, .cx = 49.5, .cy = 49.5, .k1 = -0.4});
  const double most = 100 * std::sqrt(1 / 1.2) * 2 / 3;
  for (const double share : {0.5, 0.9, 0.99}) {
    const auto back = folding.back({50 + share * most, 50});
    REQUIRE(back.has_value());
    CHECK(apart(folding(back->x, back->y), {50 + share * most, 50}) <= Lens::back_bound);
    CHECK(back->x < 50 + 100 * std::sqrt(1 / 1.2));  // of two the nearer
  }
  for (const double share : {1.02, 1.5, 30.0}) CHECK_FALSE(folding.back({50 + share * most, 50}).has_value());
  // Beyond that the map goes on, and does not come back.
  double last = 0;
  for (double x = 50; x < 900; x += 5) {
    const double now = folding(x, 50).x;
    CHECK(now >= last);
    last = now;
  }
}

TEST_CASE("lenses that fold back within the picture, and cameras that are none, are refused in words") {
  CHECK(test::contains(
      test::thrown_by<OptionError>([] {
        Lens({.height = 100, .width = 100, .fx = 40, .fy = 40, .cx = 49.5, .cy = 49.5, .k1 = -0.4});
      }),
      "option 'camera' is of a lens whose distortion folds back at column "));
  CHECK(test::thrown_by<OptionError>([] { Lens({.height = 100, .width = 100, .fx = -1, .fy = 40}); }) ==
        "option 'camera.fx' is -1; expected a focal length of 0.001 or more in pixels");
  CHECK(test::thrown_by<OptionError>([] {
          Lens({.height = 100, .width = 100, .fx = 1, .fy = 1, .k3 = std::nan("")});
        }) == "option 'camera.k3' is nan; expected a finite coefficient");
  CHECK(test::contains(test::thrown_by<OptionError>([] { Lens({.fx = 40, .fy = 40}); }),
                       "option 'camera.height' is 0"));
  // The denominator of a rational model with a pole in the picture.
  CHECK_THROWS_AS(Lens({.height = 100, .width = 100, .fx = 60, .fy = 60, .cx = 49.5, .cy = 49.5, .k4 = -2}),
                  OptionError);
  // With the principal point outside: a fold before the picture is refused, and one behind it is not.
  Camera beside{.height = 100, .width = 100, .fx = 100, .fy = 100, .cx = -500, .cy = 49.5, .k1 = -1.0 / 12};
  CHECK(test::thrown_by<OptionError>([&] { const Lens lens(beside, "pair.second"); }) ==
        "option 'pair.second' is of a lens whose distortion folds back between its principal point, column -500, row "
        "49.5, and the corrected picture of 100 x 100 pixels; expected coefficients that have an inverse there");
  beside.cx = -50;
  CHECK_NOTHROW(Lens(beside));
  CHECK(Lens() == Lens(Camera{}));
  CHECK(Lens().straight());
  CHECK(Lens({.height = 10, .width = 10, .fx = 20, .fy = 20}).straight());
  CHECK(apart(Lens()(3, 4), {3, 4}) == 0);
}

TEST_CASE("cameras as text, and back") {
  const auto file = fixture();
  for (const std::string name : cameras) {
    const Camera camera = camera_of(file.read<double>(name + ".camera"));
    CHECK(camera_of_text(text_of(camera)) == camera);
  }
  CHECK(text_of(Camera{}).empty());
  CHECK(camera_of_text("") == Camera{});
  CHECK(text_of({.height = 4, .width = 6, .fx = 1.5, .fy = 2, .k6 = 0.1}) ==
        "4 6 1.5 2 0 0 0 0 0 0 0 0 0 0.1");
  for (const char* const text :
       {"4", "4 6 1.5 2 0 0 0 0 0 0 0 0 0", "4 6 1.5 2 0 0 0 0 0 0 0 0 0 0 0", "a b"}) {
    CHECK_THROWS_AS(camera_of_text(text), OptionError);
  }
}

TEST_CASE("composed maps: points come back to 1e-6 of a pixel, and lie in two views at once") {
  const Camera camera = bent_camera();
  const Lens lens(camera);
  RandomStream random({.seed = 5});
  double in_scene = 0, in_view = 0;
  int shown = 0, outside = 0;
  for (int i = 0; i < 100; ++i) {
    const Homography plane = Homography::shift(random.uniform(60, 260), random.uniform(50, 190)) *
                             Homography::rotation(random.uniform(-180, 180)) *
                             Homography::scale(random.uniform(20, 120), random.uniform(20, 120)) *
                             Homography::to_corners({{{-0.8, -0.9}, {1, -1}, {0.9, 1}, {-1, 1}}});
    const LensMap map(HomographyMap(plane, 240, 320), lens, 240, 320);
    const SceneRegion bounds = map.bounds();
    for (int k = 0; k < 50; ++k) {
      const Point p{random.uniform(-1, 1), random.uniform(-1, 1)};
      const ScenePoint s = map.to_scene(p);
      const bool in_picture = s.x >= 0 && s.y >= 0 && s.x <= 320 && s.y <= 240;
      REQUIRE(map.shows(s) == in_picture);
      if (!in_picture) {
        ++outside;
        continue;
      }
      ++shown;
      const Point back = map.to_view(s);
      in_view = std::max({in_view, 112 * std::abs(back.x - p.x), 112 * std::abs(back.y - p.y)});
      in_scene = std::max(in_scene, apart(map.to_scene(back), s));
      CHECK((s.x > bounds.first.x - 0.02 && s.x < bounds.last.x + 0.02 && s.y > bounds.first.y - 0.02 &&
             s.y < bounds.last.y + 0.02));
    }
  }
  CHECK(in_scene < 1e-6);
  CHECK(in_view < 1e-6);
  CHECK(shown > 2500);
  CHECK(outside > 50);
}

TEST_CASE("composed maps: homographies one after another are their product") {
  const Homography inner = Homography::shift(40, 30) * Homography::rotation(20) * Homography::scale(25, 20);
  const Homography outer({1.1, 0.1, -3, 0.05, 0.9, 4, 5e-4, -3e-4, 1});
  const HomographyMap whole(outer * inner, 60, 80);
  const Composed<HomographyMap, Homography> parts(HomographyMap(inner, 100, 100), outer, 60, 80);
  const Composed<LensMap, Homography> more(LensMap(HomographyMap(inner, 100, 100), Lens(), 100, 100), outer,
                                           60, 80);
  CHECK(parts.straight());
  CHECK(more.straight());
  RandomStream random({.seed = 1});
  int shown = 0;
  for (int i = 0; i < 200; ++i) {
    const Point p{random.uniform(-1.2, 1.2), random.uniform(-1.2, 1.2)};
    const ScenePoint s = whole.to_scene(p);
    CHECK(apart(parts.to_scene(p), s) < 1e-11);
    CHECK(apart(more.to_scene(p), s) < 1e-11);
    CHECK(std::abs(parts.to_view(s).x - p.x) < 1e-11);
    CHECK(parts.shows(s) == whole.shows(s));
    shown += whole.shows(s) ? 1 : 0;
  }
  CHECK((shown > 50 && shown < 190));
  for (const auto& [a, b] :
       {std::pair{parts.bounds(), whole.bounds()}, std::pair{overlap(more, more), whole.bounds()}}) {
    CHECK(apart(a.first, b.first) < 1e-10);
    CHECK(apart(a.last, b.last) < 1e-10);
  }
}

TEST_CASE("a picture through a lens is OpenCV's") {
  const auto file = fixture();
  const Lens lens(camera_of(file.read<double>("small.camera")));
  const auto pixels = file.read<float>("small.picture"), expected = file.read<float>("small.flat");
  const Image<float> image(48, 64, 1, pixels);
  const LensMap map(HomographyMap(CropMap{{0, 0, 48, 64}}, 48, 64), lens, 48, 64);
  PlanarImage<float> out, reduced;
  ResampleWorkspace<float> workspace;
  warp(out, ImageView<float>(image), map, 48, 64, Interpolation::bilinear, reduced, workspace);
  double off = 0, changed = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const float own = out.plane(0)[i];
    off = std::max(off, static_cast<double>(std::abs(own - expected[i])));
    changed = std::max(changed, static_cast<double>(std::abs(own - pixels[i])));
  }
  CHECK(off < 2e-4);
  CHECK(changed > 0.3);
}

TEST_CASE("views through a camera are straight, and their points the same of the scene") {
  const Camera camera = bent_camera();
  const Lens lens(camera);
  // The corrected picture is of waves; the recorded one is it seen through the lens.
  const Image<float> recorded = recorded_by(lens, 240, 320);
  MultiCropOptions options = plain_options();
  options.camera = camera;
  for (const double rotation : {0.0, 25.0}) {
    options.rotation = rotation;
    const Warped<MultiCrop<>> views(options);
    constexpr Index count = 16;
    const SampleMaker<Warped<MultiCrop<>>, RandomPoints<count>> maker(views, RandomPoints<count>(), 1, true);
    const AnyImage image = recorded;
    ViewWorkspace workspace;
    double off = 0, together = 0;
    std::size_t valid = 0, all = 0, pixels = 0;
    for (std::uint64_t number = 0; number < 4; ++number) {
      const RandomKey key{.seed = 4, .sample = number};
      SampleViews sample;
      maker.make(sample, image, key, workspace);
      std::vector<WarpedPlan> plans;
      views.plan(plans, 240, 320, key);
      for (Index v = 0; v < views.views(); ++v) {
        const LensMap& map = plans[static_cast<std::size_t>(v)].map;
        for (Index y = 0; y < 48; ++y) {
          for (Index x = 0; x < 64; ++x) {
            const Point p = middle_of(y, x);
            // Of the corrected picture, by the box alone: no lens is asked.
            const ScenePoint flat = map.first().to_scene(p), bent = map.to_scene(p);
            if (bent.x < 3 || bent.y < 3 || bent.x > 317 || bent.y > 237) continue;
            const float own = sample.images[static_cast<std::size_t>((v * 48 + y) * 64 + x)];
            off = std::max(off, std::abs(static_cast<double>(own) - wave(flat.x, flat.y)));
            ++pixels;
          }
        }
      }
      for (Index q = 0; q < 2; ++q) {
        for (Index v = 0; v < views.views(); ++v) {
          for (Index k = 0; k < count; ++k) {
            const auto row = static_cast<std::size_t>((q * views.views() + v) * count + k);
            ++all;
            if (sample.valid[row] == 0) continue;
            ++valid;
            const Point& there = sample.teacher_points[row];
            const Point& here = sample.student_points[static_cast<std::size_t>((v * 2 + q) * count + k)];
            // In the corrected picture: the points that reference tokens stand for are corrected.
            together =
                std::max(together, apart(plans[static_cast<std::size_t>(q)].map.first().to_scene(there),
                                         plans[static_cast<std::size_t>(v)].map.first().to_scene(here)));
          }
        }
      }
    }
    CHECK(pixels > 20000);
    CHECK(off < 0.02);
    CHECK(together < 1e-6);
    CHECK(valid > all * 9 / 10);
  }
  const Warped<MultiCrop<>> views(options);
  std::vector<WarpedPlan> plans;
  CHECK(test::thrown_by<ShapeError>([&] { views.plan(plans, 320, 240, {}); }) ==
        "views through a camera of 240 x 320 pixels of an image of 320 x 240");
  options.rotation = 0;
  CHECK(test::contains(test::thrown_by<OptionError>([&] { const MultiCrop<> boxes(options); }),
                       "expected none where views are boxes of the image"));
  options.camera.fx = 0;
  CHECK(test::thrown_by<OptionError>([&] { validate(options, "views."); }) ==
        "option 'views.camera.fx' is 0; expected a focal length of 0.001 or more in pixels");
}

TEST_CASE(
    "views of two cameras: one of each, read out of its own picture, with the same points of the plane") {
  const Lens lens(bent_camera());
  const Camera second{.height = 200,
                      .width = 260,
                      .fx = 190,
                      .fy = 195,
                      .cx = 125,
                      .cy = 103,
                      .k1 = 0.12,
                      .k2 = -0.03,
                      .k4 = 0.02};
  const Lens second_lens(second);
  MultiCropOptions options = plain_options();
  options.camera = bent_camera();
  // Turned, a little nearer, and at an angle; as OpenCV has it.
  const Homography between = Homography({1, 0, 0, 0, 1, 0, 2e-4, -1e-4, 1}) * Homography::shift(128, 98) *
                             Homography::rotation(8) * Homography::scale(0.75, 0.8) *
                             Homography::shift(-160, -118);
  options.pair = {.first_height = 240,
                  .first_width = 320,
                  .second_height = 200,
                  .second_width = 260,
                  .between = between.matrix(),
                  .second = second};
  // From the second's corrected picture to the first's, where pixels begin at their corner.
  const Homography to_first =
      (Homography::shift(0.5, 0.5) * between * Homography::shift(-0.5, -0.5)).inverse();
  const AnyImage pair =
      stacked(recorded_by(lens, 240, 320), recorded_by(second_lens, 200, 260, to_first), "pair");
  REQUIRE(height(pair) == 440);
  REQUIRE(width(pair) == 320);
  for (const double rotation : {0.0, 25.0}) {
    options.rotation = rotation;
    options.vertical_flip = options.quarter_turns = rotation == 0 ? 0 : 0.5;
    const Paired<MultiCrop<>> views(options);
    constexpr Index count = 16;
    const SampleMaker<Paired<MultiCrop<>>, RandomPoints<count>> maker(views, RandomPoints<count>(), 1, true);
    REQUIRE(maker.shape(1).checked_points);
    ViewWorkspace workspace;
    double off = 0, together = 0;
    std::size_t valid = 0, all = 0, pixels = 0;
    int hidden = 0;
    RandomStream random({.seed = 9});
    for (std::uint64_t number = 0; number < 6; ++number) {
      const RandomKey key{.seed = 4, .sample = number};
      SampleViews sample;
      maker.make(sample, pair, key, workspace);
      std::vector<PairedPlan> plans;
      views.plan(plans, 440, 320, key);
      REQUIRE(plans.size() == 4);
      /// Where view v has a point, in the first's corrected picture, by the view's own picture alone.
      const auto in_plane = [&](Index v, const Point& p) {
        const LensMap& own = plans[static_cast<std::size_t>(v)].map.picture();
        CHECK(own.then() == (v % 2 == 0 ? lens : second_lens));
        const ScenePoint flat = own.first().to_scene(p);
        return v % 2 == 0 ? flat : to_first(flat.x, flat.y);
      };
      for (Index v = 0; v < 4; ++v) {
        const PairMap& map = plans[static_cast<std::size_t>(v)].map;
        CHECK(map.second() == (v % 2 == 1));
        const double rows = v % 2 == 0 ? 240 : 200, columns = v % 2 == 0 ? 320 : 260;
        // Anywhere in the view: what either picture lacks is not shown.
        for (int k = 0; k < 200; ++k) {
          const Point p{random.uniform(-1, 1), random.uniform(-1, 1)};
          const ScenePoint own = map.picture().to_scene(p), at = map.to_scene(p);
          const bool in_own = own.x >= 0 && own.y >= 0 && own.x <= columns && own.y <= rows;
          const bool in_first = at.x >= 0 && at.y >= 0 && at.x <= 320 && at.y <= 240;
          REQUIRE(map.shows(at) == (in_own && in_first));
          hidden += in_first && !in_own ? 1 : 0;
        }
        for (Index y = 0; y < 48; y += 3) {
          for (Index x = 0; x < 64; x += 3) {
            const Point p = middle_of(y, x);
            const ScenePoint own = map.picture().to_scene(p);
            if (own.x < 3 || own.y < 3 || own.x > columns - 3 || own.y > rows - 3) continue;
            const ScenePoint at = in_plane(v, p);
            off = std::max(
                off,
                std::abs(static_cast<double>(sample.images[static_cast<std::size_t>((v * 48 + y) * 64 + x)]) -
                         wave(at.x, at.y)));
            ++pixels;
          }
        }
      }
      for (Index q = 0; q < 2; ++q) {
        for (Index v = 0; v < 4; ++v) {
          for (Index k = 0; k < count; ++k) {
            const auto row = static_cast<std::size_t>((q * 4 + v) * count + k);
            ++all;
            if (sample.valid[row] == 0) continue;
            ++valid;
            const Point& there = sample.teacher_points[row];
            const Point& here = sample.student_points[static_cast<std::size_t>((v * 2 + q) * count + k)];
            together = std::max(together, apart(in_plane(q, there), in_plane(v, here)));
            for (const auto& [view, p] : {std::pair{q, there}, std::pair{v, here}}) {
              const ScenePoint own = plans[static_cast<std::size_t>(view)].map.picture().to_scene(p);
              CHECK((own.x > -1e-6 && own.y > -1e-6 && own.x < (view % 2 == 0 ? 320 : 260) + 1e-6 &&
                     own.y < (view % 2 == 0 ? 240 : 200) + 1e-6));
            }
          }
        }
      }
    }
    CHECK(pixels > 5000);
    CHECK(off < 0.03);
    CHECK(together < 1e-6);
    CHECK(valid > all * 8 / 10);
    CHECK(hidden > (rotation == 0 ? -1 : 5));
  }
}

TEST_CASE(
    "views of two cameras without a lens are boxes of their pictures, and of one camera those of Warped") {
  const auto noise = [](Index height, Index width, std::uint64_t seed) {
    Image<std::uint8_t> out(height, width, 1);
    RandomStream random({.seed = seed});
    for (std::uint8_t& p : out.pixels()) p = static_cast<std::uint8_t>(random.below(256));
    return out;
  };
  MultiCropOptions options = plain_options();
  options.pair = {.first_height = 90, .first_width = 120, .second_height = 80, .second_width = 140};
  const Image<std::uint8_t> first = noise(90, 120, 1), second = noise(80, 140, 2);
  const AnyImage pair = stacked(first, second, "pair");
  options.vertical_flip = options.quarter_turns = 0.5;
  const Paired<MultiCrop<>> views(options);
  std::vector<PairedPlan> plans;
  ViewWorkspace workspace;
  PlanarImage<std::uint8_t> box, expected_view;
  ResampleWorkspace<std::uint8_t> resampling;
  for (std::uint64_t number = 0; number < 8; ++number) {
    views.plan(plans, 170, 140, {.seed = 1, .sample = number});
    for (const PairedPlan& plan : plans) {
      const Image<std::uint8_t>& own = plan.map.second() ? second : first;
      REQUIRE(inside(plan.view.map.box, own.height(), own.width()));
      const bool lies = plan.quarter_turn.lying();
      resample(box, ImageView<std::uint8_t>(own), plan.view.map.box, lies ? 64 : 48, lies ? 48 : 64,
               Interpolation::bicubic, plan.view.map.flip, resampling);
      turn(expected_view, box, plan.quarter_turn);
      const ScenePoint upright = plan.quarter_turn.plane()(-1, 0.3);
      CHECK(apart(plan.map.picture().to_scene({-1, 0.3}), plan.view.map.to_scene({upright.x, upright.y})) < 1e-9);
      const auto& drawn = std::visit(
          [&](const auto& typed) -> const PlanarImage<std::uint8_t>& {
            if constexpr (std::is_same_v<std::decay_t<decltype(typed)>, Image<std::uint8_t>>)
              return views.draw(typed, plan, workspace);
            throw Error("another type");
          },
          pair);
      CHECK(std::equal(expected_view.plane(0), expected_view.plane(0) + 48 * 64, drawn.plane(0)));
    }
    // The pictures lie one over the other: what the second's box has of the first's is the same pixels.
    CHECK(plans[1].view.map.box.y + plans[1].view.map.box.height <= 80);
  }
  options.pair = {};  // and turned by quarters
  options.rotation = 20;
  const Paired<MultiCrop<>> alone(options);
  const Warped<MultiCrop<>> warped(options);
  std::vector<WarpedPlan> expected;
  alone.plan(plans, 90, 120, {.seed = 5});
  warped.plan(expected, 90, 120, {.seed = 5});
  REQUIRE(plans.size() == expected.size());
  std::vector<float> a(48 * 64), b(48 * 64);
  for (std::size_t v = 0; v < plans.size(); ++v) {
    CHECK(plans[v].map == PairMap(expected[v].map));
    alone.render(first, plans[v], a, workspace);
    warped.render(first, expected[v], b, workspace);
    CHECK((a == b));
  }
}

TEST_CASE("views of two cameras: what does not go together is refused in words") {
  MultiCropOptions options = plain_options();
  options.pair = {.first_height = 90, .first_width = 120, .second_height = 80, .second_width = 140};
  std::vector<PairedPlan> plans;
  CHECK(test::thrown_by<ShapeError>([&] { Paired<MultiCrop<>>(options).plan(plans, 90, 120, {}); }) ==
        "views of a pair of 90 x 120 and 80 x 140 pixels, of an image of 90 x 120");
  CHECK(test::contains(test::thrown_by<OptionError>([&] { const Warped<MultiCrop<>> views(options); }),
                       "expected none where images are no pairs"));
  CHECK(test::contains(test::thrown_by<OptionError>([&] { const MultiCrop<> views(options); }),
                       "expected none where images are no pairs"));
  options.camera = bent_camera();
  CHECK(test::thrown_by<OptionError>([&] { const Paired<MultiCrop<>> views(options); }) ==
        "option 'camera' is of 240 x 320 pixels; expected one of the first pictures' 90 x 120");
  options.camera = {};
  options.pair.second = bent_camera();
  CHECK(test::thrown_by<OptionError>([&] { const Paired<MultiCrop<>> views(options); }) ==
        "option 'pair.second.height' is 240; expected its pictures' 80");
  options.pair.second = {.height = 80, .width = 140, .fx = 40, .fy = 40, .cx = 69.5, .cy = 39.5, .k1 = -3};
  CHECK(test::contains(test::thrown_by<OptionError>([&] { const Paired<MultiCrop<>> views(options); }),
                       "option 'pair.second' is of a lens whose distortion folds back at column "));
  options.pair.second = {};
  options.pair.between = {1, 0, 0, 0, 1, 0, -0.01, 0, 1};
  CHECK(test::thrown_by<OptionError>([&] { const Paired<MultiCrop<>> views(options); }) ==
        "option 'pair.between' is with its horizon near the pictures; expected a map of one camera's "
        "pictures to the other's");
  options.pair.between = {1, 0, 5000, 0, 1, 0, 0, 0, 1};
  CHECK(test::thrown_by<OptionError>([&] { const Paired<MultiCrop<>> views(options); }) ==
        "option 'pair.between' is one that leads past the second's pictures; expected a map of one camera's pictures to the other's");
  options.pair.between = {};
  CHECK(test::contains(test::thrown_by<OptionError>([&] { const Paired<MultiCrop<>> views(options); }),
                       "expected a matrix with an inverse"));
  CHECK(text_of(CameraPair{.first_height = 1, .first_width = 2, .second_height = 3, .second_width = 4}) ==
        "1 2 3 4 1 0 0 0 1 0 0 0 1");
}
