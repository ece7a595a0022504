// References on a grid in the place of patches: cells of a part of a patch, over whole images and by windows.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/defects/patch_reader.hpp>
#include <dssl/features/tile_pass.hpp>
#include <dssl/nn/parameters.hpp>

#include "halves.hpp"
#include "noise_images.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Extractor = FeatureExtractor<HalvesBackbone, Reference<double>>;
using Reader = PatchReader<HalvesBackbone, Reference<double>>;
using Probe = DefectProbe<HalvesBackbone, Reference<double>>;

Extractor references_of_halves(const ReferenceMap& map, Index batch = 2) {
  Extractor out(Reference<double>(), {.height = 32, .width = 48, .batch = batch, .reads = {.patch = true}, .references = map});
  std::vector<double> weights(static_cast<std::size_t>(out.layout().total()));
  initialise(std::span<double>(weights), out.layout(), 11);
  out.load(weights);
  return out;
}

ReferenceMap grid_of(Index per_patch) { return {.per_patch = per_patch, .content = true}; }

/// Noise of a size, with the pixels from (top, left) on, `side` a side, marked and bright.
class Noise {
 public:
  Noise(Index count, Index height, Index width, Index top = 0, Index left = 0, Index side = 0)
      : x_count(count), x_height(height), x_width(width), x_top(top), x_left(left), x_side(side) {}
  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("noise ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    Image<std::uint8_t> image = noise_image(x_height, x_width, 3, {.seed = 4, .sample = static_cast<std::uint64_t>(i)},
                                            [](RandomStream& random) { return 60 + random.below(40); });
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(x_height, x_width, 1)};
    for (Index y = x_top; y < x_top + x_side; ++y) {
      for (Index x = x_left; x < x_left + x_side; ++x) {
        out.mask(y, x, 0) = 1;
        for (Index c = 0; c < 3; ++c) image(y, x, c) = 255;
      }
    }
    out.image = std::move(image);
    return out;
  }

 private:
  Index x_count, x_height, x_width, x_top, x_left, x_side;
};

}  // namespace

TEST_CASE("by windows, each cell has what the reference has that stands in its middle in the window it is read from") {
  Extractor features = references_of_halves(grid_of(2));
  Extractor alone = references_of_halves(grid_of(2), 1);
  CHECK(map_cell(features) == 4);
  Reader reader(features, {.tiles = TileOptions{.overlap = 12}, .neighbourhood = 1});
  CHECK(reader.cell() == 4);
  Index seen = 0;
  static_cast<void>(reader.read(Noise(2, 45, 102), {}, [&](const PatchMap<double>& map) {
    REQUIRE(map.grid.height == 12);  // 45 pixels, the last cell in part
    REQUIRE(map.grid.width == 26);
    const TilePlan plan(45, 102, 4, {8, 12}, 12);
    for (Index y = 0; y < 12; ++y) {
      for (Index x = 0; x < 26; ++x) {
        const Index top = plan.down.begins[static_cast<std::size_t>(plan.down.window[static_cast<std::size_t>(y)])];
        const Index left = plan.across.begins[static_cast<std::size_t>(plan.across.window[static_cast<std::size_t>(x)])];
        std::vector<float> window;
        for (Index c = 0; c < 3; ++c) {
          for (Index v = 4 * top; v < 4 * top + 32; ++v) {
            for (Index u = 4 * left; u < 4 * left + 48; ++u) {
              const Index py = v < 45 ? v : 88 - v, px = u < 102 ? u : 202 - u;
              window.push_back(map.input.image[static_cast<std::size_t>((c * 45 + py) * 102 + px)]);
            }
          }
        }
        alone.forward(window);
        const double* const expected = alone.patch_map(0).row((y - top) * 12 + x - left);
        const double* const own = map.patches.data() + (y * 26 + x) * 16;
        REQUIRE(std::equal(own, own + 16, expected));
      }
    }
    ++seen;
  }));
  CHECK(seen == 2);
}

TEST_CASE("a bank of references leaves out the cells with a marked pixel, where patches leave out the whole patch") {
  const DefectProbeOptions options{.coreset = 1.0, .reweighting = 0, .neighbourhood = 1, .smoothing = 0};
  const auto learned = [&](const ReferenceMap& map, DefectProbeOptions own) {
    Extractor features = references_of_halves(map);
    Probe probe(features, own);
    probe.learn(Noise(1, 32, 48, 9, 18, 2));  // in the upper left quarter of patch (1, 2)
    return probe.bank()->size();
  };
  CHECK(learned({}, options) == 24 - 1);
  CHECK(learned(grid_of(1), options) == 24 - 1);
  CHECK(learned(grid_of(2), options) == 96 - 1);
  CHECK(learned(grid_of(4), options) == 384 - 2);  // rows 9 and 10 lie in two cells, columns 18 and 19 in one
  DefectProbeOptions inside = options;
  inside.rules.border = 1;
  CHECK(learned(grid_of(2), inside) == 6 * 10 - 1);
}

TEST_CASE("scores and heat maps of references: as many as cells that show the image, the highest at the defect") {
  for (const InputFit fit : {InputFit::stretch, InputFit::pad}) {
    Extractor features = references_of_halves(grid_of(2));
    Probe probe(features, {.coreset = 1.0, .reweighting = 0, .neighbourhood = 1, .smoothing = 0, .fit = fit});
    const Index width = fit == InputFit::pad ? 16 : 48;
    probe.learn(Noise(4, 32, width));
    Index seen = 0;
    probe.on_score = [&](const DefectScore& s) {
      ++seen;
      CHECK(s.patches == 8 * width / 4);
      REQUIRE(s.heat_map.size() == 32 * 48);
      const auto highest = std::ranges::max_element(s.heat_map) - s.heat_map.begin();
      const Index y = highest / 48, x = highest % 48;
      CAPTURE(y, x);
      // In the patch of the spot, which is rows 8 to 15, columns 24 to 31 of the input.
      CHECK(y / 8 == 1);
      CHECK(x / 8 == 3);
    };
    probe.score(Noise(3, 32, width, 10, fit == InputFit::pad ? 10 : 26, 4));
    CHECK(seen == 3);
  }
}

TEST_CASE("what has no cells of whole pixels is refused by name") {
  const auto problem = [](const ReferenceMap& map) {
    Extractor features = references_of_halves(map);
    return thrown_by<OptionError>([&] { Reader reader(features, {}); });
  };
  CHECK(contains(problem(grid_of(3)), "'references.per_patch' is 3; expected a number of which the patch, 8 pixels, is a multiple"));
  CHECK(contains(problem({.points = {{0, 0}, {0.5, 0.5}}}), "'references.points' is 2 points; expected a grid of references"));
  CHECK(contains(problem(grid_of(8)), "nothing was thrown"));
  Extractor features = references_of_halves(grid_of(2));
  // Windows overlap by whole cells, of 4 pixels: all but one of them at most.
  CHECK(contains(thrown_by<OptionError>([&] { Reader reader(features, {.tiles = TileOptions{.overlap = 29}}); }), "expected 0 to 28 pixels"));
}
