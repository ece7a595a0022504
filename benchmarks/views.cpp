// Time of one image's views, whole and in parts, on one core.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <dssl/core/camera.hpp>
#include <dssl/views/homography.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/photometric_parts.hpp>
#include <dssl/views/photometric_plan.hpp>
#include <dssl/views/view_presets.hpp>
#include <dssl/views/warp.hpp>
#include <dssl/views/warped_views.hpp>

#include "view_scene.hpp"

namespace {

using namespace dssl;
using benchmarks::view_scene;

/// 2 + L views of a 480 x 360 image with the published options: every iteration another sample's plan.
template <PixelType T, class Views = MultiCrop<>>
void view_set(benchmark::State& state, const MultiCropOptions& options, Index channels) {
  const Views views(options);
  const auto image = view_scene<T>(360, 480, channels);
  ViewWorkspace workspace;
  std::vector<typename Views::Plan> plans;
  std::vector<float> out;
  std::uint64_t sample = 0;
  for (auto _ : state) {
    views.plan(plans, image.height(), image.width(), {.seed = 1, .sample = sample++});
    for (std::size_t v = 0; v < plans.size(); ++v) {
      const auto& plan = plans[v];
      const ViewSize size = views.size(static_cast<Index>(v));
      out.resize(static_cast<std::size_t>(channels * size.height * size.width));
      views.render(image, plan, out, workspace);
      benchmark::DoNotOptimize(out.data());
    }
  }
  state.counters["images/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void densedino_8bit(benchmark::State& state) { view_set<std::uint8_t>(state, {}, 3); }
void densedino_16bit(benchmark::State& state) { view_set<std::uint16_t>(state, {}, 3); }
void densedino_float_5_channels(benchmark::State& state) { view_set<float>(state, {}, 5); }
void dino_8bit(benchmark::State& state) { view_set<std::uint8_t>(state, dino_multi_crop_options(), 3); }

/// Boxes turned by up to 30 degrees and seen at an angle.
MultiCropOptions turned() {
  MultiCropOptions options;
  options.rotation = 30;
  options.perspective = 0.2;
  return options;
}
/// Of a wide lens of 480 x 360 pixels.
Camera camera() {
  return {.height = 360, .width = 480, .fx = 420, .fy = 420, .cx = 239.5, .cy = 179.5, .k1 = -0.2, .k2 = 0.05};
}
void densedino_homography_8bit(benchmark::State& state) {
  view_set<std::uint8_t, Warped<MultiCrop<>>>(state, turned(), 3);
}
void densedino_homography_16bit(benchmark::State& state) {
  view_set<std::uint16_t, Warped<MultiCrop<>>>(state, turned(), 3);
}
void densedino_lens_8bit(benchmark::State& state) {
  MultiCropOptions options = turned();
  options.camera = camera();
  view_set<std::uint8_t, Warped<MultiCrop<>>>(state, options, 3);
}
void densedino_old_camera_8bit(benchmark::State& state) {
  view_set<std::uint8_t>(state, with_preset({}, "old_camera"), 3);
}

void plan_only(benchmark::State& state) {
  const MultiCrop<> views;
  std::vector<ViewPlan> plans;
  std::uint64_t sample = 0;
  for (auto _ : state) {
    views.plan(plans, 360, 480, {.seed = 1, .sample = sample++});
    benchmark::DoNotOptimize(plans.data());
  }
}

void bicubic_crop(benchmark::State& state) {
  const auto image = view_scene<std::uint8_t>(360, 480, 3);
  ResampleWorkspace<std::uint8_t> workspace;
  PlanarImage<std::uint8_t> planes;
  for (auto _ : state) {
    resample(planes, image, {20, 30, 300, 320}, 224, 224, Interpolation::bicubic, true, workspace);
    benchmark::DoNotOptimize(planes.plane(0));
  }
}

/// The same box, turned by 20 degrees and seen at an angle, through a lens or none.
template <ViewMap M>
void bicubic_warp(benchmark::State& state, const M& map) {
  const auto image = view_scene<std::uint8_t>(360, 480, 3);
  ResampleWorkspace<std::uint8_t> workspace;
  PlanarImage<std::uint8_t> planes, reduced;
  for (auto _ : state) {
    warp(planes, ImageView<std::uint8_t>(image), map, 224, 224, Interpolation::bicubic, reduced, workspace);
    benchmark::DoNotOptimize(planes.plane(0));
  }
}
HomographyMap turned_box() {
  return {Homography::shift(190, 170) * Homography::rotation(20) * Homography::scale(160, 150) *
              Homography::to_corners({{{-0.9, -1}, {0.85, -0.9}, {1, 0.95}, {-1, 0.9}}}),
          360, 480};
}
void bicubic_homography(benchmark::State& state) { bicubic_warp(state, turned_box()); }
void bicubic_lens(benchmark::State& state) { bicubic_warp(state, LensMap(turned_box(), Lens(camera()), 360, 480)); }

/// One operation on a 224 x 224 picture. It works in place, so pictures drift; the cost does not depend on
/// the values.
template <class Operation>
void in_place(benchmark::State& state, const Operation& operation) {
  PlanarImage<std::uint8_t> planes;
  to_planes(planes, view_scene<std::uint8_t>(224, 224, 3));
  const PlanarImage<std::uint8_t> original = planes;
  for (auto _ : state) {
    // A copy of 150 kB, about 3 microseconds, keeps the picture a picture.
    std::copy_n(original.plane(0), 3 * original.plane_size(), planes.plane(0));
    operation(planes);
    benchmark::DoNotOptimize(planes.plane(0));
  }
}

using Bytes = PlanarImage<std::uint8_t>;

void brightness(benchmark::State& state) {
  in_place(state, [](Bytes& p) { adjust_brightness(p, 1.3); });
}
void contrast(benchmark::State& state) {
  in_place(state, [](Bytes& p) { adjust_contrast(p, 1.3); });
}
void saturation(benchmark::State& state) {
  in_place(state, [](Bytes& p) { adjust_saturation(p, 1.1); });
}
void hue(benchmark::State& state) {
  in_place(state, [](Bytes& p) { adjust_hue(p, 0.07); });
}
void blur(benchmark::State& state) {
  BlurWorkspace<std::uint8_t> workspace;
  const double radius = 0.1 * static_cast<double>(state.range(0));
  in_place(state, [&](Bytes& p) { gaussian_blur(p, radius, workspace); });
}
void normalised(benchmark::State& state) {
  std::vector<float> out(static_cast<std::size_t>(3 * 224 * 224));
  const std::vector<float> mean{0.485F, 0.456F, 0.406F};
  const std::vector<float> deviation{0.229F, 0.224F, 0.225F};
  in_place(state, [&](Bytes& p) {
    normalise(out, p, mean, deviation);
    benchmark::DoNotOptimize(out.data());
  });
}

/// What a camera does, each part by the strength that it has in the presets, on floats.
const bool parts_are_registered = [] {
  for (std::size_t i = 0; i < photometric_names.size(); ++i) {
    const auto kind = static_cast<PhotometricKind>(i);
    double amount = 0;
    for (const ViewPreset& preset : view_presets) {
      for (const PhotometricPart& part : photometric_parts_of(preset.parts))
        if (part.kind == kind) amount = std::max(amount, part.strength);
    }
    benchmark::RegisterBenchmark(("camera/" + std::string(name_of(kind).name)).c_str(), [=](benchmark::State& state) {
      PlanarImage<float> original;
      to_planes(original, view_scene<float>(224, 224, 3));
      PlanarImage<float> planes = original;
      PhotometricWorkspace workspace;
      for (auto _ : state) {
        std::copy_n(original.plane(0), 3 * original.plane_size(), planes.plane(0));  // about 15 microseconds
        apply(planes, {.kind = kind, .amount = amount, .direction = 0.5, .seed = 1}, workspace);
        benchmark::DoNotOptimize(planes.plane(0));
      }
    })->Unit(benchmark::kMicrosecond);
  }
  return true;
}();

}  // namespace

BENCHMARK(densedino_8bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_16bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_float_5_channels)->Unit(benchmark::kMillisecond);
BENCHMARK(dino_8bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_homography_8bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_homography_16bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_lens_8bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_old_camera_8bit)->Unit(benchmark::kMillisecond);
BENCHMARK(plan_only)->Unit(benchmark::kMicrosecond);
BENCHMARK(bicubic_crop)->Unit(benchmark::kMicrosecond);
BENCHMARK(bicubic_homography)->Unit(benchmark::kMicrosecond);
BENCHMARK(bicubic_lens)->Unit(benchmark::kMicrosecond);
BENCHMARK(brightness)->Unit(benchmark::kMicrosecond);
BENCHMARK(contrast)->Unit(benchmark::kMicrosecond);
BENCHMARK(saturation)->Unit(benchmark::kMicrosecond);
BENCHMARK(hue)->Unit(benchmark::kMicrosecond);
BENCHMARK(blur)->Arg(5)->Arg(20)->Unit(benchmark::kMicrosecond);
BENCHMARK(normalised)->Unit(benchmark::kMicrosecond);
