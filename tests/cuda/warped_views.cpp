// Views through maps that Cuda renders: those of the CPU, for homographies, lenses, quarter turns and pairs, every kind of
// image and filter, and far beyond the border.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/core/camera.hpp>
#include <dssl/views/homography.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/paired_views.hpp>
#include <dssl/views/resample.hpp>
#include <dssl/views/view_pack.hpp>
#include <dssl/views/warp.hpp>
#include <dssl/views/warped_views.hpp>

#include "cuda/rig.hpp"
#include "cuda/view_scenes.hpp"
#include "views/pictures.hpp"

using namespace dssl;
using namespace dssl::test;

static_assert(PacksViews<Warped<MultiCrop<>>> && PacksViews<Paired<MultiCrop<>>> && PacksViews<MultiCrop<>>);

namespace {

/// Views that are given as readings, and made on the host by `warp` where they have a map.
template <Interpolation Kind>
struct Through {
  using Plan = ViewReading;
  static constexpr Interpolation interpolation = Kind;

  void normalisation(std::vector<float>& mean, std::vector<float>& deviation, Index channels) const {
    mean.assign(static_cast<std::size_t>(channels), 0.4F);
    deviation.assign(static_cast<std::size_t>(channels), 0.3F);
  }
  [[nodiscard]] ViewReading reading(const ViewReading& plan) const { return plan; }
  void render(const AnyImageView& image, const ViewReading& plan, std::span<float> out, ViewWorkspace& workspace) const {
    std::visit(
        [&]<class T>(const ImageView<T>& typed) {
          auto& part = workspace.template part<work_type<T>>();
          if (plan.map) {
            warp(part.planes, typed, *plan.map, plan.view.height, plan.view.width, Kind, part.reduced, part.resample);
          } else {
            resample(part.planes, typed, plan.view.map.box, plan.view.height, plan.view.width, Kind, plan.view.map.flip, part.resample);
          }
          normalisation(workspace.mean, workspace.deviation, typed.channels());
          normalise(out, change_values<work_type<T>>(workspace, plan.view), workspace.mean, workspace.deviation);
        },
        image);
  }
};

bool is_bytes(const AnyImage& image) { return std::holds_alternative<Image<std::uint8_t>>(image); }

std::vector<AnyImage> pictures(Index height, Index width) {
  std::vector<AnyImage> out;
  for (const Index c : {1, 3, 5}) {
    out.push_back(drawn_picture<std::uint8_t>(height, width, c, 3));
    out.push_back(drawn_picture<std::uint16_t>(height, width, c, 4));
    out.push_back(drawn_picture<float>(height, width, c, 5));
  }
  return out;
}

/// Checks that views are those of the CPU: in 8 bits a level apart at most, and that in less than a thousandth of the values,
/// as compilers may contract the sums of either; else within 1e-5 of full scale. After changes of colour a level may be `levels`.
template <class Views>
void check(const Views& views, const ScenesOf<Views>& scenes, int levels = 1) {
  OnDevice<> device;
  for (const auto& scene : scenes) {
    INFO(channels(scene.image) << " channels, type " << scene.image.index());
    const auto found = distance(views, {scene}, device(views, {scene}), on_host(views, {scene}));
    CAPTURE(found.mean, found.share);
    CHECK(found.largest < (is_bytes(scene.image) ? levels / 255.0 + 1e-6 : 1e-5));
    if (is_bytes(scene.image)) CHECK(found.share < 1e-3);
  }
}

Camera camera_of(Index height, Index width, double k1) {
  const auto w = static_cast<double>(width), h = static_cast<double>(height);
  return {.height = height, .width = width, .fx = 0.8 * w, .fy = 0.85 * w, .cx = 0.5 * w - 3, .cy = 0.5 * h + 2,
          .k1 = k1, .k2 = 0.06, .p1 = 0.004, .p2 = -0.003, .k3 = 0.01, .k4 = 0.02, .k5 = 0.03, .k6 = -0.01};
}

/// Wholly within, far smaller and larger, squeezed along one axis, at an angle, beyond the border and far away; each with and
/// without a lens, which is left beyond the radius that its model is followed to.
std::vector<ViewReading> maps(Index height, Index width) {
  const auto w = static_cast<double>(width), h = static_cast<double>(height);
  const auto at = [](double x, double y, double degrees, double across, double down) {
    return Homography::shift(x, y) * Homography::rotation(degrees) * Homography::scale(across, down);
  };
  const std::vector<Homography> planes{at(0.5 * w, 0.5 * h, 30, 0.2 * w, 0.2 * h),
                                       at(0.5 * w, 0.5 * h, -70, 2.2 * w, 1.7 * h),
                                       at(0.4 * w, 0.6 * h, 10, 1.5 * w, 2),
                                       at(0.5 * w, 0.4 * h, 45, 0.4 * w, 0.4 * h) *
                                           Homography::to_corners({{{-0.5, -0.9}, {0.8, -0.4}, {1, 1}, {-0.9, 0.6}}}),
                                       at(-40.0 * w, 90.0 * h, 5, 0.3 * w, 0.3 * h)};
  std::vector<ViewReading> out;
  for (const double k1 : {0.0, -0.3}) {
    const Lens lens = k1 == 0 ? Lens() : Lens(camera_of(height, width, k1));
    for (const Homography& plane : planes)
      out.push_back({.view = {{}, 23, 30, {}}, .map = LensMap(HomographyMap(plane, height, width), lens, height, width)});
  }
  return out;
}

/// Views that are boxes, without their colours unless `coloured`.
MultiCropOptions boxes(bool coloured = false) {
  MultiCropOptions options;
  options.global_size = {24, 33};
  options.local_size = {17, 12};
  options.locals = 3;
  options.global_area = {0.7, 1.0};
  if (coloured) return options;
  options.jitter = options.grey = options.blur_first_global = options.blur_second_global = options.blur_local = 0;
  options.solarise_second_global = 0;
  return options;
}

/// The views of so many keys of every kind of picture.
template <class Views>
ScenesOf<Views> scenes_of(const Views& views, Index height, Index width) {
  ScenesOf<Views> out;
  for (const AnyImage& image : pictures(height, width)) {
    auto& scene = out.emplace_back(SceneOf<typename Views::Plan>{image, {}});
    for (std::uint64_t key = 0; key < 3; ++key) {
      std::vector<typename Views::Plan> plans;
      views.plan(plans, height, width, {.seed = key, .sample = out.size()});
      scene.plans.insert(scene.plans.end(), plans.begin(), plans.end());
    }
  }
  return out;
}

}  // namespace

