// Whole ViTs with options of DINOv2 and DINOv3 against the numbers of their own code: the outputs at several sizes.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "backbone/vit_runner.hpp"
#include "catch.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

using namespace dssl;

namespace {

/// The published names of a parameter of ours, whose numbers follow each other here.
std::vector<std::string> published_names(const SafetensorsFile& file, const std::string& name) {
  const auto w12 = name.find("mlp.w12.");
  if (w12 != std::string::npos && !file.contains("weight." + name)) {
    const std::string block = name.substr(0, w12), part = name.substr(w12 + 8);
    return {block + "mlp.w1." + part, block + "mlp.w2." + part};
  }
  if (name == "register_tokens" && !file.contains("weight." + name)) return {"storage_tokens"};
  return {name};
}

/// The position table's first row is the class token's.
template <class T>
std::vector<T> weight_of(const SafetensorsFile& file, const std::string& name) {
  if (name == "cls_pos_embed" || name == "patch_pos_embed") {
    auto table = file.read<T>("weight.pos_embed");
    const auto row = static_cast<std::ptrdiff_t>(file.shape("weight.pos_embed").back());
    if (name == "cls_pos_embed") return {table.begin(), table.begin() + row};
    return {table.begin() + row, table.end()};
  }
  std::vector<T> values;
  for (const std::string& part : published_names(file, name)) {
    const auto more = file.read<T>("weight." + part);
    values.insert(values.end(), more.begin(), more.end());
  }
  return values;
}

ViTConfig config_of(const test::FixtureConfig& c, const SafetensorsFile& file) {
  const bool rotary = c.contains("base");
  ViTConfig config{.image = c.get<Index>("image"),
                   .patch = c.get<Index>("patch"),
                   .width = c.get<Index>("dim"),
                   .depth = c.get<Index>("depth"),
                   .heads = c.get<Index>("heads"),
                   .mlp_ratio = static_cast<Index>(std::lround(c.get<double>("ratio"))),
                   .channels = 3,
                   .registers = c.get<Index>("registers"),
                   .positions = rotary ? Positions::rotary : Positions::learned,
                   .qkv_bias = c.get<bool>("mask_k_bias", false) ? QkvBias::no_key : QkvBias::full,
                   .swiglu = c.get<bool>("swiglu"),
                   .norm_exponent = static_cast<Index>(std::lround(-std::log10(c.get<double>("ln_eps")))),
                   .layer_scale = c.get<bool>("layerscale"),
                   .class_norm = file.contains("weight.cls_norm.weight")};
  if (c.get<bool>("interpolate_antialias", false)) {
    config.position_rule = PositionRule::size_antialiased;
  } else if (!rotary && c.get<double>("interpolate_offset") == 0) {
    config.position_rule = PositionRule::size;
  }
  return config;
}

template <class B>
void check(const B& backend, const std::string& name) {
  using T = typename B::Scalar;
  const test::ObjectiveFixture fixture(name);
  const SafetensorsFile& file = fixture.file();
  const ViTConfig config = config_of(fixture.config(), file);
  INFO(backend.describe() << ", " << name);
  int views = 0;
  for (const std::string view : {"native", "wide"}) {
    if (!file.contains(view + ".image")) continue;
    ++views;
    const auto& shape = file.shape(view + ".image");
    test::VitRunner<B> runner(backend, config, false,
                              {{.count = shape[0],
                                .grid = {shape[2] / config.patch, shape[3] / config.patch},
                                .registers = config.registers}},
                              {.class_token = true, .patch = true});
    const auto load = [&](const ParameterSpec& spec, const std::vector<T>& values) {
      REQUIRE(values.size() == static_cast<std::size_t>(spec.size));
      std::copy(values.begin(), values.end(), runner.weights().begin() + spec.offset);
    };
    for (const auto& spec : runner.parameters().specs()) {
      if (spec.name.view() == "rope_embed.periods" && !file.contains("weight.rope_embed.periods")) {
        RandomStream unused({});
        draw_initial(runner.weights().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)),
                     spec, unused);
        continue;
      }
      load(spec, weight_of<T>(file, std::string(spec.name.view())));
    }
    file.read_into(runner.image(0), view + ".image");
    const auto expect = [&](TokenGroup group, const std::string& key) {
      const MatrixView<const T> out = runner.template forward<open_relation>();
      const auto first = out.flat().begin() + runner.tokens().output_begin(group) * config.width;
      const auto size = static_cast<std::ptrdiff_t>(file.tensor(view + "." + key).size());
      fixture.expect(view + "." + key, std::vector<T>(first, first + size));
    };
    expect(TokenGroup::patch, "patch");
    expect(TokenGroup::class_token, "class");
  }
  CHECK(views > 0);
}

}  // namespace

TEST_CASE("ViTs with the options of DINOv2 and DINOv3 give the published outputs") {
  for (const std::string name : {"vit_dinov2", "vit_dinov2_registers", "vit_dinov3"}) {
    check(Reference<double>(), name);
    check(Reference<float>(), name);
    check(Cpu({.threads = 2}), name);
  }
}
