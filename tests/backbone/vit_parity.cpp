// The backbone against the reference numbers: every relation, several view sizes, one and five channels.
#include <cmath>
#include <string>
#include <vector>

#include "../compare.hpp"
#include "../fixtures.hpp"
#include "backbone/vit_runner.hpp"
#include "catch.hpp"

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#define DSSL_TEST_HAS_CPU
#endif

using namespace dssl;
using dssl::test::relative_difference;

namespace {

const std::vector<std::string> fixtures{"backbone_020",
                                        "backbone_all2pos",
                                        "backbone_all2pos_pos2cls",
                                        "backbone_all2pos_pos2cls_eye",
                                        "backbone_all2pos_pos2cls_eye_learnable",
                                        "backbone_all_query",
                                        "backbone_channels1",
                                        "backbone_channels5"};

template <class B>
void load_weights(test::VitRunner<B>& runner, const SafetensorsFile& file) {
  for (const auto& spec : runner.parameters().specs()) {
    file.read_into(runner.weights().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)),
                   "weight." + std::string(spec.name.view()));
  }
}

ViTConfig config_of(const test::FixtureConfig& c) {
  return {.image = c.get<Index>("image"),
          .patch = c.get<Index>("patch"),
          .width = c.get<Index>("dim"),
          .depth = c.get<Index>("depth"),
          .heads = c.get<Index>("heads"),
          .mlp_ratio = static_cast<Index>(std::lround(c.get<double>("ratio"))),
          .channels = c.get<Index>("channels")};
}

template <class B>
void check(const B& backend, const std::string& name) {
  using T = typename B::Scalar;
  const auto file = SafetensorsFile::open(test::fixture_path(name + ".safetensors"));
  const test::FixtureConfig json(file);
  const ViTConfig config = config_of(json);
  for (const std::string view : {"native", "small", "wide"}) {
    if (!file.contains(view + ".image")) continue;
    INFO(backend.describe() << ", " << name << ", view " << view);
    const auto shape = file.shape(view + ".image");
    const auto points = file.shape(view + ".points");
    const Index references = points[1] * points[2];
    test::VitRunner<B> runner(
        backend, config, json.get<bool>("learnable_reference"),
        {{.count = shape[0], .grid = {shape[2] / config.patch, shape[3] / config.patch}, .references = references}},
        all_groups);
    load_weights(runner, file);
    file.read_into(runner.image(0), view + ".image");
    const auto xy = file.read<double>(view + ".points");
    runner.points(std::span<const double>(xy));

    test::with_relation(json.get<std::string>("relation"), [&]<AttentionRelation R>() {
      const MatrixView<const T> out = runner.template forward<R>();
      std::vector<T> d_out;
      const auto compare = [&](TokenGroup group, const std::string& key) {
        const auto expected = file.read<double>(view + "." + key);
        const auto upstream = file.read<T>(view + ".d_" + key);
        d_out.insert(d_out.end(), upstream.begin(), upstream.end());
        const auto first = static_cast<std::size_t>(runner.tokens().output_begin(group) * config.width);
        INFO("output " << key);
        CHECK(relative_difference<T, double>(out.flat().subspan(first, expected.size()), expected) < 1e-5);
      };
      compare(TokenGroup::class_token, "class");
      compare(TokenGroup::reference, "reference");
      compare(TokenGroup::patch, "patch");

      runner.template backward<R>(MatrixView<const T>(d_out.data(), out.rows(), out.cols()));
      for (const auto& spec : runner.parameters().specs()) {
        const std::string parameter(spec.name.view());
        const auto expected = file.read<double>(view + ".grad." + parameter);
        const std::span<const T> actual = runner.gradients().subspan(static_cast<std::size_t>(spec.offset),
                                                                     static_cast<std::size_t>(spec.size));
        INFO("gradient of " << parameter);
        CHECK(relative_difference<T, double>(actual, expected) < 1e-4);
      }

      if (!file.contains(view + ".attention")) return;
      // The attention itself, from the last block's queries and keys, in the published order
      // (class, reference, patch).
      const auto& block = runner.activations().blocks.back();
      const auto expected = file.read<double>(view + ".attention");
      const Sequence& s = runner.tokens().sequences()[0];
      const auto row_of = [&](Index published) {
        if (published == 0) return Index{0};
        return published <= s.references ? s.patches + published : published - s.references;
      };
      const Index d = config.width / config.heads;
      std::vector<double> actual;
      for (const Sequence& sequence : runner.tokens().sequences()) {
        for (Index h = 0; h < config.heads; ++h) {
          for (Index i = 0; i < s.tokens(); ++i) {
            for (Index j = 0; j < s.tokens(); ++j) {
              double p = 0;
              if (reference::sees<R>(sequence, row_of(i), row_of(j))) {
                double dot = 0;
                for (Index c = 0; c < d; ++c) {
                  dot += static_cast<double>(block.qkv(sequence.first + row_of(i), h * d + c)) *
                         static_cast<double>(block.qkv(sequence.first + row_of(j), config.width + h * d + c));
                }
                p = std::exp(dot / std::sqrt(static_cast<double>(d)) -
                             static_cast<double>(block.log_sum(sequence.first + row_of(i), h)));
              }
              actual.push_back(p);
            }
          }
        }
      }
      CHECK(relative_difference<double, double>(actual, expected) < 1e-5);
    });
  }
}

}  // namespace

TEST_CASE("the backbone gives the published outputs and gradients") {
  for (const auto& name : fixtures) {
    check(Reference<double>(), name);
    check(Reference<float>(), name);
#ifdef DSSL_TEST_HAS_CPU
    check(Cpu({.threads = 1}), name);
    check(Cpu({.threads = 2}), name);
#endif
  }
}
