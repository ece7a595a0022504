#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include <dssl/views/box_search.hpp>

using namespace dssl;

namespace {

double share(const Box& box, Index height, Index width) {
  return static_cast<double>(box.area()) / static_cast<double>(height * width);
}

// The smallest share of the image that `box` has in common with any of `others`.
double smallest_overlap(const Box& box, std::span<const Box> others, Index height, Index width) {
  double smallest = 1.0;
  for (const Box& other : others) smallest = std::min(smallest, share(intersect(box, other), height, width));
  return smallest;
}

}  // namespace

TEST_CASE("random boxes keep their bounds and their distribution") {
  const Index height = 600;
  const Index width = 800;
  const AreaRange area{0.05, 0.4};
  RandomStream random({.seed = 5});
  const int draws = 20000;
  double mean_area = 0;
  double mean_aspect = 0;
  double mean_position = 0;
  for (int n = 0; n < draws; ++n) {
    const Box box = random_box(height, width, area, {}, random);
    REQUIRE(inside(box, height, width));
    const double aspect = static_cast<double>(box.width) / static_cast<double>(box.height);
    // Rounding an extent moves it by half a pixel.
    CHECK((share(box, height, width) > 0.0485 && share(box, height, width) < 0.405));
    CHECK((aspect > 0.74 && aspect < 1.345));
    mean_area += share(box, height, width) / draws;
    mean_aspect += std::log(aspect) / draws;
    mean_position +=
        static_cast<double>(box.x) / std::max(1.0, static_cast<double>(width - box.width)) / draws;
  }
  // No box of up to 0.4 is too large for this image, so nothing is rejected and the means are those of the
  // uniforms; the bounds are about five standard errors.
  CHECK(mean_area == Approx(0.225).margin(0.004));
  CHECK(mean_aspect == Approx(0.0).margin(0.006));
  CHECK(mean_position == Approx(0.5).margin(0.011));
}

TEST_CASE("the centre box is what fits of the allowed aspect") {
  CHECK(centre_box(100, 120, {}) == Box{0, 0, 100, 120});
  CHECK(centre_box(90, 400, {}) == Box{0, 140, 90, 120});
  CHECK(centre_box(400, 90, {}) == Box{140, 0, 120, 90});
  CHECK(centre_box(1, 1, {}) == Box{0, 0, 1, 1});
  CHECK(centre_box(10, 10000, {}) == Box{0, 4993, 10, 13});
  CHECK(centre_box(10000, 1, {}) == Box{4999, 0, 1, 1});
}

TEST_CASE("views overlap both global views enough") {
  for (const auto& [height, width] : {std::pair<Index, Index>{360, 480}, {1000, 300}, {40, 40}, {7, 9}}) {
    for (int n = 0; n < 300; ++n) {
      RandomStream random({.seed = 6, .sample = static_cast<std::uint64_t>(n)});
      std::array<Box, 2> globals;
      globals[0] = random_box(height, width, {0.25, 1.0}, {}, random);
      globals[1] = overlapping_box(height, width, {0.25, 1.0}, {}, std::span<const Box>(globals).first(1),
                                   0.02, 100, random);
      CHECK(smallest_overlap(globals[1], std::span<const Box>(globals).first(1), height, width) > 0.02);
      for (int l = 0; l < 4; ++l) {
        const Box local = overlapping_box(height, width, {0.05, 0.4}, {}, globals, 0.01, 100, random);
        REQUIRE(inside(local, height, width));
        CHECK(smallest_overlap(local, globals, height, width) > 0.01);
      }
    }
  }
}

TEST_CASE("the fallback satisfies the demand without redraws too") {
  // Two small global views in opposite corners with a small common part: most boxes miss one of them.
  const Index height = 200;
  const Index width = 200;
  const std::array<Box, 2> globals{Box{0, 0, 115, 115}, Box{85, 85, 115, 115}};
  int drawn_again = 0;
  for (int n = 0; n < 2000; ++n) {
    RandomStream random({.seed = 7, .sample = static_cast<std::uint64_t>(n)});
    auto first_draw = random;
    const Box first = random_box(height, width, {0.05, 0.1}, {}, first_draw);
    const Box box = overlapping_box(height, width, {0.05, 0.1}, {}, globals, 0.01, 0, random);
    REQUIRE(inside(box, height, width));
    CHECK(smallest_overlap(box, globals, height, width) > 0.01);
    if (smallest_overlap(first, globals, height, width) <= 0.01) {
      ++drawn_again;
      CHECK(box.height == first.height);
      CHECK(box.width == first.width);
    }
  }
  CHECK(drawn_again > 100);
}

