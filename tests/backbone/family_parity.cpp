// Whole ViTs with options of DINOv2 and DINOv3 against the numbers of their own code: outputs and gradients of several
// sizes, with masked patches and without.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backbone/vit_runner.hpp"
#include "catch.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

using namespace dssl;

namespace {

/// Elements [first, first + size) of a published tensor.
struct Part {
  std::string name;
  Index first = 0, size = 0;
};

/// Where the numbers of a parameter of ours lie in the published ones, one part after the other: the class token's
/// position is the table's first row, DINOv3 keeps the layers of gates and of values apart.
std::vector<Part> parts_of(const SafetensorsFile& file, const ParameterSpec& spec, Index width) {
  const std::string name(spec.name.view());
  const Index half = spec.size / 2;
  const auto w12 = name.find("mlp.w12.");
  if (name == "cls_pos_embed") return {{"pos_embed", 0, spec.size}};
  if (name == "patch_pos_embed") return {{"pos_embed", width, spec.size}};
  if (w12 != std::string::npos && !file.contains("weight." + name)) {
    const std::string block = name.substr(0, w12), part = name.substr(w12 + 8);
    return {{block + "mlp.w1." + part, 0, half}, {block + "mlp.w2." + part, 0, half}};
  }
  if (name == "register_tokens" && !file.contains("weight." + name)) return {{"storage_tokens", 0, spec.size}};
  return {{name, 0, spec.size}};
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

/// Weights as the file has them; periods of rotary positions that it leaves to its base are drawn as ever.
template <class B>
void load_weights(test::VitRunner<B>& runner, const test::ObjectiveFixture& fixture, Index width) {
  using T = typename B::Scalar;
  for (const ParameterSpec& spec : runner.parameters().specs()) {
    const auto to =
        runner.weights().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
    if (spec.initial == InitialValues::rotary_periods &&
        !fixture.file().contains("weight." + std::string(spec.name.view()))) {
      RandomStream unused({});
      draw_initial(to, spec, unused);
      continue;
    }
    auto next = to.begin();
    for (const Part& part : parts_of(fixture.file(), spec, width)) {
      const auto values = fixture.read<T>("weight." + part.name);
      INFO(part.name);
      REQUIRE(static_cast<std::size_t>(part.first + part.size) <= values.size());
      next = std::copy_n(values.begin() + part.first, part.size, next);
    }
  }
}

/// Gradients of all that is trained, under their published names.
template <class B>
std::map<std::string, std::vector<typename B::Scalar>> published_gradients(test::VitRunner<B>& runner,
                                                                           const SafetensorsFile& file, Index width) {
  std::map<std::string, std::vector<typename B::Scalar>> gradients;
  for (const ParameterSpec& spec : runner.parameters().specs()) {
    if (!spec.trained) continue;
    auto from = runner.gradients().begin() + spec.offset;
    for (const Part& part : parts_of(file, spec, width)) {
      auto& to = gradients[part.name];
      to.resize(std::max(to.size(), static_cast<std::size_t>(part.first + part.size)));
      std::copy_n(from, part.size, to.begin() + part.first);
      from += part.size;
    }
  }
  return gradients;
}

/// What comes out of a pass under `prefix`, and where the file has gradients of that pass, these.
template <class B>
void check_pass(test::VitRunner<B>& runner, const test::ObjectiveFixture& fixture, const std::string& view,
                const std::string& prefix, Index width) {
  using T = typename B::Scalar;
  const TokenLayout& tokens = runner.tokens();
  const MatrixView<const T> out = runner.template forward<open_relation>();
  std::vector<T> d_out;
  const bool backward = fixture.file().contains(prefix + "grad.cls_token");
  const auto expect = [&](const std::string& key, Index first, Index count) {
    const auto rows =
        out.flat().subspan(static_cast<std::size_t>(first * width), static_cast<std::size_t>(count * width));
    fixture.expect(prefix + key, std::vector<T>(rows.begin(), rows.end()));
    if (!backward) return;
    const auto upstream = fixture.read<T>(view + "d_" + key);
    d_out.insert(d_out.end(), upstream.begin(), upstream.end());
  };
  const Index registers = tokens.read_register_count();
  expect("class", tokens.output_begin(TokenGroup::class_token), tokens.sequence_count());
  expect("patch", tokens.output_begin(TokenGroup::patch), tokens.read_patch_count());
  if (registers > 0) expect("register", tokens.read_count() - registers, registers);
  if (!backward) return;
  REQUIRE(d_out.size() == static_cast<std::size_t>(out.size()));
  runner.template backward<open_relation>(MatrixView<const T>(d_out.data(), out.rows(), out.cols()));
  for (const auto& [name, gradient] : published_gradients(runner, fixture.file(), width)) {
    // A mask token that no patch has: the published code has a gradient of zeros, or none.
    if (name == "mask_token" && prefix == view && !fixture.file().contains(prefix + "grad." + name)) {
      CHECK(std::all_of(gradient.begin(), gradient.end(), [](T v) { return v == T{0}; }));
      continue;
    }
    fixture.expect(prefix + "grad." + name, gradient);
  }
}

template <class B>
void check(const B& backend, const std::string& name) {
  const test::ObjectiveFixture fixture(name);
  const SafetensorsFile& file = fixture.file();
  const ViTConfig config = config_of(fixture.config(), file);
  INFO(backend.describe() << ", " << name);
  for (const StoredTensor& tensor : file.tensors()) {
    if (!tensor.name.ends_with(".image")) continue;
    const std::string view = tensor.name.substr(0, tensor.name.size() - 5);
    INFO("view " << view);
    test::VitRunner<B> runner(backend, config, LearnedTokens{.mask = true},
                              {{.count = tensor.shape[0],
                                .grid = {tensor.shape[2] / config.patch, tensor.shape[3] / config.patch},
                                .registers = config.registers,
                                .registers_read = true}},
                              {.class_token = true, .patch = true});
    load_weights(runner, fixture, config.width);
    const auto image = fixture.read<typename B::Scalar>(tensor.name);
    REQUIRE(image.size() == runner.image(0).size());
    std::copy(image.begin(), image.end(), runner.image(0).begin());
    check_pass(runner, fixture, view, view, config.width);

    const auto mask = fixture.read<std::uint8_t>(view + "mask");
    REQUIRE(static_cast<Index>(mask.size()) == runner.tokens().patch_count());
    std::vector<std::int32_t> masked;
    for (std::size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] != 0) masked.push_back(static_cast<std::int32_t>(i));
    }
    runner.mask(masked);
    check_pass(runner, fixture, view, view + "masked.", config.width);
  }
  CHECK(fixture.left_out() == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("ViTs with the options of DINOv2 and DINOv3 give the published outputs and gradients") {
  for (const std::string name : {"vit_dinov2", "vit_dinov2_registers", "vit_dinov3"}) {
    check(Reference<double>(), name);
    check(Reference<float>(), name);
    check(Cpu({.threads = 2}), name);
  }
}
