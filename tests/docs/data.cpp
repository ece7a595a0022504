// Where images come from, without files.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/synthetic.hpp>

namespace snippets {

// [smallest source]
struct GreyImages {
  [[nodiscard]] dssl::Index size() const { return 100; }
  [[nodiscard]] std::string name(dssl::Index i) const { return "grey image " + std::to_string(i); }
  [[nodiscard]] dssl::AnyImage load(dssl::Index /*i*/) const { return dssl::Image<std::uint8_t>(64, 64, 3); }
};
static_assert(dssl::ImageSource<GreyImages>);
// [smallest source end]

// [source]
/// 16-bit frames of a camera that lie one after the other in memory that somebody else owns.
class CameraFrames {
 public:
  CameraFrames(std::span<const std::uint16_t> memory, dssl::Index height, dssl::Index width)
      : x_memory(memory), x_height(height), x_width(width) {}

  [[nodiscard]] dssl::Index size() const {
    return static_cast<dssl::Index>(x_memory.size()) / (x_height * x_width);
  }
  [[nodiscard]] std::string name(dssl::Index i) const { return "frame " + std::to_string(i); }

  /// Called by several threads at once: reads, and changes nothing.
  [[nodiscard]] dssl::AnyImage load(dssl::Index i) const {
    dssl::Image<std::uint16_t> frame(x_height, x_width, 1);
    const auto from =
        x_memory.subspan(static_cast<std::size_t>(i) * frame.pixels().size(), frame.pixels().size());
    std::copy(from.begin(), from.end(), frame.pixels().begin());
    const bool dark = std::all_of(from.begin(), from.end(), [](std::uint16_t v) { return v == 0; });
    if (dark)
      throw dssl::ImageError(name(i), "is black; the shutter was closed");  // reported, counted, skipped
    return frame;
  }

 private:
  std::span<const std::uint16_t> x_memory;
  dssl::Index x_height, x_width;
};
static_assert(dssl::ImageSource<CameraFrames>);
// [source end]

// [memory images]
dssl::MemoryImages two_images() {
  dssl::Image<std::uint8_t> colour(480, 640, 3);
  dssl::Image<float> depth(480, 640, 3);  // floats lie in [0, 1]
  colour(0, 0, 2) = 255;                  // row, column, channel
  depth.row(0)[0] = 0.5F;                 // rows are contiguous, channels of a pixel side by side
  return dssl::MemoryImages({std::move(colour), std::move(depth)}, {"colour", "depth"});
}
// [memory images end]

// [image views]
dssl::Image<float> taken_over(std::vector<float> pixels) {  // (480,640,3), moved and not copied
  return {480, 640, 3, std::move(pixels)};
}

/// 8-bit grey frames of a camera where they lie, one after the other, their rows `stride` bytes apart.
dssl::MemoryImages frames_in_place(std::span<const std::uint8_t> memory, dssl::Index height, dssl::Index width,
                                   dssl::Index stride) {
  std::vector<dssl::AnyImageView> frames;
  const auto each = static_cast<std::size_t>(height * stride);
  for (; memory.size() >= each; memory = memory.subspan(each)) {
    frames.emplace_back(dssl::ImageView<std::uint8_t>(memory.data(), height, width, 1, stride));
  }
  return dssl::MemoryImages::of_views(std::move(frames));  // the memory must stay for as long as it is used
}
// [image views end]

// [synthetic]
dssl::SyntheticScenes scenes_with_defects() {
  return dssl::SyntheticScenes({.seed = 3, .count = 2000, .height = 96, .width = 96, .defects = true});
}

std::size_t defect_pixels(const dssl::SyntheticScenes& scenes, dssl::Index i) {
  const dssl::Scene scene = scenes.scene(i);  // image, mask of classes, mask of defects
  const auto pixels = scene.defects.pixels();
  return static_cast<std::size_t>(std::count(pixels.begin(), pixels.end(), std::uint8_t{1}));
}
// [synthetic end]

// [loader]
std::size_t count_pixels(const dssl::SyntheticScenes& scenes) {
  const dssl::SkipPolicy skips{.max_bad_share = 0.05};  // more unreadable images than that: DataError
  const auto order = [&](dssl::Index n) { return scenes.size() - 1 - n; };
  const auto warn = [](std::string_view name, std::string_view problem) {
    std::fprintf(stderr, "%s: %s\n", std::string(name).c_str(), std::string(problem).c_str());
  };
  dssl::SampleLoader loader(scenes, scenes.size(), order, skips, warn, {.prefetch = 16, .threads = 2});
  std::size_t pixels = 0;
  while (const auto loaded = loader.next()) pixels += loaded->sample.mask.pixels().size();  // in order
  return pixels;  // loader.wait_seconds() says how long next() kept us waiting
}
// [loader end]

// [random]
double noise_of(std::uint64_t seed, dssl::Index image) {
  dssl::RandomStream random(
      {.seed = seed, .sample = static_cast<std::uint64_t>(image), .purpose = dssl::Purpose::user});
  return random.uniform(-1.0, 1.0);  // the same for this seed and image, on any thread, in any order
}
// [random end]

}  // namespace snippets
