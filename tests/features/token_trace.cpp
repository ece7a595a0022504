// Who attends to whom: against what the blocks themselves made of it.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
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

constexpr ViTConfig small{.image = 16, .patch = 4, .width = 12, .depth = 3, .heads = 2};
constexpr Index image_height = 12;
constexpr Index image_width = 20;
constexpr Index patches = 15;
const std::vector<Point> points{{-0.3, 0.4}, {0.9, -0.8}};

template <AttentionRelation R, Backend B>
TokenTrace<ViT<small>, B, R> trace_of(const B& backend, bool learned) {
  TokenTrace<ViT<small>, B, R> trace(
      backend, {.height = image_height, .width = image_width, .references = 2, .learned_reference = learned});
  trace.load(drawn<typename B::Scalar>(static_cast<std::size_t>(trace.layout().total()), 4));
  trace.forward(drawn<float>(static_cast<std::size_t>(trace.image_size()), 9), points);
  return trace;
}

std::vector<double> all_shares(const AttentionRow& row) {
  std::vector<double> out{row.class_token};
  out.insert(out.end(), row.patches.begin(), row.patches.end());
  out.insert(out.end(), row.references.begin(), row.references.end());
  return out;
}

}  // namespace

TEST_CASE("attention rows times the values are what each block attended to, under every relation") {
  for (const NamedRelation& named : named_relations) {
    with_relation(std::string(named.published_name), [&]<AttentionRelation R>() {
      for (const bool learned : {false, true}) {
        INFO(named.name << ", learned " << learned);
        const Reference<double> backend;
        const auto trace = trace_of<R>(backend, learned);
        VitRunner<Reference<double>> runner(backend, small, learned,
                                            {{.count = 1, .grid = {3, 5}, .references = 2}}, all_groups);
        const auto weights = drawn<double>(static_cast<std::size_t>(trace.layout().total()), 4);
        REQUIRE(runner.weights().size() == weights.size());
        std::copy(weights.begin(), weights.end(), runner.weights().begin());
        const auto image = drawn<float>(static_cast<std::size_t>(trace.image_size()), 9);
        std::copy(image.begin(), image.end(), runner.image(0).begin());
        const std::vector<double> xy{points[0].x, points[0].y, points[1].x, points[1].y};
        runner.points<double>(xy);
        const auto out = runner.forward<R>();
        // Output order: class, references, patches.
        CHECK(relative_difference<double, double>(trace.class_token().flat(), out.rows(0, 1).flat()) == 0);
        CHECK(relative_difference<double, double>(trace.references().flat(), out.rows(1, 2).flat()) == 0);
        CHECK(relative_difference<double, double>(trace.patches().flat(), out.rows(3, patches).flat()) == 0);
        for (Index block = 0; block < small.depth; ++block) {
          const auto& a = runner.activations().blocks[static_cast<std::size_t>(block)];
          for (Index head = 0; head < small.heads; ++head) {
            for (Index token = 0; token < 1 + patches + 2; ++token) {
              const TokenGroup group = token == 0         ? TokenGroup::class_token
                                       : token <= patches ? TokenGroup::patch
                                                          : TokenGroup::reference;
              const Index number = token == 0 ? 0 : token <= patches ? token - 1 : token - 1 - patches;
              const auto shares = all_shares(trace.attention(block - small.depth, head, group, number));
              REQUIRE(shares.size() == 18);
              std::vector<double> attended(6, 0.0), expected(6);
              double total = 0;
              for (Index key = 0; key < 18; ++key) {
                const double share = shares[static_cast<std::size_t>(key)];
                total += share;
                for (Index d = 0; d < 6; ++d)
                  attended[static_cast<std::size_t>(d)] += share * a.qkv(key, 24 + 6 * head + d);
              }
              for (Index d = 0; d < 6; ++d)
                expected[static_cast<std::size_t>(d)] = a.attended(token, 6 * head + d);
              CHECK(total == Approx(1).epsilon(1e-12));
              CHECK(relative_difference<double, double>(attended, expected) < 1e-12);
            }
          }
        }
      }
    });
  }
}