TEST_CASE("views on Cuda are read through maps as on the CPU, also beyond the border", "[cuda]") {
  if (!device_is_there()) return;
  const auto all = [](const auto& views) {
    ScenesOf<std::decay_t<decltype(views)>> scenes;
    for (const AnyImage& image : pictures(61, 83)) scenes.push_back({image, maps(61, 83)});
    check(views, scenes);
  };
  SECTION("bicubic") { all(Through<Interpolation::bicubic>()); }
  SECTION("bilinear") { all(Through<Interpolation::bilinear>()); }
  SECTION("nearest") { all(Through<Interpolation::nearest>()); }  // no place lies where two pixels meet
}

TEST_CASE("boxes on Cuda between views through maps are those of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const Through<Interpolation::bicubic> views;
  ScenesOf<Through<Interpolation::bicubic>> scenes;
  for (const AnyImage& image : pictures(61, 83)) {
    std::vector<ViewReading> mixed;
    for (const ViewReading& through : maps(61, 83)) {
      const auto n = static_cast<Index>(mixed.size());
      mixed.push_back({.view = {{{n, 2 * n, 61 - 2 * n, 40}, n % 4 == 0}, 19 + n, 33, {}}});
      mixed.push_back(through);
    }
    scenes.push_back({image, std::move(mixed)});
  }
  check(views, scenes);
}

TEST_CASE("turned views on Cuda are those of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  MultiCropOptions options = boxes();
  SECTION("turned and at an angle") {
    options.rotation = 40;
    options.perspective = 0.3;
  }
  SECTION("turned by quarters alone, to the bit") {
    options.vertical_flip = 0.5;
    options.quarter_turns = 0.75;
    const Warped<MultiCrop<>> views(options);
    check(views, scenes_of(views, 57, 71), 0);
  }
  SECTION("turned by quarters and otherwise") {
    options.vertical_flip = 0.5;
    options.quarter_turns = 0.75;
    options.rotation = 20;
  }
  SECTION("corrected for a lens") { options.camera = camera_of(57, 71, -0.25); }
  SECTION("corrected, turned and at an angle") {
    options.camera = camera_of(57, 71, -0.25);
    options.rotation = 40;
    options.perspective = 0.3;
  }
  const Warped<MultiCrop<>> views(options);
  check(views, scenes_of(views, 57, 71));
}

TEST_CASE("turned views on Cuda change their colours as on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  MultiCropOptions options = boxes(true);
  options.rotation = 40;
  options.perspective = 0.3;
  options.camera = camera_of(57, 71, -0.25);
  const Warped<MultiCrop<>> views(options);
  // What is a level off may be more after its colours changed.
  check(views, scenes_of(views, 57, 71), 2);
}

TEST_CASE("views of two cameras on Cuda are those of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  MultiCropOptions options = boxes();
  options.pair = {.first_height = 57, .first_width = 71, .second_height = 49, .second_width = 66,
                  .between = {0.95, 0.05, 2, -0.03, 0.9, 1, 1e-5, 2e-5, 1}, .second = camera_of(49, 66, -0.2)};
  SECTION("as they stand") {}
  SECTION("turned") { options.rotation = 30; }
  const Paired<MultiCrop<>> views(options);
  check(views, scenes_of(views, 57 + 49, 71));
}

TEST_CASE("views through maps on Cuda have equal bits in every order of threads and in any company", "[cuda]") {
  if (!device_is_there()) return;
  MultiCropOptions options = boxes(true);
  options.rotation = 40;
  const Warped<MultiCrop<>> views(options);
  const auto scenes = scenes_of(views, 57, 71);
  const Rendered whole = OnDevice<>()(views, scenes);
  for (int way = 1; way < ways_of_running(); ++way) {
    run_in_way(way);
    CHECK(OnDevice<>()(views, scenes) == whole);
  }
  run_in_way(0);
  OnDevice<> one_by_one(1);
  CHECK(one_by_one(views, scenes) == whole);
  CHECK(one_by_one.runs(0) == whole.size());
}
