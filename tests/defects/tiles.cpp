// Windows cover every pixel of images of any size, and give the features that the windows alone have.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/defects/patch_reader.hpp>
#include <dssl/features/tile_pass.hpp>
#include <dssl/features/tiles.hpp>

#include "halves.hpp"
#include "noise_images.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Noise of many sizes, each pixel of its own; a defect in the last pixel of each.
class Sizes {
 public:
  static constexpr Index extents[4][2] = {{32, 48}, {61, 130}, {7, 50}, {40, 9}};
  [[nodiscard]] Index size() const { return 4; }
  [[nodiscard]] std::string name(Index i) const { return join("noise ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    if (i == unreadable) throw ImageError(name(i), "is broken");
    LabelledImage out{.image = noise_image(extents[i][0], extents[i][1], 3, {.seed = 5, .sample = static_cast<std::uint64_t>(i)},
                                           [](RandomStream& random) { return random.below(256); }),
                      .mask = Image<std::uint8_t>(extents[i][0], extents[i][1], 1)};
    out.mask(extents[i][0] - 1, extents[i][1] - 1, 0) = 77;
    return out;
  }
  Index unreadable = -1;
};

}  // namespace

TEST_CASE("windows cover an axis of any length, overlap as far as asked, and each patch is read where it is deepest") {
  for (Index pixels = 1; pixels < 400; pixels += 3) {
    for (const Index overlap : {0, 1, 3}) {
      constexpr Index patch = 8, tile = 4;
      const TileAxis axis(pixels, patch, tile, overlap);
      CAPTURE(pixels, overlap);
      REQUIRE(axis.cells == (pixels + 7) / 8);
      REQUIRE(axis.begins.front() == 0);
      REQUIRE(axis.begins.back() + tile >= axis.cells);
      REQUIRE((axis.cells <= tile ? axis.begins.back() == 0 : axis.begins.back() + tile == axis.cells));
      for (std::size_t i = 1; i < axis.begins.size(); ++i) {
        REQUIRE(axis.begins[i] > axis.begins[i - 1]);
        REQUIRE(axis.begins[i] <= axis.begins[i - 1] + tile - overlap);
      }
      for (Index c = 0; c < axis.cells; ++c) {
        const auto depth = [&](Index begin) { return std::min(c - begin, begin + tile - 1 - c); };
        const Index own = depth(axis.begins[static_cast<std::size_t>(axis.window[static_cast<std::size_t>(c)])]);
        REQUIRE(own >= 0);
        for (const Index begin : axis.begins) REQUIRE(depth(begin) <= own);
      }
    }
  }
  CHECK(mirrored(0, 5) == 0);
  CHECK(mirrored(4, 5) == 4);
  CHECK(mirrored(5, 5) == 3);
  CHECK(mirrored(8, 5) == 0);
  CHECK(mirrored(9, 5) == 1);
  CHECK(mirrored(-1, 5) == 1);
  CHECK(mirrored(7, 1) == 0);
  const auto problem = [](const TileOptions& options) { return thrown_by<OptionError>([&] { options.validate(32, 8); }); };
  CHECK(contains(problem({.overlap = 25}), "'overlap' is 25; expected 0 to 24 pixels"));
  CHECK(contains(problem({.scale = 0}), "'scale' is 0"));
  CHECK(contains(problem({.scale = std::numeric_limits<double>::infinity()}), "'scale' is inf"));
  CHECK(contains(problem({.overlap = 24}), "nothing was thrown"));
}

