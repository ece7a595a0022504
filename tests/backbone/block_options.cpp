// Options of a ViT's blocks: the norms' epsilon, LayerScale. Slopes, what they change, one backend against another.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../compare.hpp"
#include "../gradient_check.hpp"
#include "backbone/vit_runner.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

using namespace dssl;
using dssl::test::fill_normal;
using dssl::test::gradient_difference;
using dssl::test::normal_values;
using dssl::test::relative_difference;

namespace {

constexpr ViTConfig plain{
    .image = 8, .patch = 2, .width = 8, .depth = 3, .heads = 2, .mlp_ratio = 2, .channels = 2, .registers = 2};

constexpr ViTConfig scaled_config() {
  ViTConfig c = plain;
  c.layer_scale = true;
  return c;
}
constexpr ViTConfig scaled = scaled_config();

const std::vector<ViewGroup> two_sizes{{.count = 2, .grid = {3, 4}, .references = 3, .registers = 2},
                                       {.count = 1, .grid = {4, 2}, .references = 2, .registers = 2}};
constexpr GroupSet class_and_patches{.class_token = true, .patch = true};

std::span<double> tensor(std::span<double> flat, const ParameterSpec& spec) {
  return flat.subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
}

/// Numbers that are the same for a tensor of the same name in every layout.
std::uint64_t seed_of(std::string_view name) {
  std::uint64_t seed = 7;
  for (const char c : name) seed = 31 * seed + static_cast<unsigned char>(c);
  return seed;
}

template <class B>
void draw(test::VitRunner<B>& runner) {
  using T = typename B::Scalar;
  const auto put = [](std::span<T> to, const std::vector<double>& from) {
    std::transform(from.begin(), from.end(), to.begin(), [](double v) { return static_cast<T>(v); });
  };
  for (const auto& spec : runner.parameters().specs()) {
    std::vector<double> values = normal_values(static_cast<std::size_t>(spec.size), seed_of(spec.name.view()), 0.4);
    const bool around_one = spec.initial == InitialValues::one || spec.initial == InitialValues::power_of_ten;
    for (double& v : values) v += around_one ? 1.0 : 0.0;
    put(runner.weights().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)), values);
  }
  for (std::size_t g = 0; g < runner.tokens().groups().size(); ++g) {
    put(runner.image(g), normal_values(runner.image(g).size(), 1000 + g));
  }
  const std::vector<double> points =
      normal_values(static_cast<std::size_t>(2 * runner.tokens().reference_count()), 5, 0.5);
  runner.points(std::span<const double>(points));
}

template <class B>
std::vector<typename B::Scalar> upstream_of(const test::VitRunner<B>& runner, Index width) {
  const auto values = normal_values(static_cast<std::size_t>(runner.tokens().read_count() * width), 7);
  return {values.begin(), values.end()};
}

/// A number beside all keys of a head, which changes no share unless each key is turned by its place.
bool is_constant(const ParameterSpec& spec, const ViTConfig& config) {
  return spec.name.view().ends_with("k_norm.bias") && !config.rotary();
}

/// Every parameter's gradient against central differences, with and without branches that are dropped and scaled.
template <AttentionRelation R>
void check_slopes(const ViTConfig& config, GroupSet reads, bool recompute, bool with_keep,
                  const std::vector<ViewGroup>& groups = two_sizes) {
  INFO("recompute " << recompute << ", keep " << with_keep);
  test::VitRunner<Reference<double>> runner({}, config, true, groups, reads, true, recompute);
  draw(runner);
  std::vector<double> keep(static_cast<std::size_t>(2 * config.depth * runner.tokens().sequence_count()), 1.0);
  for (std::size_t i = 0; i < keep.size(); ++i) keep[i] = i % 5 == 1 ? 0.0 : 1.0 + 0.25 * static_cast<double>(i % 3);
  const auto branches = with_keep ? runner.branches(keep) : std::span<const BranchKeep<double>>();
  const auto upstream = upstream_of(runner, config.width);
  const auto loss = [&] { return test::dot(runner.forward<R>(branches).flat(), upstream); };
  runner.spoil();
  loss();
  runner.backward<R>(MatrixView<const double>(upstream.data(), runner.tokens().read_count(), config.width), false,
                     branches);
  std::uint64_t seed = 400;
  for (const auto& spec : runner.parameters().specs()) {
    INFO("gradient of " << spec.name.view());
    const auto found =
        gradient_difference(tensor(runner.weights(), spec), tensor(runner.gradients(), spec), loss, seed++);
    INFO("norm " << found.norm << ", difference " << found.difference);
    if (!spec.trained) {
      CHECK(found.norm == 0);
      continue;
    }
    if (is_constant(spec, config)) {
      CHECK((found.norm < 1e-9 && found.difference < 1e-7));
      continue;
    }
    CHECK(found.small());
    CHECK((found.norm > 1e-3 || (spec.name.view() == "ref_learn_token" && !reads.reference)));
  }
}

