// Time of one image's views, whole and in parts, on one core.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include <dssl/views/multi_crop.hpp>

namespace {

using namespace dssl;

/// Shading, edges and noise: no operation meets a constant picture or one hue only.
template <PixelType T>
Image<T> scene(Index height, Index width, Index channels) {
  Image<T> image(height, width, channels);
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      for (Index c = 0; c < channels; ++c) {
        const auto shade = static_cast<double>((x * (c + 1) + 2 * y) % 256) / 256.0;
        const double edge = (x / 31 + y / 19) % 2 == 0 ? 0.2 : 0.0;
        image(y, x, c) = static_cast<T>((0.6 * shade + edge + 0.2 * random.uniform()) *
                                        static_cast<double>(full_scale<T>));
      }
    }
  }
  return image;
}

/// 2 + L views of a 480 x 360 image with the published options: every iteration another sample's plan.
template <PixelType T>
void view_set(benchmark::State& state, const MultiCropOptions& options, Index channels) {
  const MultiCrop<> views(options);
  const auto image = scene<T>(360, 480, channels);
  ViewWorkspace workspace;
  std::vector<ViewPlan> plans;
  std::vector<float> out;
  std::uint64_t sample = 0;
  for (auto _ : state) {
    views.plan(plans, image.height(), image.width(), {.seed = 1, .sample = sample++});
    for (const ViewPlan& plan : plans) {
      out.resize(static_cast<std::size_t>(channels * plan.height * plan.width));
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
  const auto image = scene<std::uint8_t>(360, 480, 3);
  ResampleWorkspace<std::uint8_t> workspace;
  PlanarImage<std::uint8_t> planes;
  for (auto _ : state) {
    resample(planes, image, {20, 30, 300, 320}, 224, 224, Interpolation::bicubic, true, workspace);
    benchmark::DoNotOptimize(planes.plane(0));
  }
}

/// One operation on a 224 x 224 picture. It works in place, so pictures drift; the cost does not depend on
/// the values.
template <class Operation>
void in_place(benchmark::State& state, const Operation& operation) {
  PlanarImage<std::uint8_t> planes;
  to_planes(planes, scene<std::uint8_t>(224, 224, 3));
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

}  // namespace

BENCHMARK(densedino_8bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_16bit)->Unit(benchmark::kMillisecond);
BENCHMARK(densedino_float_5_channels)->Unit(benchmark::kMillisecond);
BENCHMARK(dino_8bit)->Unit(benchmark::kMillisecond);
BENCHMARK(plan_only)->Unit(benchmark::kMicrosecond);
BENCHMARK(bicubic_crop)->Unit(benchmark::kMicrosecond);
BENCHMARK(brightness)->Unit(benchmark::kMicrosecond);
BENCHMARK(contrast)->Unit(benchmark::kMicrosecond);
BENCHMARK(saturation)->Unit(benchmark::kMicrosecond);
BENCHMARK(hue)->Unit(benchmark::kMicrosecond);
BENCHMARK(blur)->Arg(5)->Arg(20)->Unit(benchmark::kMicrosecond);
BENCHMARK(normalised)->Unit(benchmark::kMicrosecond);