TEST_CASE("where even the moved box is too small, the common part is taken") {
  const std::array<Box, 2> globals{Box{0, 0, 52, 52}, Box{48, 48, 52, 52}};  // common: 4 x 4 at a corner of each
  RandomStream random({.seed = 8});
  // Boxes of about 17 x 17 pixels on it have 11 x 11 in common with each, and are to have half of themselves.
  const Box box = overlapping_box(100, 100, {0.03, 0.03}, {}, globals, 0.02, 3, random);
  CHECK(box == Box{48, 48, 4, 4});
}

TEST_CASE("boxes that are smaller than what is to be shared stay as small as they were asked for") {
  const std::array<Box, 2> globals{Box{0, 0, 400, 220}, Box{0, 180, 400, 220}};  // common: 400 x 40
  for (int n = 0; n < 200; ++n) {
    RandomStream random({.seed = 8, .sample = static_cast<std::uint64_t>(n)});
    const Box box = overlapping_box(400, 400, {0.002, 0.01}, {}, globals, 0.01, n % 50, random);
    CHECK(static_cast<double>(box.area()) < 0.0105 * 400 * 400);
    for (const Box& global : globals) CHECK(2 * intersect(box, global).area() > box.area());
  }
}

TEST_CASE("a box that is larger than those it is to overlap stays as large as it was asked for") {
  // Global views are crops by pixels of a large image, 0.4 % of it, and the local one a share of it.
  const Index height = 1000, width = 1000;
  int moved = 0;
  for (int n = 0; n < 200; ++n) {
    RandomStream random({.seed = 8, .sample = static_cast<std::uint64_t>(n)});
    std::array<Box, 2> globals;
    globals[0] = random_box(height, width, {0.004, 0.004}, {}, random);
    globals[1] = overlapping_box(height, width, {0.004, 0.004}, {}, std::span<const Box>(globals).first(1), 0.02, n % 50, random);
    CHECK(2.1 * static_cast<double>(intersect(globals[0], globals[1]).area()) > static_cast<double>(globals[0].area()));
    const Box local = overlapping_box(height, width, {0.05, 0.1}, {}, globals, 0.01, n % 50, random);
    CHECK((share(local, height, width) > 0.049 && share(local, height, width) < 0.101));
    for (const Box& global : globals) CHECK(2 * intersect(local, global).area() > global.area());
    moved += intersect(local, globals[0]) != globals[0];
  }
  CHECK(moved > 0);  // it need not hold them whole
}

TEST_CASE("boxes little larger than what is to be shared stay as large as they were asked for") {
  for (const auto& [of_global, of_local] : {std::pair{0.011, 0.0105}, {0.011, 0.015}, {0.015, 0.012}, {0.021, 0.0101}, {0.03, 0.01999}}) {
    for (int n = 0; n < 300; ++n) {
      RandomStream random({.seed = 11, .sample = static_cast<std::uint64_t>(n)});
      std::array<Box, 2> globals;
      globals[0] = random_box(640, 960, {of_global, of_global}, {}, random);
      globals[1] = overlapping_box(640, 960, {of_global, of_global}, {}, std::span<const Box>(globals).first(1), 0.02, 100, random);
      const Box local = overlapping_box(640, 960, {of_local, of_local}, {}, globals, 0.01, 100, random);
      CHECK(share(globals[1], 640, 960) == Approx(of_global).epsilon(0.03));
      CHECK(share(local, 640, 960) == Approx(of_local).epsilon(0.03));
    }
  }
}

TEST_CASE("images on which the demand cannot be met end the search too") {
  for (const auto& [height, width] : {std::pair<Index, Index>{1, 1},
                                      {1, 2},
                                      {2, 1},
                                      {2, 2},
                                      {1, 10000},
                                      {10000, 1},
                                      {10000, 10},
                                      {10, 10000}}) {
    for (int n = 0; n < 20; ++n) {
      RandomStream random({.seed = 9, .sample = static_cast<std::uint64_t>(n)});
      std::array<Box, 2> globals;
      globals[0] = random_box(height, width, {0.25, 1.0}, {}, random);
      globals[1] = overlapping_box(height, width, {0.25, 1.0}, {}, std::span<const Box>(globals).first(1),
                                   0.02, 50, random);
      const Box local = overlapping_box(height, width, {0.05, 0.4}, {}, globals, 0.01, 50, random);
      for (const Box& box : {globals[0], globals[1], local}) CHECK(inside(box, height, width));
      CHECK(intersect(globals[0], globals[1]).area() > 0);
      CHECK(intersect(local, globals[0]).area() > 0);
      CHECK(intersect(local, globals[1]).area() > 0);
    }
  }
}

TEST_CASE("global views with no common part leave the last box drawn") {
  const std::array<Box, 2> globals{Box{0, 0, 10, 10}, Box{0, 90, 10, 10}};
  RandomStream random({.seed = 10});
  CHECK(inside(overlapping_box(100, 100, {0.05, 0.1}, {}, globals, 0.01, 5, random), 100, 100));
}