/// Outputs and gradients of a backend against those of the plain loops in double.
template <class B>
void check_backend(const B& backend, const ViTConfig& config, double tolerance,
                   const std::vector<ViewGroup>& groups = two_sizes) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  test::VitRunner<Reference<double>> oracle({}, config, true, groups, class_and_patches);
  test::VitRunner<B> runner(backend, config, true, groups, class_and_patches);
  draw(oracle);
  draw(runner);
  const auto expected = oracle.template forward<private_relation>();
  const auto out = runner.template forward<private_relation>();
  CHECK(relative_difference<T, double>(out.flat(), expected.flat()) < tolerance);
  const auto d_expected = upstream_of(oracle, config.width);
  const auto d_out = upstream_of(runner, config.width);
  oracle.template backward<private_relation>(MatrixView<const double>(d_expected.data(), out.rows(), out.cols()));
  runner.template backward<private_relation>(MatrixView<const T>(d_out.data(), out.rows(), out.cols()));
  for (const auto& spec : runner.parameters().specs()) {
    if (spec.name.view() == "ref_learn_token" || is_constant(spec, config)) continue;
    INFO("gradient of " << spec.name.view());
    const auto first = static_cast<std::size_t>(spec.offset), size = static_cast<std::size_t>(spec.size);
    CHECK(relative_difference<T, double>(runner.gradients().subspan(first, size),
                                         oracle.gradients().subspan(first, size)) < 10 * tolerance);
  }
}

}  // namespace

TEST_CASE("LayerScale's gradients are its slopes, and all others' with it") {
  for (const bool recompute : {false, true}) {
    for (const bool keep : {false, true}) {
      check_slopes<private_relation>(scaled, class_and_patches, recompute, keep);
      check_slopes<open_relation>(scaled, {.class_token = true}, recompute, keep);
    }
  }
  ViTConfig other = scaled;
  other.depth = 1;
  other.norm_exponent = 1;
  check_slopes<private_relation>(other, all_groups, false, true);
}

TEST_CASE("LayerScale's numbers: names, first values, no weight decay") {
  ViTConfig config = scaled;
  config.layer_scale_exponent = 4;
  const ParameterLayout layout = vit_layout(config);
  CHECK(layout.size() == vit_layout(plain).size() + 6);
  std::vector<double> flat(static_cast<std::size_t>(layout.total()));
  initialise(std::span<double>(flat), layout, 3);
  for (const std::string name : {"blocks.0.ls1.gamma", "blocks.2.ls2.gamma"}) {
    const ParameterSpec& spec = layout.find(name);
    CHECK(spec.size == plain.width);
    CHECK_FALSE(spec.decayed());
    CHECK(spec.trained);
    for (const double v : tensor(flat, spec)) CHECK(v == 1e-4);
  }
  for (Index n = 0; n <= 12; ++n) CHECK(negative_power_of_ten(n) == std::stod("1e-" + std::to_string(n)));
  CHECK(ViTFamily::describe(config).ends_with(", registers 2, LayerScale"));
  CHECK(ViTFamily::describe(plain).ends_with(", registers 2"));
}

TEST_CASE("LayerScale folded into the weights gives the same") {
  test::VitRunner<Reference<double>> with({}, scaled, true, two_sizes, all_groups);
  test::VitRunner<Reference<double>> without({}, plain, true, two_sizes, all_groups, false);
  draw(with);
  draw(without);  // images and points
  const LearnedTokens learned{.reference = true};
  const auto expected = with.forward<private_relation>();
  const auto before = without.forward<private_relation>();
  CHECK(relative_difference<double, double>(before.flat(), expected.flat()) > 0.1);
  fold_layer_scale<double>(without.weights(), with.weights(), scaled, learned);
  CHECK(relative_difference<double, double>(without.forward<private_relation>().flat(), expected.flat()) < 1e-13);
  CHECK_THROWS_AS(fold_layer_scale<double>(without.weights(), with.weights(), scaled), ShapeError);
}

