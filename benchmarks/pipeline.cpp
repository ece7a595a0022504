// From files to batches: decoding, the loader with the published views, and starting an epoch over a long
// list.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/io/jpeg.hpp>
#include <dssl/io/png.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/multi_crop.hpp>

namespace {

using namespace dssl;

/// Generated scenes of 480 x 360 pixels, as photographs of a common data set are.
std::vector<Image<std::uint8_t>> scenes(Index count) {
  const SyntheticScenes generated({.seed = 3, .count = count, .height = 360, .width = 480});
  std::vector<Image<std::uint8_t>> out;
  for (Index i = 0; i < count; ++i) {
    out.push_back(std::get<Image<std::uint8_t>>(AnyImage(generated.load(i).image)));
  }
  return out;
}

void set_rates(benchmark::State& state, double images, double pixels) {
  state.counters["images/s"] = benchmark::Counter(images, benchmark::Counter::kIsRate);
  state.counters["pixels/s"] = benchmark::Counter(pixels, benchmark::Counter::kIsRate);
}

void decode_jpeg_480x360(benchmark::State& state) {
  const auto bytes = encode_jpeg(scenes(1)[0]);
  for (auto _ : state) benchmark::DoNotOptimize(decode_jpeg(bytes, "scene"));
  const auto images = static_cast<double>(state.iterations());
  set_rates(state, images, images * 480 * 360);
}

void decode_png_480x360(benchmark::State& state) {
  const auto bytes = encode_png(scenes(1)[0]);
  for (auto _ : state) benchmark::DoNotOptimize(decode_png(bytes, "scene"));
  const auto images = static_cast<double>(state.iterations());
  set_rates(state, images, images * 480 * 360);
}

/// Decoding, views and points as a trainer's loader makes them; the consumer takes as fast as it can.
/// range(0): the loader's workers, beside the consumer, which produces too when nothing is ready.
void load_densedino_views(benchmark::State& state) {
  std::vector<std::vector<std::byte>> files;
  for (const auto& scene : scenes(16)) files.push_back(encode_jpeg(scene));
  const MultiCrop<> views;
  const RandomPoints<2> points;
  const SampleMaker<MultiCrop<>, RandomPoints<2>> maker(views, points, 3, true);
  constexpr Index images = 64;
  double waited = 0;
  for (auto _ : state) {
    OrderedLoader<SampleViews> loader(images,
                                      [&](Index i) -> std::optional<SampleViews> {
                                        thread_local ViewWorkspace workspace;
                                        SampleViews out;
                                        const auto& file = files[static_cast<std::size_t>(i) % files.size()];
                                        maker.make(out, decode_jpeg(file, "scene"),
                                                   {.seed = 1, .sample = static_cast<std::uint64_t>(i)},
                                                   workspace);
                                        return out;
                                      },
                                      {.prefetch = 8, .threads = static_cast<int>(state.range(0))});
    while (const auto sample = loader.next()) benchmark::DoNotOptimize(sample->images.data());
    waited += loader.wait_seconds();
  }
  const double count = static_cast<double>(state.iterations() * images);
  set_rates(state, count, count * 480 * 360);
  state.counters["wait_s"] = benchmark::Counter(waited, benchmark::Counter::kAvgIterations);
}

/// Opening a list of a million files and drawing the first epoch's order: until the first image can be
/// loaded.
void open_list_of_a_million(benchmark::State& state) {
  const std::string path =
      (std::filesystem::temp_directory_path() / join("dssl_list_", getpid(), ".txt")).string();
  {
    std::ofstream list(path);
    for (int i = 0; i < 1'000'000; ++i) list << "train/n0144" << i % 1000 << "/image_" << i << ".JPEG\n";
  }
  for (auto _ : state) {
    const ImageList list(path);
    EpochOrder order(list.size(), 1);
    benchmark::DoNotOptimize(list.name(order(0, 0)));
  }
  std::remove(path.c_str());
}

}  // namespace

BENCHMARK(decode_jpeg_480x360)->Unit(benchmark::kMicrosecond);
BENCHMARK(decode_png_480x360)->Unit(benchmark::kMicrosecond);
BENCHMARK(load_densedino_views)
    ->ArgName("workers")
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(open_list_of_a_million)->UseRealTime()->Unit(benchmark::kMillisecond);
