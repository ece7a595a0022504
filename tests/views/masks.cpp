// Masks: never more than asked, their statistics against the published code's, keys, words.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"

#include <dssl/views/masks.hpp>
#include <dssl/views/multi_crop.hpp>

using namespace dssl;

namespace {

struct Statistics {
  double share = 0;      // of the masked views' patches
  double neighbour = 0;  // a masked patch's right or lower neighbour is masked, where it has one
  double corner = 0;     // a corner is masked, over the four patches in the middle
  double views = 0;      // that have any
};

Statistics statistics_of(const BlockMasks& masks, GridSize grid, Index views, int batches) {
  double masked = 0, pairs = 0, both = 0, corners = 0, middle = 0, any = 0;
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(views * grid.size()));
  for (int i = 0; i < batches; ++i) {
    RandomStream random({.seed = 3, .sample = static_cast<std::uint64_t>(i), .purpose = Purpose::masks});
    masks.draw(mask, views, grid, random);
    for (Index v = 0; v < views; ++v) {
      const auto at = [&](Index y, Index x) {
        return static_cast<int>(mask[static_cast<std::size_t>(v * grid.size() + y * grid.width + x)]);
      };
      int own = 0;
      for (Index y = 0; y < grid.height; ++y) {
        for (Index x = 0; x < grid.width; ++x) {
          own += at(y, x);
          if (at(y, x) == 0) continue;
          if (x + 1 < grid.width) ++pairs, both += at(y, x + 1);
          if (y + 1 < grid.height) ++pairs, both += at(y + 1, x);
        }
      }
      if (own == 0) continue;
      ++any;
      masked += own;
      const Index h = grid.height - 1, w = grid.width - 1;
      corners += at(0, 0) + at(0, w) + at(h, 0) + at(h, w);
      middle += at(h / 2, w / 2) + at(h / 2 + 1, w / 2) + at(h / 2, w / 2 + 1) + at(h / 2 + 1, w / 2 + 1);
    }
  }
  return {masked / any / static_cast<double>(grid.size()), both / pairs, corners / middle, any / batches};
}

}  // namespace

TEST_CASE("block masks have the statistics of the published ones") {
  // Measured of dinov2's data/masking.py and collate.py on 14 x 14: mean share 0.297 of the masked half, neighbours 0.81,
  // corners 0.09 of the centre.
  const Statistics found = statistics_of(BlockMasks(), {14, 14}, 64, 60);
  INFO("share " << found.share << ", neighbour " << found.neighbour << ", corner " << found.corner);
  CHECK(found.views == 32);
  CHECK(found.share == Approx(0.297).margin(0.01));
  CHECK(found.neighbour == Approx(0.81).margin(0.015));
  CHECK(found.corner == Approx(0.09).margin(0.03));
}

TEST_CASE("masks are never more than planned, whatever the grid") {
  for (const GridSize grid : {GridSize{14, 14}, GridSize{2, 3}, GridSize{1, 9}, GridSize{5, 20}}) {
    for (const Index views : {Index{1}, Index{2}, Index{7}}) {
      for (const MaskOptions& options : {MaskOptions{}, MaskOptions{.views = 1, .low = 0.9, .high = 0.99},
                                         MaskOptions{.views = 1, .low = 0, .high = 0}, MaskOptions{.views = 0}}) {
        const BlockMasks masks(options);
        const Index most = masks.most(views, grid);
        std::vector<std::uint8_t> mask(static_cast<std::size_t>(views * grid.size()), 9);
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
          RandomStream random({.seed = seed, .purpose = Purpose::masks});
          masks.draw(mask, views, grid, random);
          CHECK(std::all_of(mask.begin(), mask.end(), [](int m) { return m == 0 || m == 1; }));
          CHECK(std::count(mask.begin(), mask.end(), 1) <= most);
        }
      }
    }
  }
}

TEST_CASE("masks depend on their key alone") {
  const auto drawn = [](std::uint64_t seed) {
    std::vector<std::uint8_t> mask(8 * 36);
    RandomStream random({.seed = seed, .purpose = Purpose::masks});
    BlockMasks().draw(mask, 8, {6, 6}, random);
    return mask;
  };
  CHECK(drawn(1) == drawn(1));
  CHECK(drawn(1) != drawn(2));
}

TEST_CASE("mask options that cannot be are named, and words tell numbers apart") {
  const auto refused = [](const MaskOptions& options) { return test::thrown_by<OptionError>([&] { BlockMasks masks(options); }); };
  CHECK(refused({.views = 1.5}).find("option 'masks.views' is 1.5") != std::string::npos);
  CHECK(refused({.high = 1}).find("option 'masks.high' is 1") != std::string::npos);
  CHECK(refused({.low = 0.6}).find("option 'masks.high' is 0.5") != std::string::npos);
  CHECK(refused({.least_block = 0}).find("option 'masks.least_block' is 0") != std::string::npos);
  CHECK(refused({.aspect = 0}).find("option 'masks.aspect' is 0") != std::string::npos);
  CHECK(BlockMasks({.views = 0.3333333}).words() != BlockMasks({.views = 0.3333334}).words());
  CHECK(BlockMasks().words() != BlockMasks({.high = 0.4}).words());
  const Masked<MultiCrop<>> views({.locals = 3}, {.views = 0.25});
  CHECK(views.views() == 5);
  CHECK(views.masks().options().views == 0.25);
}