TEST_CASE("the norms' epsilon is the option's, in every norm") {
  ViTConfig coarse = plain;
  coarse.norm_exponent = 1;
  test::VitRunner<Reference<double>> runner({}, coarse, true, two_sizes, all_groups);
  draw(runner);
  runner.forward<private_relation>();
  // Of each norm: what it kept is 1 / sqrt(var + epsilon) of what it normed.
  const auto check = [&](MatrixView<const double> x, VectorView<const double> inverse_std) {
    for (Index m = 0; m < x.rows(); ++m) {
      const auto width = static_cast<double>(x.cols());
      double mean = 0, variance = 0;
      for (Index d = 0; d < x.cols(); ++d) mean += x(m, d) / width;
      for (Index d = 0; d < x.cols(); ++d) variance += (x(m, d) - mean) * (x(m, d) - mean) / width;
      CHECK(std::abs(inverse_std.data()[m] - 1 / std::sqrt(variance + 0.1)) < 1e-12);
    }
  };
  const auto& a = runner.activations();
  for (std::size_t i = 0; i < a.blocks.size(); ++i) {
    check(i == 0 ? a.x : a.blocks[i - 1].out, a.blocks[i].inverse_std1);
    check(a.blocks[i].middle, a.blocks[i].inverse_std2);
  }
  check(a.blocks.back().out, a.inverse_std);
  check_slopes<private_relation>(coarse, class_and_patches, true, true);
  CHECK(ViTFamily::describe(coarse).ends_with(", norm epsilon 1e-1"));
}

TEST_CASE("SwiGLU's gradients are its slopes, alone and with LayerScale") {
  ViTConfig config = plain;
  config.swiglu = true;
  for (const bool recompute : {false, true}) {
    check_slopes<private_relation>(config, class_and_patches, recompute, !recompute);
    config.layer_scale = true;
    check_slopes<open_relation>(config, all_groups, recompute, true);
  }
  check_backend(Cpu({.threads = 2}), config, 1e-5);
  CHECK(ViTFamily::describe(config).ends_with(", SwiGLU of 16, LayerScale"));
}

TEST_CASE("SwiGLU's width is two thirds of an MLP's, up to a multiple") {
  CHECK(swiglu_hidden(4 * 1536) == 4096);  // DINOv2 giant
  CHECK(swiglu_hidden(4 * 32) == 88);
  CHECK(swiglu_hidden(6 * 384) == 1536);  // DINOv3 small plus
  CHECK(swiglu_hidden(3 * 4096, 64) == 8192);  // DINOv3 7B
  CHECK(swiglu_hidden(100, 1) == 66);
  const ParameterLayout layout = vit_layout({.width = 32, .depth = 1, .heads = 4, .swiglu = true});
  CHECK(layout.find("blocks.0.mlp.w12.weight").shape() == std::vector<Index>{176, 32});
  CHECK(layout.find("blocks.0.mlp.w12.bias").shape() == std::vector<Index>{176});
  CHECK(layout.find("blocks.0.mlp.w3.weight").shape() == std::vector<Index>{32, 88});
}

TEST_CASE("rotary positions: all slopes, and keys without bias") {
  ViTConfig config = plain;
  config.positions = Positions::rotary;
  for (const QkvBias bias : {QkvBias::full, QkvBias::no_key, QkvBias::none}) {
    config.qkv_bias = bias;
    check_slopes<private_relation>(config, all_groups, false, true);
    check_slopes<open_relation>(config, class_and_patches, true, false);
    check_backend(Cpu({.threads = 2}), config, 1e-5);
  }
  CHECK(ViTFamily::describe(config).ends_with(", rotary positions, no bias of queries, keys and values"));
  const ParameterLayout layout = vit_layout(config);
  CHECK(layout.find("rope_embed.periods").size == 1);
  CHECK_FALSE(layout.find("rope_embed.periods").trained);
  CHECK(std::none_of(layout.specs().begin(), layout.specs().end(), [](const ParameterSpec& spec) {
    return spec.name.view().find("pos_embed") != std::string_view::npos ||
           spec.name.view().find("qkv.bias") != std::string_view::npos;
  }));
  const ParameterLayout wide = vit_layout({.width = 64, .depth = 1, .heads = 2, .positions = Positions::rotary});
  std::vector<double> flat(static_cast<std::size_t>(wide.total()));
  initialise(std::span<double>(flat), wide, 3);
  const auto periods = tensor(flat, wide.find("rope_embed.periods"));
  CHECK(periods.size() == 8);
  for (std::size_t j = 0; j < 8; ++j) CHECK(std::abs(periods[j] - std::pow(100, static_cast<double>(j) / 8)) < 1e-12);
}