TEST_CASE("what all references attend to is what each attends to, among the patches") {
  const auto trace = trace_of<private_relation>(Reference<double>(), true);
  for (Index block = 0; block < small.depth; ++block) {
    const std::vector<double> all = trace.attention_to_patches(block);
    REQUIRE(all.size() == static_cast<std::size_t>(small.heads * 2 * patches));
    for (Index head = 0; head < small.heads; ++head) {
      for (Index r = 0; r < 2; ++r) {
        std::vector<double> own = trace.attention(block, head, TokenGroup::reference, r).patches;
        double sum = 0;
        for (const double share : own) sum += share;
        for (double& share : own) share /= sum;
        const auto found = std::span(all).subspan(static_cast<std::size_t>((head * 2 + r) * patches), patches);
        CHECK(relative_difference<double, double>(found, own) < 1e-12);
      }
    }
  }
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(trace.attention_to_patches(3)); }),
                 "'block' is 3; expected 0 to 2"));
}

namespace {

/// The map of references of drawn weights and image.
template <Backend B>
std::vector<typename B::Scalar> reference_map(const B& backend, const ReferenceMap& references, bool flips = false,
                                              std::vector<Index> blocks = {}) {
  using T = typename B::Scalar;
  FeatureExtractor<ViT<small>, B> extractor(backend, {.height = image_height,
                                                      .width = image_width,
                                                      .batch = 2,
                                                      .blocks = std::move(blocks),
                                                      .references = references,
                                                      .flips = flips});
  extractor.load(drawn<T>(static_cast<std::size_t>(extractor.layout().total()), 4));
  std::vector<float> images = drawn<float>(static_cast<std::size_t>(extractor.image_size()), 9);
  const std::vector<float> other = drawn<float>(images.size(), 3);
  images.insert(images.begin(), other.begin(), other.end());  // the second of a batch
  REQUIRE(extractor.forward(images) == 2);
  REQUIRE(extractor.patch_map(1).rows() == extractor.grid().size());
  std::vector<T> out(static_cast<std::size_t>(extractor.patch_map(1).size()));
  extractor.backend().download(std::span<T>(out), extractor.patch_map(1).data());
  return out;
}

/// That of a trace, and of what training runs: both as one token asked for alone.
void check_against_training(bool learned, bool content) {
  INFO("learned " << learned << ", content " << content);
  const Reference<double> backend;
  const std::vector<double> map = reference_map(backend, {.per_patch = 1, .learned = learned, .content = content});
  VitRunner<Reference<double>> runner(backend, small, learned, {{.count = 1, .grid = {3, 5}, .references = 1}},
                                      {.class_token = true, .reference = true});
  const auto weights = drawn<double>(static_cast<std::size_t>(runner.parameters().total()), 4);
  std::copy(weights.begin(), weights.end(), runner.weights().begin());
  const auto image = drawn<float>(3 * image_height * image_width, 9);
  std::copy(image.begin(), image.end(), runner.image(0).begin());
  TokenTrace<ViT<small>, Reference<double>> trace(backend, {.height = image_height,
                                                            .width = image_width,
                                                            .references = 1,
                                                            .learned_reference = learned,
                                                            .content = content});
  trace.load(weights);
  for (Index y = 0; y < 3; ++y) {
    for (Index x = 0; x < 5; ++x) {
      const Point centre{.x = (2.0 * static_cast<double>(x) + 1) / 5 - 1, .y = (2.0 * static_cast<double>(y) + 1) / 3 - 1};
      const std::vector<double> xy{centre.x, centre.y};
      runner.points<double>(xy);
      if (content) runner.content<double>(xy, true);
      const auto found = std::span(map).subspan(static_cast<std::size_t>((y * 5 + x) * small.width), small.width);
      CHECK(relative_difference<double, double>(found, runner.forward<private_relation>().rows(1, 1).flat()) < 1e-12);
      trace.forward(image, std::vector<Point>{centre});
      CHECK(relative_difference<double, double>(found, trace.references().flat()) < 1e-12);
    }
  }
}

/// A point asked for alone, among some, and in a grid: the same bits.
template <Backend B>
void check_alone(const B& backend, bool content) {
  INFO(backend.describe() << ", content " << content);
  const auto grid = reference_map(backend, {.per_patch = 2, .content = content});
  REQUIRE(grid.size() == static_cast<std::size_t>(6 * 10 * small.width));
  const auto in_grid = [&](Index y, Index x) {
    const auto from = grid.begin() + (y * 10 + x) * small.width;
    return std::vector<typename B::Scalar>(from, from + small.width);
  };
  const Point first{.x = 7.0 / 10 - 1, .y = 3.0 / 6 - 1}, second{.x = 19.0 / 10 - 1, .y = 11.0 / 6 - 1};
  const auto two = reference_map(backend, {.points = {second, first}, .content = content});
  const auto one = reference_map(backend, {.points = {first}, .content = content});
  CHECK((one == in_grid(1, 3)));
  CHECK((std::vector(two.begin(), two.begin() + small.width) == in_grid(5, 9)));
  CHECK((std::vector(two.begin() + small.width, two.end()) == one));
  CHECK(one != in_grid(1, 4));
}

}  // namespace

