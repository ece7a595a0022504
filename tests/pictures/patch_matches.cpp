// Similarity and correspondence of patches where the answer is known.
#include "catch.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/pictures/patch_matches.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

std::vector<float> drawn(Index rows, Index width, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> out(static_cast<std::size_t>(rows * width));
  for (float& v : out) v = static_cast<float>(random() % 2000) / 1000.0F - 1.0F;
  return out;
}

/// Patches of a grid, shifted: patch (y, x) is that of the original at (y + down, x + right), new ones
/// elsewhere.
std::vector<float> shifted(const std::vector<float>& from, GridSize grid, Index width, Index down,
                           Index right) {
  std::vector<float> out = drawn(grid.size(), width, 77);
  for (Index y = 0; y < grid.height; ++y) {
    for (Index x = 0; x < grid.width; ++x) {
      const Index other_y = y + down;
      const Index other_x = x + right;
      if (other_y < 0 || other_y >= grid.height || other_x < 0 || other_x >= grid.width) continue;
      for (Index d = 0; d < width; ++d)  // twice as long: cosines do not mind
        out[static_cast<std::size_t>((y * grid.width + x) * width + d)] =
            2 * from[static_cast<std::size_t>((other_y * grid.width + other_x) * width + d)];
    }
  }
  return out;
}

template <Backend B>
void check_shift(const B& backend) {
  constexpr GridSize grid{5, 7};
  constexpr Index width = 24;
  const auto from = drawn(grid.size(), width, 1);
  const auto to = shifted(from, grid, width, 1, -2);
  Buffer memory = backend.allocate(2 * from.size() * sizeof(float));
  auto* const device = reinterpret_cast<float*>(memory.data());
  backend.upload(device, std::span<const float>(from));
  backend.upload(device + from.size(), std::span<const float>(to));
  const auto matches = match_patches(backend, MatrixView<const float>(device, grid.size(), width),
                                     MatrixView<const float>(device + from.size(), grid.size(), width));
  REQUIRE(static_cast<Index>(matches.size()) == grid.size());
  int mutual = 0;
  for (const PatchMatch& match : matches) {
    const Index y = match.from / grid.width - 1;
    const Index x = match.from % grid.width + 2;
    if (y < 0 || x >= grid.width) continue;  // left the picture
    CHECK(match.to == y * grid.width + x);
    CHECK(match.cosine == Approx(1).epsilon(1e-6));
    CHECK(match.mutual);
    ++mutual;
  }
  CHECK(mutual == 4 * 5);
}

}  // namespace

TEST_CASE("points and patches: where each lies") {
  constexpr GridSize grid{2, 4};
  CHECK(patch_at({-1, -1}, grid) == 0);
  CHECK(patch_at({1, 1}, grid) == 7);
  CHECK(patch_at({0.1, -0.1}, grid) == 2);
  CHECK(patch_at({-9, 9}, grid) == 4);
  for (Index patch = 0; patch < grid.size(); ++patch)
    CHECK(patch_at(patch_middle(patch, grid), grid) == patch);
  CHECK(patch_middle(0, grid) == Point{-0.75, -0.5});
  CHECK(pixel_of({-1, 1}, 30, 50) == ScenePoint{0, 30});
  CHECK(pixel_of({0.5, 0}, 30, 50) == ScenePoint{37.5, 15});
}

TEST_CASE("a patch is as similar to itself as can be") {
  const auto rows = drawn(6, 10, 5);
  const MatrixView<const float> patches(rows.data(), 6, 10);
  std::vector<double> out(6);
  for (std::size_t i = 0; i < 6; ++i) {
    cosines(std::span<double>(out), std::span<const float>(rows).subspan(10 * i, 10), patches);
    CHECK(out[i] == Approx(1).epsilon(1e-15));
    for (std::size_t j = 0; j < 6; ++j) {
      if (j != i) CHECK(out[j] < 0.99);
    }
  }
  const std::vector<float> three{3, 0, 0, 2, -5, 0, 0, 0, 1, 1};
  cosines(std::span<double>(out).first(5), std::span<const float>(three).first(2),
          MatrixView<const float>(three.data(), 5, 2));
  CHECK(out[0] == 1);
  CHECK(out[1] == 0);
  CHECK(out[2] == -1);
  CHECK(out[3] == 0);  // a row of zeros
  CHECK(out[4] == Approx(std::sqrt(0.5)));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   cosines(std::span<double>(out), std::span<const float>(rows).first(9), patches);
                 }),
                 "with a query of 9"));
}

TEST_CASE("patches of a shifted picture are found where they went") {
  check_shift(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check_shift(Cpu({.threads = 2}));
#endif
}

TEST_CASE("a match that is not mutual is told apart, and the lower of equals is the best") {
  // Both patches of `from` like to[1] best; it likes from[0] best.
  const std::vector<float> from{1, 0, 0.9F, 0.3F};
  const std::vector<float> to{-1, 0.2F, 1, 0, 2, 0};
  const auto matches = match_patches(Reference<float>(), MatrixView<const float>(from.data(), 2, 2),
                                     MatrixView<const float>(to.data(), 3, 2));
  CHECK(matches[0].to == 1);
  CHECK(matches[1].to == 1);
  CHECK(matches[0].mutual);
  CHECK_FALSE(matches[1].mutual);
}

TEST_CASE("joined points are drawn where they are, in both pictures") {
  const Image<std::uint8_t> left(20, 30, 3), right(20, 40, 3);
  const std::vector<JoinedPoints> pairs{{{5.5, 10.5}, {30.5, 10.5}, {200, 100, 50}}};
  const auto picture = match_picture(left, right, pairs, 8);
  CHECK(picture.width() == 78);
  const auto colour = [&](Index y, Index x) {
    return Colour{picture(y, x, 0), picture(y, x, 1), picture(y, x, 2)};
  };
  CHECK(colour(10, 5) == Colour{200, 100, 50});
  CHECK(colour(10, 38 + 30) == Colour{200, 100, 50});
  CHECK(colour(10, 34) == Colour{200, 100, 50});  // the line crosses the white gap
  CHECK(colour(2, 34) == Colour{255, 255, 255});
  CHECK(colour(2, 5) == Colour{0, 0, 0});
}