TEST_CASE("norms of queries and keys: all slopes, with and without turns, names and first values") {
  ViTConfig config = plain;
  config.qk_norm = true;
  for (const Positions positions : {Positions::learned, Positions::rotary}) {
    config.positions = positions;
    check_slopes<private_relation>(config, all_groups, false, true);
    check_slopes<open_relation>(config, class_and_patches, true, false);
    check_backend(Cpu({.threads = 2}), config, 1e-5);
  }
  CHECK(ViTFamily::describe(config).ends_with(", norms of queries and keys"));
  const ParameterLayout layout = vit_layout(config);
  for (const char* const name : {"blocks.0.attn.q_norm.weight", "blocks.2.attn.k_norm.weight"}) {
    CHECK(layout.find(name).size == 4);  // of a head
    CHECK(layout.find(name).initial == InitialValues::one);
    CHECK_FALSE(layout.find(name).decayed());
  }
  CHECK(layout.find("blocks.1.attn.q_norm.bias").size == 4);
}

TEST_CASE("norms of queries and keys make attention blind to how long they are, and to nothing else") {
  ViTConfig config = plain;
  config.qk_norm = true;
  config.norm_exponent = 12;
  config.depth = 1;
  test::VitRunner<Reference<double>> runner({}, config, true, two_sizes, class_and_patches);
  draw(runner);
  const auto out = runner.forward<private_relation>();
  const std::vector<double> before(out.flat().begin(), out.flat().end());
  const auto qkv = tensor(runner.weights(), runner.parameters().find("blocks.0.attn.qkv.weight"));
  const auto bias = tensor(runner.weights(), runner.parameters().find("blocks.0.attn.qkv.bias"));
  const auto scale = [&](std::size_t part, double by) {
    const std::size_t each = qkv.size() / 3, some = bias.size() / 3;
    for (double& v : qkv.subspan(part * each, each)) v *= by;
    for (double& v : bias.subspan(part * some, some)) v *= by;
  };
  scale(0, 3);
  scale(1, 0.25);
  CHECK(relative_difference<const double, const double>(runner.forward<private_relation>().flat(), before) < 1e-9);
  scale(2, 3);
  CHECK(relative_difference<const double, const double>(runner.forward<private_relation>().flat(), before) > 1e-2);
}

TEST_CASE("positions of sines and cosines, a table that is not trained, and none") {
  ViTConfig config = plain;
  config.positions = Positions::sincos;
  check_slopes<private_relation>(config, all_groups, false, true);
  check_backend(Cpu({.threads = 2}), config, 1e-5);
  CHECK(ViTFamily::describe(config).ends_with(", positions of sines and cosines"));
  const ParameterLayout layout = vit_layout(config);
  std::vector<double> flat(static_cast<std::size_t>(layout.total())), expected(static_cast<std::size_t>(16 * config.width));
  initialise(std::span<double>(flat), layout, 3);
  sincos_positions(MatrixView<double>(expected.data(), 16, config.width), config.native_grid(), SincosOrder::column_first);
  const auto table = tensor(flat, layout.find("patch_pos_embed"));
  CHECK(std::equal(table.begin(), table.end(), expected.begin(), expected.end()));
  for (const double v : tensor(flat, layout.find("cls_pos_embed"))) CHECK(v == 0);

  config.positions = Positions::none;
  std::vector<ViewGroup> alone = two_sizes;
  for (ViewGroup& group : alone) group.references = 0;
  check_slopes<open_relation>(config, class_and_patches, true, true, alone);
  check_backend(Cpu({.threads = 2}), config, 1e-5, alone);
  CHECK(ViTFamily::describe(config).ends_with(", no positions"));
  CHECK_THROWS_WITH(test::VitRunner<Reference<double>>({}, config, true, two_sizes, all_groups),
                    Catch::Contains("positions") && Catch::Contains("reference tokens, which are placed by them"));
}

