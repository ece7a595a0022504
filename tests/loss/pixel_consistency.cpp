// PixPro's loss against its public code's numbers, and gradients against central differences.
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "catch.hpp"
#include "loss/map_rows.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/pixel_consistency.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("PixPro's loss is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("pixpro");
    const auto& config = fixture.config();
    const auto size = [&](const char* name) { return config.template get<Index>(name); };
    const Index images = size("batch"), dim = size("dim"), patches = size("height") * size("width");
    const auto first = fixture.file().template read<double>("box.1"), second = fixture.file().template read<double>("box.2");
    for (const bool near : {true, false}) {
      Memory<B> memory(backend);
      std::vector<T> weights(static_cast<std::size_t>(images * patches * patches));
      for (Index b = 0; b < images; ++b) {
        const auto grid = [&](const std::vector<double>& box, double off) {
          const double* at = box.data() + 4 * b;
          return PatchGrid{at[0] + off, at[1] + off, at[2] + off, at[3] + off, size("height"), size("width"), false};
        };
        // Without overlap: the other view is somewhere else altogether.
        near_patches(std::span<T>(weights).subspan(static_cast<std::size_t>(b * patches * patches),
                                                   static_cast<std::size_t>(patches * patches)),
                     grid(first, 0), grid(second, near ? 0 : 5), config.template get<double>("pos_ratio"));
      }
      const auto rows = [&](const char* map) {
        return memory.matrix(transposed(fixture.file().template read<T>(map), images, dim, patches), dim);
      };
      const auto buffers =
          memory.buffers([&](Arena& arena) { return PixelConsistencyBuffers<T>::take(arena, patches, patches, dim); });
      const auto value = memory.zeros(1);
      const auto d = memory.zeros(images * patches, dim);
      pixel_consistency_loss(backend, buffers, value, d, rows("loss.query"), rows("loss.key"), memory.matrix(weights, patches));
      fixture.expect(near ? "loss.near" : "loss.none", memory.read(value));
      fixture.expect(near ? "loss.near.d_query" : "loss.none.d_query", transposed(memory.read(d), images, patches, dim));
    }
  });
}

TEST_CASE("patches of a flipped view lie where its image has them", "[loss]") {
  std::vector<double> weights(4);
  const PatchGrid plain{0, 0, 1, 1, 1, 2, false};
  const PatchGrid flipped{0, 0, 1, 1, 1, 2, true};
  near_patches(std::span<double>(weights), plain, flipped, 0.1);
  CHECK(weights[0] == 0);
  CHECK(std::abs(weights[1] - 0.5) < 1e-6);
  CHECK(std::abs(weights[2] - 0.5) < 1e-6);
  CHECK(weights[3] == 0);
  CHECK_THROWS_AS(near_patches(std::span<double>(weights).first(3), plain, flipped), ShapeError);
}

TEST_CASE("gradients of PixPro's loss, with views of different grids", "[loss][gradients]") {
  const auto key = normal_values(42, 2);
  std::vector<double> weights(24);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = i % 3 == 0 ? 0.25 : 0.0;
  check_term_gradients({normal_values(56, 1)}, 7, 1, 0.6,
                       [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                         const auto buffers = memory.buffers(
                             [](Arena& arena) { return PixelConsistencyBuffers<double>::take(arena, 4, 3, 7); });
                         pixel_consistency_loss(backend, buffers, value, d[0], x[0], memory.matrix(key, 7),
                                                memory.matrix(weights, 3), 0.6);
                       });
}

TEST_CASE("a patch's partner by place is that of a plain loop, and is near as near_patches says", "[loss]") {
  const ViewFrame plain{{0, 0}, {6, 4}};
  Index with = 0, without = 0;
  for (const ViewFrame& other : {ViewFrame{{0.3, -0.2}, {6.3, 3.8}}, ViewFrame{{2.9, 0.4}, {8.9, 4.4}},
                                 ViewFrame{{6.1, 0.3}, {-0.7, 4.2}}, ViewFrame{{7, 3.3}, {3.1, 0.9}},
                                 ViewFrame{{1.13, 1.21}, {2.17, 2.03}}, ViewFrame{{100, 100}, {106, 104}}}) {
    for (const bool turned : {false, true}) {
      const PatchGrid query = PatchGrid::of(turned ? other : plain, {2, 3});
      const PatchGrid key = PatchGrid::of(turned ? plain : other, {3, 4});
      std::vector<std::int32_t> match(6);
      std::vector<double> near(6), pairs(72);
      const Index count = nearest_patches(std::span(match), std::span(near), query, key, 0.7);
      near_patches(std::span(pairs), query, key, 0.7);
      Index found = 0;
      for (Index n = 0; n < 6; ++n) {
        Index best = 0;
        const auto distance = [&](Index m) { return std::hypot(query.x(n) - key.x(m), query.y(n) - key.y(m)); };
        for (Index m = 1; m < 12; ++m) best = distance(m) < distance(best) ? m : best;
        const auto i = static_cast<std::size_t>(n);
        CHECK(match[i] == best);
        CHECK(near[i] == (pairs[12 * i + static_cast<std::size_t>(best)] > 0 ? 1 : 0));
        found += near[i] > 0 ? 1 : 0;
      }
      CHECK(count == found);
      with += found;
      without += 6 - found;
    }
  }
  CHECK(with > 12);
  CHECK(without > 12);
  // Of equals the first.
  std::vector<std::int32_t> match(1);
  std::vector<float> near(1);
  CHECK(nearest_patches(std::span(match), std::span(near), PatchGrid{0, 0, 2, 2, 1, 1}, PatchGrid{0, 0, 2, 2, 2, 2}, 0.7) == 1);
  CHECK(match[0] == 0);
  CHECK_THROWS_AS(nearest_patches(std::span(match), std::span(near), PatchGrid{0, 0, 2, 2, 1, 2}, PatchGrid{}, 0.7), ShapeError);
}