TEST_CASE("a map of references at patch centres is what training's reference tokens compute there") {
  check_against_training(false, false);
  check_against_training(true, true);
  check_against_training(false, true);
}

TEST_CASE("a point's features are the same bits asked for alone and among others") {
  for (const bool content : {false, true}) {
    check_alone(Reference<float>(), content);
#if __has_include(<dssl/backend/cpu.hpp>)
    check_alone(Cpu({.threads = 1}), content);
    check_alone(Cpu({.threads = 2}), content);
#endif
  }
}

TEST_CASE("maps of references: of several blocks, and as the mean with those of the mirror image") {
  const Reference<double> backend;
  const ReferenceMap two{.per_patch = 2, .content = true};
  const auto width = static_cast<std::size_t>(small.width);
  const auto last = reference_map(backend, two);
  const auto blocks = reference_map(backend, two, false, {0, -1});
  REQUIRE(blocks.size() == 2 * last.size());
  for (std::size_t row = 0; row < last.size() / width; ++row) {
    const auto found = std::span(blocks).subspan(2 * row * width + width, width);
    CHECK(relative_difference<double, double>(found, std::span(last).subspan(row * width, width)) < 1e-12);
  }
  // The mirror image's references stand at mirrored points, whose numbers the map's columns run through backwards.
  const auto mean = reference_map(backend, two, true);
  FeatureExtractor<ViT<small>, Reference<double>> extractor(
      backend, {.height = image_height, .width = image_width, .references = two});
  extractor.load(drawn<double>(static_cast<std::size_t>(extractor.layout().total()), 4));
  std::vector<float> mirrored = drawn<float>(static_cast<std::size_t>(extractor.image_size()), 9);
  for (auto row = mirrored.begin(); row != mirrored.end(); row += image_width) std::reverse(row, row + image_width);
  extractor.forward(mirrored);
  const auto of_mirror = extractor.patch_map(0);
  double off = 0, moved = 0;
  for (Index y = 0; y < 6; ++y) {
    for (Index x = 0; x < 10; ++x) {
      for (Index d = 0; d < small.width; ++d) {
        const auto at = static_cast<std::size_t>((y * 10 + x) * small.width + d);
        off = std::max(off, std::abs(mean[at] - (last[at] + of_mirror(y * 10 + 9 - x, d)) / 2));
        moved = std::max(moved, std::abs(mean[at] - last[at]));
      }
    }
  }
  CHECK(off < 1e-12);
  CHECK(moved > 1e-3);
}

TEST_CASE("a map of references names what is wrong with it") {
  using Extractor = FeatureExtractor<ViT<small>, Reference<float>>;
  const Reference<float> backend;
  const auto thrown = [&](FeatureOptions options) {
    options.height = image_height;
    options.width = image_width;
    return thrown_by<OptionError>([&] { Extractor(backend, options); });
  };
  CHECK(contains(thrown({.references = {.per_patch = -1}}), "'references.per_patch' is -1; expected 0 (patches) to 64"));
  CHECK(contains(thrown({.references = {.points = {{0.5, 1.5}}}}), "'references.points' is (0.5, 1.5); expected coordinates from -1 to 1"));
  CHECK(contains(thrown({.references = {.per_patch = 1, .points = {{0, 0}}}}), "'references.points' is 1 points; expected none beside"));
  CHECK(contains(thrown({.reads = {.class_token = true}, .references = {.per_patch = 1}}), "'reads' is no patches"));
  Extractor plain(backend, {.height = image_height, .width = image_width});
  CHECK(contains(thrown_by<OptionError>([&] {
                   Extractor(plain, {.height = image_height, .width = image_width, .references = {.per_patch = 1, .learned = true}});
                 }),
                 "'references.learned' is true; expected as of the other's weights"));
  // Patches and references of one copy of the weights.
  Extractor dense(plain, {.height = image_height, .width = image_width, .references = {.per_patch = 4}});
  CHECK(plain.grid() == GridSize{3, 5});
  CHECK(dense.grid() == GridSize{12, 20});
  CHECK(dense.patch_grid() == GridSize{3, 5});
}