TEST_CASE("with rotary positions a reference at a patch's centre stands where the patch stands") {
  // Patches without content are as references are, but for where they stand.
  ViTConfig config = plain;
  config.positions = Positions::rotary;
  config.depth = 1;
  config.registers = 0;
  const ViewGroup group{.count = 1, .grid = {3, 4}, .references = 12};
  test::VitRunner<Reference<double>> runner({}, config, false, {group}, all_groups);
  draw(runner);
  for (const char* const name : {"patch_embed.proj.weight", "patch_embed.proj.bias"}) {
    for (double& v : tensor(runner.weights(), runner.parameters().find(name))) v = 0;
  }
  std::vector<double> centres;
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 4; ++j) {
      centres.push_back((2 * static_cast<double>(j) + 1) / 4 - 1);
      centres.push_back((2 * static_cast<double>(i) + 1) / 3 - 1);
    }
  }
  runner.points(std::span<const double>(centres));
  // The relation in which references are seen and see as patches do.
  const auto out = runner.forward<open_relation>();
  const Index patches = runner.tokens().output_begin(TokenGroup::patch);
  const Index references = runner.tokens().output_begin(TokenGroup::reference);
  double apart = 0;
  for (Index n = 0; n < 12; ++n) {
    for (Index d = 0; d < config.width; ++d) {
      CHECK(std::abs(out(patches + n, d) - out(references + n, d)) < 1e-12);
      apart = std::max(apart, std::abs(out(patches + n, d) - out(patches, d)));
    }
  }
  CHECK(apart > 1e-3);
}

TEST_CASE("a pass that keeps nothing gives the same with any options") {
  ViTConfig config = scaled;
  config.swiglu = true;
  config.position_rule = PositionRule::size_antialiased;
  test::VitRunner<Cpu> saved(Cpu({.threads = 1}), config, true, two_sizes, class_and_patches);
  test::VitRunner<Cpu> forward_only(Cpu({.threads = 1}), config, true, two_sizes, class_and_patches, false);
  draw(saved);
  draw(forward_only);
  const auto expected = saved.forward<private_relation>();
  forward_only.forward<private_relation>();
  const auto got = forward_only.forward<private_relation>();
  CHECK(std::equal(expected.flat().begin(), expected.flat().end(), got.flat().begin(), got.flat().end()));
}

TEST_CASE("a position table's gradients are its slopes by every rule") {
  for (const PositionRule rule : {PositionRule::size, PositionRule::size_antialiased, PositionRule::corners}) {
    INFO(name_of(rule));
    ViTConfig config = plain;
    config.depth = 1;
    config.position_rule = rule;
    check_slopes<private_relation>(config, all_groups, false, false);
    CHECK(ViTFamily::describe(config).ends_with(join(", positions by ", name_of(rule))));
    check_backend(Cpu({.threads = 2}), config, 1e-5);
  }
}

TEST_CASE("Cpu computes blocks with options as the plain loops do") {
  ViTConfig config = scaled;
  config.norm_exponent = 5;
  check_backend(Cpu({.threads = 1}), config, 1e-5);
  check_backend(Cpu({.threads = 2}), config, 1e-5);
  check_backend(Reference<float>(), config, 1e-5);
}

namespace {

/// References at other points, alone after a pass, against a whole pass with them.
template <class B>
void check_references(const B& backend, const ViTConfig& config, double tolerance) {
  using T = typename B::Scalar;
  INFO(backend.describe() << ", " << ViTFamily::describe(config));
  test::VitRunner<B> again(backend, config, true, two_sizes, all_groups);
  test::VitRunner<B> whole(backend, config, true, two_sizes, all_groups);
  draw(again);
  draw(whole);
  again.template forward<private_relation>();
  const std::vector<double> there = normal_values(static_cast<std::size_t>(2 * again.tokens().reference_count()), 6, 0.5);
  again.points(std::span<const double>(there));
  whole.points(std::span<const double>(there));
  const auto expected = whole.template forward<private_relation>();
  const auto got = again.template forward_references<private_relation>();
  const Index first = again.tokens().output_begin(TokenGroup::reference), count = again.tokens().reference_count();
  CHECK(relative_difference<const T, const T>(got.rows(first, count).flat(), expected.rows(first, count).flat()) <= tolerance);
  for (Index row = 0; row < got.rows(); ++row) {
    if (row >= first && row < first + count) continue;
    CHECK(std::equal(got.row(row), got.row(row) + got.cols(), expected.row(row)));
  }
}

}  // namespace

TEST_CASE("other references through blocks with options again are what a whole pass makes of them") {
  ViTConfig gated = scaled;
  gated.swiglu = true;
  ViTConfig turned = plain;
  turned.positions = Positions::rotary;
  turned.qkv_bias = QkvBias::no_key;
  ViTConfig normed = turned;
  normed.qk_norm = true;
  for (const ViTConfig& config : {gated, turned, normed}) {
    check_references(Reference<double>(), config, 0);
    check_references(Cpu({.threads = 2}), config, 1e-5);
  }
}
