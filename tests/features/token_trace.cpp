// Who attends to whom: against what the blocks themselves made of it.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
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