TEST_CASE("a backbone without queries attends evenly to what its tokens see") {
  TokenTrace<ViT<small>, Reference<double>> trace(
      Reference<double>(), {.height = image_height, .width = image_width, .references = 2});
  trace.load(std::vector<double>(static_cast<std::size_t>(trace.layout().total())));
  trace.forward(drawn<float>(static_cast<std::size_t>(trace.image_size()), 9), points);
  const AttentionRow of_class = trace.attention(-1, 1, TokenGroup::class_token);
  CHECK(of_class.class_token == Approx(1.0 / 16));
  CHECK(of_class.patches == std::vector<double>(15, 1.0 / 16));
  CHECK(of_class.references == std::vector<double>{0, 0});  // hidden from all but themselves
  const AttentionRow of_point = trace.attention(-1, 0, TokenGroup::reference, 1);
  CHECK(of_point.class_token == 0);
  CHECK(of_point.patches == std::vector<double>(15, 1.0 / 16));
  CHECK(of_point.references == std::vector<double>{0, 1.0 / 16});
}

#if __has_include(<dssl/backend/cpu.hpp>)
TEST_CASE("a trace is the same on every backend, and has the tokens that features have") {
  const auto exact = trace_of<private_relation>(Reference<double>(), false);
  const auto trace = trace_of<private_relation>(Cpu({.threads = 2}), false);
  CHECK(relative_difference<float, double>(trace.references().flat(), exact.references().flat()) < 1e-4);
  for (Index head = 0; head < small.heads; ++head) {
    CHECK(relative_difference<double, double>(
              all_shares(trace.attention(1, head, TokenGroup::reference, 0)),
              all_shares(exact.attention(1, head, TokenGroup::reference, 0))) < 1e-4);
  }
  FeatureExtractor<ViT<small>, Cpu> features(Cpu({.threads = 1}),
                                             {.height = image_height, .width = image_width});
  features.load(drawn<float>(static_cast<std::size_t>(features.layout().total()), 4));
  features.forward(drawn<float>(static_cast<std::size_t>(features.image_size()), 9));
  CHECK(relative_difference<float, float>(trace.patches().flat(), features.patch_map(0).flat()) < 1e-4);
  CHECK(relative_difference<float, float>(trace.class_token().flat(), features.class_tokens().flat()) < 1e-4);
}
#endif

TEST_CASE("a trace names what is asked of it and is not there") {
  using Trace = TokenTrace<ViT<small>, Reference<float>>;
  const Reference<float> backend;
  CHECK(contains(thrown_by<OptionError>([&] { Trace(backend, {.height = 13, .width = 20}); }),
                 "'height' is 13; expected a multiple of the patch, 4 pixels"));
  CHECK(
      contains(thrown_by<OptionError>([&] { Trace(backend, {.height = 12, .width = 20, .references = -1}); }),
               "'references' is -1"));
  Trace trace(backend, {.height = 12, .width = 20, .channels = 1});
  CHECK(trace.image_size() == 240);
  CHECK(trace.references().empty());
  const std::vector<float> image(240);
  CHECK(
      contains(thrown_by<ShapeError>([&] { trace.forward(image, points); }), "2 points; expected 240 and 0"));
  trace.forward(image);
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(trace.attention(3, 0, TokenGroup::patch)); }),
                 "'block' is 3; expected -3 to 2"));
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(trace.attention(0, 2, TokenGroup::patch)); }),
                 "'head' is 2; expected 0 to 1"));
  CHECK(contains(
      thrown_by<OptionError>([&] { static_cast<void>(trace.attention(0, 0, TokenGroup::reference)); }),
      "'token' is 0"));
}
