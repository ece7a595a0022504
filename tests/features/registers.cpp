// Register tokens in frozen backbones: they are seen, and are no features.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/core/sequence.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/token_trace.hpp>

#include "backbone/vit_runner.hpp"
#include "compare.hpp"
#include "features/drawn.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr ViTConfig with_registers{.image = 16, .patch = 4, .width = 12, .depth = 3, .heads = 2, .mlp_ratio = 2, .registers = 2};
constexpr GridSize grid{3, 5};
constexpr Index patches = 15;
constexpr Index image_values = 3 * 12 * 20;
const std::vector<Point> points{{-0.3, 0.4}, {0.9, -0.8}};

/// A ViT by the plain loops of `Reference`, with all of its tokens' rows.
VitRunner<Reference<double>> reference_run(Index images, Index references, const std::vector<float>& pixels) {
  VitRunner<Reference<double>> runner({}, with_registers, false,
                                      {{.count = images, .grid = grid, .references = references, .registers = 2}}, all_groups);
  const auto weights = drawn<double>(runner.weights().size(), 4);
  std::copy(weights.begin(), weights.end(), runner.weights().begin());
  std::copy(pixels.begin(), pixels.end(), runner.image(0).begin());
  return runner;
}

template <Backend B>
void check_features(const B& backend, double most) {
  FeatureExtractor<ViT<with_registers>, B> extractor(backend, {.height = 12, .width = 20, .batch = 2});
  extractor.load(drawn<typename B::Scalar>(static_cast<std::size_t>(extractor.layout().total()), 4));
  const auto pixels = drawn<float>(2 * image_values, 9);
  REQUIRE(extractor.forward(pixels) == 2);
  auto runner = reference_run(2, 0, pixels);
  const auto out = runner.forward<private_relation>();
  // Class tokens and patches; a register in their place, or one more row, would move all that follows.
  REQUIRE(out.rows() == 2 + 2 * patches);
  REQUIRE(extractor.class_tokens().rows() == 2);
  CHECK(relative_difference<typename B::Scalar, double>(extractor.class_tokens().flat(), out.rows(0, 2).flat()) <= most);
  for (Index i = 0; i < 2; ++i) {
    REQUIRE(extractor.patch_map(i).rows() == patches);
    CHECK(relative_difference<typename B::Scalar, double>(extractor.patch_map(i).flat(), out.rows(2 + i * patches, patches).flat()) <= most);
  }
}

/// Register tokens that a norm does not level: entry i is value x (i mod 5).
void set_registers(std::vector<double>& weights, const ParameterLayout& layout, double value) {
  for (const auto& spec : layout.specs()) {
    if (spec.name.view() != "register_tokens") continue;
    for (Index i = 0; i < spec.size; ++i) weights[static_cast<std::size_t>(spec.offset + i)] = value * static_cast<double>(i % 5);
    return;
  }
  FAIL("the layout has no register_tokens");
}

}  // namespace

TEST_CASE("features of a backbone with registers are its class tokens and patches, without the registers' rows") {
  check_features(Reference<double>(), 0);
#if __has_include(<dssl/backend/cpu.hpp>)
  check_features(Cpu({.threads = 2}), 1e-4);
#endif
}

TEST_CASE("features see the registers: other register tokens give others") {
  FeatureExtractor<ViT<with_registers>, Reference<double>> extractor({}, {.height = 12, .width = 20, .batch = 1});
  auto weights = drawn<double>(static_cast<std::size_t>(extractor.layout().total()), 4);
  const auto pixels = drawn<float>(image_values, 9);
  std::vector<std::vector<double>> found;
  for (const double value : {0.5, -3.0}) {
    set_registers(weights, extractor.layout(), value);
    extractor.load(weights);
    extractor.forward(pixels);
    const auto map = extractor.patch_map(0).flat();
    found.emplace_back(map.begin(), map.end());
  }
  CHECK(relative_difference<double, double>(found[0], found[1]) > 1e-3);
}

TEST_CASE("a trace's attention rows leave the registers' shares out, and are those of the blocks' queries and keys") {
  TokenTrace<ViT<with_registers>, Reference<double>> trace({}, {.height = 12, .width = 20, .references = 2});
  trace.load(drawn<double>(static_cast<std::size_t>(trace.layout().total()), 4));
  const auto pixels = drawn<float>(image_values, 9);
  trace.forward(pixels, points);
  auto runner = reference_run(1, 2, pixels);
  const std::vector<double> xy{points[0].x, points[0].y, points[1].x, points[1].y};
  runner.points<double>(xy);
  const auto out = runner.forward<private_relation>();
  CHECK(relative_difference<double, double>(trace.class_token().flat(), out.rows(0, 1).flat()) == 0);
  CHECK(relative_difference<double, double>(trace.references().flat(), out.rows(1, 2).flat()) == 0);
  REQUIRE(trace.patches().rows() == patches);
  CHECK(relative_difference<double, double>(trace.patches().flat(), out.rows(3, patches).flat()) == 0);

  // Rows of a block: class token 0, registers 1 and 2, patches from 3, references from 18.
  constexpr Index first_patch = 3;
  constexpr Index first_reference = first_patch + patches;
  constexpr Index size = 6;
  for (Index block = 0; block < with_registers.depth; ++block) {
    const auto& qkv = runner.activations().blocks[static_cast<std::size_t>(block)].qkv;
    for (Index head = 0; head < with_registers.heads; ++head) {
      const auto check_row = [&](TokenGroup group, Index number, Index query) {
        // Class token and patches see class token, registers and patches; a reference registers, patches and itself.
        const bool point = group == TokenGroup::reference;
        std::vector<double> weight(static_cast<std::size_t>(first_reference + 2), 0.0);
        double total = 0;
        for (Index key = 0; key < first_reference + 2; ++key) {
          const bool seen = key == 0 ? !point : key < first_reference || key == query;
          if (!seen) continue;
          double product = 0;
          for (Index d = 0; d < size; ++d) product += qkv(query, head * size + d) * qkv(key, 12 + head * size + d);
          weight[static_cast<std::size_t>(key)] = std::exp(product / std::sqrt(static_cast<double>(size)));
          total += weight[static_cast<std::size_t>(key)];
        }
        for (double& w : weight) w /= total;
        const AttentionRow row = trace.attention(block, head, group, number);
        REQUIRE(row.patches.size() == static_cast<std::size_t>(patches));
        REQUIRE(row.references.size() == 2);
        CHECK(std::abs(row.class_token - weight[0]) < 1e-12);
        CHECK(relative_difference<double, double>(row.patches, std::span(weight).subspan(first_patch, patches)) < 1e-12);
        for (std::size_t r = 0; r < 2; ++r) CHECK(std::abs(row.references[r] - weight[first_reference + r]) < 1e-12);
        double sum = row.class_token + weight[1] + weight[2];
        for (const double share : row.patches) sum += share;
        for (const double share : row.references) sum += share;
        CHECK(sum == Approx(1).epsilon(1e-12));
        CHECK(weight[1] + weight[2] > 0);
      };
      check_row(TokenGroup::class_token, 0, 0);
      for (const Index patch : {Index{0}, Index{7}, patches - 1}) check_row(TokenGroup::patch, patch, first_patch + patch);
      check_row(TokenGroup::reference, 1, first_reference + 1);
    }
  }
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(trace.attention(0, 0, TokenGroup::patch, patches)); }),
                 "'token' is 15; expected 0 to 14 of its kind"));
}