TEST_CASE("the patches of an image are those of its windows, whatever the batch; small images are mirrored and counted") {
  for (const Index batch : {1, 3, 4}) {
    const Reference<double> backend;
    auto features = halves_extractor(backend, batch);
    auto alone = halves_extractor(backend, 1);
    using Reader = PatchReader<HalvesBackbone, Reference<double>>;
    Reader reader(features, {.tiles = TileOptions{.overlap = 8}, .neighbourhood = 1});
    Index seen = 0;
    const auto passed = reader.read(Sizes{}, {}, [&](const PatchMap<double>& map) {
      CAPTURE(batch, seen);
      REQUIRE(map.index == seen);
      REQUIRE(map.height == Sizes::extents[seen][0]);
      REQUIRE(map.width == Sizes::extents[seen][1]);
      REQUIRE(map.grid.height == (map.height + 7) / 8);
      REQUIRE(map.grid.width == (map.width + 7) / 8);
      CHECK(std::count(map.input.labels.begin(), map.input.labels.end(), 1) == 1);
      CHECK(map.input.labels.back() == 1);
      // Every patch, by the window that TilePlan names, cut out of the rendered image here.
      const TilePlan plan(map.height, map.width, 8, features.grid(), 8);
      bool differ = false;
      for (Index y = 0; y < map.grid.height; ++y) {
        for (Index x = 0; x < map.grid.width; ++x) {
          const Index top = plan.down.begins[static_cast<std::size_t>(plan.down.window[static_cast<std::size_t>(y)])];
          const Index left = plan.across.begins[static_cast<std::size_t>(plan.across.window[static_cast<std::size_t>(x)])];
          std::vector<float> window;
          for (Index c = 0; c < 3; ++c) {
            for (Index v = 0; v < 32; ++v) {
              for (Index u = 0; u < 48; ++u) {
                Index py = 8 * top + v, px = 8 * left + u;
                while (py >= map.height || py < 0) py = py < 0 ? -py : 2 * (map.height - 1) - py;
                while (px >= map.width || px < 0) px = px < 0 ? -px : 2 * (map.width - 1) - px;
                window.push_back(map.input.image[static_cast<std::size_t>((c * map.height + py) * map.width + px)]);
              }
            }
          }
          alone.forward(window);
          const auto expected = alone.patch_map(0).row((y - top) * 6 + x - left);
          const double* const own = map.patches.data() + (y * map.grid.width + x) * 16;
          REQUIRE(std::equal(own, own + 16, expected));
          differ = differ || own[0] != map.patches[0];
        }
      }
      CHECK(differ);
      ++seen;
    });
    CHECK(seen == 4);
    CHECK(passed.images == 4);
    CHECK(reader.tiled().smaller == 2);
    CHECK(reader.tiled().windows == 1 + 3 * 4 + 2 + 2);
  }
}

TEST_CASE("what cannot be read is left out of a pass by windows; one factor resizes all images; neighbourhoods go across windows") {
  const Reference<double> backend;
  auto features = halves_extractor(backend, 2);
  Sizes sizes;
  sizes.unreadable = 1;
  using Reader = PatchReader<HalvesBackbone, Reference<double>>;
  Reader reader(features, {.tiles = TileOptions{.scale = 2, .overlap = 0}, .neighbourhood = 1});
  std::vector<PatchMap<double>> plain;
  const auto passed = reader.read(sizes, {}, [&](const PatchMap<double>& map) { plain.push_back(map); });
  CHECK(passed.images == 3);
  CHECK(passed.unreadable == 1);
  REQUIRE(plain.size() == 3);
  CHECK(plain[1].index == 2);
  CHECK(plain[1].height == 14);
  CHECK(plain[1].width == 100);
  Reader averaging(features, {.tiles = TileOptions{.scale = 2, .overlap = 0}});
  std::size_t at = 0;
  static_cast<void>(averaging.read(sizes, {}, [&](const PatchMap<double>& map) {
    const PatchMap<double>& from = plain[at++];
    // The patch right of the first window's end, or what there is: the mean of the 3 x 3 around it.
    const Index x = std::min<Index>(6, map.grid.width - 1);
    double sum = 0, count = 0;
    for (Index v = 0; v < std::min<Index>(2, map.grid.height); ++v) {
      for (Index u = x - 1; u <= std::min(x + 1, map.grid.width - 1); ++u, ++count)
        sum += from.patches[static_cast<std::size_t>((v * map.grid.width + u) * 16 + 3)];
    }
    CHECK(map.patches[static_cast<std::size_t>(x * 16 + 3)] == Approx(sum / count).margin(1e-12));
  }));
  CHECK(at == 3);
  CHECK(contains(thrown_by<OptionError>([&] { Reader(features, {.tiles = TileOptions{.overlap = 32}}); }), "'overlap' is 32"));
}
