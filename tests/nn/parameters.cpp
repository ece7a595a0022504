// The layout of parameters: published names, aligned offsets, compile-time sizes, initial values.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "../fixtures.hpp"
#include "catch.hpp"
#include "thrown.hpp"

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/parameters.hpp>

using namespace dssl;

namespace {

/// The number of parameters of a ViT, counted by hand: embedding, tokens, blocks, last norm.
constexpr Index vit_parameters(const ViTConfig& c) {
  const Index d = c.width;
  const Index hidden = c.mlp_ratio * d;
  const Index grid = (c.image / c.patch) * (c.image / c.patch);
  const Index embedding = d * c.channels * c.patch * c.patch + d;
  const Index tokens = 2 * d + grid * d;
  const Index attention = 3 * d * d + 3 * d + d * d + d;
  const Index mlp = 2 * hidden * d + hidden + d;
  return embedding + tokens + c.depth * (attention + mlp + 4 * d) + 2 * d;
}

constexpr Index head_parameters(const HeadConfig& c, Index width) {
  const Index mlp = width * c.hidden + c.hidden + c.hidden * c.hidden + c.hidden + c.hidden * c.bottleneck + c.bottleneck;
  return mlp + c.prototypes + c.prototypes * c.bottleneck;
}

constexpr Index laid_out_head_parameters(const HeadConfig& c, Index width) {
  ParameterLayout layout;
  add_head_parameters(layout, c, width, "head.");
  return layout.parameter_count();
}

// All of it can be known to the compiler.
static_assert(vit_tiny16.depth == 12);
static_assert(vit_layout(vit_tiny16).parameter_count() == vit_parameters(vit_tiny16));
static_assert(vit_layout(vit_small16).parameter_count() == vit_parameters(vit_small16));
static_assert(vit_layout(vit_nano8, {.reference = true}).parameter_count() == vit_parameters(vit_nano8) + vit_nano8.width);
static_assert(laid_out_head_parameters(HeadConfig{}, 384) == head_parameters(HeadConfig{}, 384));
static_assert(vit_layout(vit_tiny16).total() % 16 == 0);

std::vector<std::string> names_of(const ParameterLayout& layout) {
  std::vector<std::string> names;
  for (const auto& spec : layout.specs()) names.emplace_back(spec.name.view());
  return names;
}

}  // namespace

TEST_CASE("a backbone has the published names, in order") {
  const ViTConfig config{.image = 16, .patch = 8, .width = 8, .depth = 11, .heads = 2};
  const auto names = names_of(vit_layout(config, {.reference = true}));
  const std::vector<std::string> first{"cls_token",
                                       "cls_pos_embed",
                                       "patch_pos_embed",
                                       "ref_learn_token",
                                       "patch_embed.proj.weight",
                                       "patch_embed.proj.bias",
                                       "blocks.0.norm1.weight",
                                       "blocks.0.norm1.bias",
                                       "blocks.0.attn.qkv.weight",
                                       "blocks.0.attn.qkv.bias",
                                       "blocks.0.attn.proj.weight",
                                       "blocks.0.attn.proj.bias",
                                       "blocks.0.norm2.weight",
                                       "blocks.0.norm2.bias",
                                       "blocks.0.mlp.fc1.weight",
                                       "blocks.0.mlp.fc1.bias",
                                       "blocks.0.mlp.fc2.weight",
                                       "blocks.0.mlp.fc2.bias",
                                       "blocks.1.norm1.weight"};
  REQUIRE(names.size() == 6 + 11 * 12 + 2);
  CHECK(std::equal(first.begin(), first.end(), names.begin()));
  CHECK(names[6 + 10 * 12] == "blocks.10.norm1.weight");
  CHECK(names[names.size() - 2] == "norm.weight");
  CHECK(names.back() == "norm.bias");
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  const auto plain = names_of(vit_layout(config));
  CHECK(plain.size() + 1 == names.size());
  CHECK(std::find(plain.begin(), plain.end(), "ref_learn_token") == plain.end());
}

TEST_CASE("a head's MLP is numbered as the published list of layers") {
  const auto mlp_of = [](Index layers, bool batch_norm) {
    ParameterLayout layout;
    add_head_parameters(layout, {.layers = layers, .hidden = 6, .bottleneck = 5, .prototypes = 9, .batch_norm = batch_norm},
                        8, "head.");
    auto names = names_of(layout);
    REQUIRE(names.size() >= 2);
    CHECK(names[names.size() - 2] == "head.last_layer.weight_g");
    names.resize(names.size() - 2);
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(mlp_of(1, false) == Names{"head.mlp.weight", "head.mlp.bias"});
  CHECK(mlp_of(1, true) == mlp_of(1, false));
  CHECK(mlp_of(2, false) == Names{"head.mlp.0.weight", "head.mlp.0.bias", "head.mlp.2.weight", "head.mlp.2.bias"});
  CHECK(mlp_of(2, true) == Names{"head.mlp.0.weight", "head.mlp.0.bias", "head.mlp.1.weight", "head.mlp.1.bias",
                                 "head.mlp.3.weight", "head.mlp.3.bias"});
  CHECK(mlp_of(3, true) == Names{"head.mlp.0.weight", "head.mlp.0.bias", "head.mlp.1.weight", "head.mlp.1.bias",
                                 "head.mlp.3.weight", "head.mlp.3.bias", "head.mlp.4.weight", "head.mlp.4.bias",
                                 "head.mlp.6.weight", "head.mlp.6.bias"});

  ParameterLayout layout;
  add_head_parameters(layout, {.hidden = 6, .bottleneck = 5, .prototypes = 9, .batch_norm = true}, 8, "");
  CHECK(layout.find("mlp.1.weight").shape() == std::vector<Index>{6});
  CHECK(layout.find("mlp.4.bias").shape() == std::vector<Index>{6});
  std::vector<float> flat(static_cast<std::size_t>(layout.total()), 7.0F);
  initialise(std::span(flat), layout, 3);
  const auto segments = layout.segments();
  for (std::size_t i = 0; i < layout.size(); ++i) {
    const auto& spec = layout.specs()[i];
    const std::string name(spec.name.view());
    INFO(name);
    if (name.starts_with("mlp.1.") || name.starts_with("mlp.4.")) {
      const auto* const first = flat.data() + spec.offset;
      const float wanted = name.ends_with("weight") ? 1.0F : 0.0F;
      CHECK(std::all_of(first, first + spec.size, [&](float v) { return v == wanted; }));
      CHECK(segments[i].updated);
      CHECK(!segments[i].adapted);
      CHECK(!segments[i].decayed);
    } else {
      CHECK(segments[i].decayed == !name.ends_with("bias"));
    }
  }
}

TEST_CASE("names and shapes are those of published weights") {
  for (const std::string name : {"backbone_all2pos_pos2cls_eye", "backbone_channels5", "training_adamw"}) {
    INFO(name);
    const auto file = SafetensorsFile::open(test::fixture_path(name + ".safetensors"));
    const test::FixtureConfig json(file);
    const bool training = name.starts_with("training");
    const std::string vit = training ? "vit_" : "";
    ParameterLayout layout;
    ViTConfig config{.image = json.get<Index>(vit + "image"),
                     .patch = json.get<Index>(vit + "patch"),
                     .width = json.get<Index>(vit + "dim"),
                     .depth = json.get<Index>(vit + "depth"),
                     .heads = json.get<Index>(vit + "heads"),
                     .mlp_ratio = static_cast<Index>(std::lround(json.get<double>(vit + "ratio"))),
                     .channels = json.get<Index>(vit + "channels")};
    add_vit_parameters(layout, config, {}, training ? "backbone." : "");
    if (training) {
      const auto& prototypes = file.shape("initial.head.last_layer.weight_v");
      const HeadConfig head{.hidden = file.shape("initial.head.mlp.0.bias")[0],
                            .bottleneck = prototypes[1],
                            .prototypes = prototypes[0]};
      add_head_parameters(layout, head, config.width, "head.");
      add_head_parameters(layout, head, config.width, "ref_head.");
    }
    const std::string prefix = training ? "initial." : "weight.";
    std::size_t stored = 0;
    for (const auto& tensor : file.tensors()) stored += tensor.name.starts_with(prefix) ? 1 : 0;
    CHECK(stored == layout.size());
    for (const auto& spec : layout.specs()) {
      const std::string key = prefix + std::string(spec.name.view());
      INFO(key);
      REQUIRE(file.contains(key));
      CHECK(file.shape(key) == spec.shape());
    }
  }
}

TEST_CASE("tensors are aligned and do not overlap") {
  const ParameterLayout layout = vit_layout({.image = 12, .patch = 4, .width = 10, .depth = 2, .heads = 2}, {.reference = true});
  Index end = 0;
  for (const auto& spec : layout.specs()) {
    INFO(spec.name.view());
    CHECK(spec.offset % 16 == 0);
    CHECK(spec.offset >= end);
    CHECK(spec.offset < end + 16);
    Index product = 1;
    for (const Index extent : spec.shape()) product *= extent;
    CHECK(spec.size == product);
    end = spec.offset + spec.size;
  }
  CHECK(layout.total() >= end);
  CHECK(layout.total() < end + 16);
}

TEST_CASE("a hidden width below 0 is refused, where it was passed over") {
  CHECK(test::thrown_by<OptionError>([] { static_cast<void>(vit_layout({.mlp_hidden = -1})); }) ==
        "option 'mlp_hidden' is -1; expected at least 1, or 0 for what the ratio gives");
  CHECK(vit_layout({.depth = 1, .mlp_hidden = 7}).find("blocks.0.mlp.fc1.weight").shape() == std::vector<Index>{7, 384});
}

TEST_CASE("a tensor is found by its name") {
  const ParameterLayout layout = vit_layout(vit_nano8);
  const auto& spec = layout.find("blocks.3.attn.qkv.weight");
  CHECK(spec.shape() == std::vector<Index>{3 * vit_nano8.width, vit_nano8.width});
  CHECK_THROWS_AS(layout.find("blocks.99.attn.qkv.weight"), Error);
}

TEST_CASE("matrices and scalar vectors are told apart for decay, adaptation and freezing") {
  ParameterLayout layout = vit_layout({.image = 16, .patch = 8, .width = 8, .depth = 1, .heads = 2}, {.reference = true});
  const std::size_t backbone = layout.size();
  add_head_parameters(layout, {.hidden = 6, .bottleneck = 5, .prototypes = 9}, 8, "head.");
  for (const bool freeze : {false, true}) {
    INFO("freeze " << freeze);
    const auto segments = layout.segments(freeze);
    REQUIRE(segments.size() == layout.size());
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const auto& spec = layout.specs()[i];
      const std::string name(spec.name.view());
      INFO(name);
      const bool vector = name.ends_with("bias") || name.find("norm") != std::string::npos;
      CHECK(segments[i].offset == spec.offset);
      CHECK(segments[i].size == spec.size);
      CHECK(segments[i].decayed == !vector);
      CHECK(segments[i].adapted == !vector);
      const bool prototype = name.find("last_layer") != std::string::npos;
      CHECK((!prototype || i >= backbone));
      CHECK(segments[i].prototype == prototype);
      CHECK(segments[i].updated == (!prototype || (!freeze && name.ends_with("weight_v"))));
    }
  }
  ParameterLayout learned;
  add_head_parameters(learned, {.learned_norm = true}, 8, "");
  CHECK(learned.segments(false)[static_cast<std::size_t>(learned.size() - 2)].updated);
}

TEST_CASE("initial values follow their distributions") {
  ParameterLayout layout;
  layout.add("zero", {37}, {});
  layout.add("one", {37}, {.initial = InitialValues::one});
  layout.add("normal", {200, 100}, {.initial = InitialValues::truncated_normal});
  layout.add("uniform", {200, 100}, {.initial = InitialValues::uniform, .fan_in = 25});
  std::vector<double> flat(static_cast<std::size_t>(layout.total()), 7.0);
  initialise(std::span(flat), layout, 3);
  const auto tensor = [&](std::string_view name) {
    const auto& spec = layout.find(name);
    return std::span(flat).subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
  };
  const auto moment = [](std::span<const double> values, int power) {
    double sum = 0;
    for (const double v : values) sum += std::pow(v, power);
    return sum / static_cast<double>(values.size());
  };
  for (const double v : tensor("zero")) CHECK(v == 0);
  for (const double v : tensor("one")) CHECK(v == 1);
  // 20,000 draws: means lie within 4 standard errors, fourth moments within 10 %.
  const auto normal = tensor("normal");
  CHECK(std::abs(moment(normal, 1)) < 4 * 0.02 / std::sqrt(20000.0));
  CHECK(std::sqrt(moment(normal, 2)) == Approx(0.02).epsilon(0.02));
  CHECK(moment(normal, 4) == Approx(3 * std::pow(0.02, 4)).epsilon(0.1));
  const auto uniform = tensor("uniform");
  const double bound = 0.2;
  CHECK(*std::max_element(uniform.begin(), uniform.end()) <= bound);
  CHECK(*std::min_element(uniform.begin(), uniform.end()) >= -bound);
  CHECK(*std::max_element(uniform.begin(), uniform.end()) > 0.99 * bound);
  CHECK(*std::min_element(uniform.begin(), uniform.end()) < -0.99 * bound);
  CHECK(std::abs(moment(uniform, 1)) < 4 * bound / std::sqrt(3.0 * 20000.0));
  CHECK(moment(uniform, 2) == Approx(bound * bound / 3).epsilon(0.02));
  // The gaps are zero.
  Index end = 0;
  for (const auto& spec : layout.specs()) {
    for (Index i = end; i < spec.offset; ++i) CHECK(flat[static_cast<std::size_t>(i)] == 0);
    end = spec.offset + spec.size;
  }
}

TEST_CASE("initial values are the same for the same seed, whatever the sizes of other tensors") {
  const auto drawn = [](Index earlier, std::uint64_t seed) {
    ParameterLayout layout;
    layout.add("earlier", {earlier, 3}, {.initial = InitialValues::truncated_normal});
    layout.add("wanted", {9, 9}, {.initial = InitialValues::truncated_normal});
    std::vector<float> flat(static_cast<std::size_t>(layout.total()));
    initialise(std::span(flat), layout, seed);
    const auto begin = flat.begin() + layout.find("wanted").offset;
    return std::vector<float>(begin, begin + 81);
  };
  CHECK(drawn(4, 1) == drawn(4, 1));
  CHECK(drawn(4, 1) == drawn(100, 1));
  CHECK(drawn(4, 1) != drawn(4, 2));
}

TEST_CASE("a cursor hands out tensors in the order of the layout, as matrices and vectors") {
  ParameterLayout layout;
  layout.add("token", {1, 1, 6}, {});
  layout.add("kernel", {4, 3, 2, 2}, {});
  layout.add("bias", {4}, {});
  layout.add("table", {1, 9, 6}, {});
  std::vector<float> flat(static_cast<std::size_t>(layout.total()));
  ParameterCursor<float> next(layout, flat.data());
  const auto token = next.matrix();
  const auto kernel = next.matrix();
  const auto bias = next.vector();
  const auto table = next.matrix();
  CHECK(next.position() == 4);
  CHECK(token.extents() == std::array<Index, 2>{1, 6});
  CHECK(kernel.extents() == std::array<Index, 2>{4, 12});
  CHECK(bias.size() == 4);
  CHECK(table.extents() == std::array<Index, 2>{9, 6});
  CHECK(token.data() == flat.data());
  CHECK(kernel.data() == flat.data() + layout.find("kernel").offset);
  CHECK(table.data() == flat.data() + layout.find("table").offset);

  // Buffers are measured before there are any: nothing is computed with a null pointer then.
  ParameterCursor<float> measuring(layout, nullptr);
  CHECK(measuring.matrix().data() == nullptr);
  CHECK(measuring.matrix().data() == nullptr);
  const auto unplaced = measuring.vector();
  CHECK(unplaced.data() == nullptr);
  CHECK(unplaced.size() == 4);
}

TEST_CASE("a name that is too long is refused instead of cut") {
  ParameterName name(std::string_view("0123456789012345678901234567890123456789012345678901234567890123"));
  CHECK(name.view().size() == 64);
  CHECK_THROWS_AS(name.append("4"), std::out_of_range);
}

TEST_CASE("initial values drawn piece by piece into a backend's memory are those drawn at once") {
  ParameterLayout layout;
  add_head_parameters(layout, {.hidden = 300, .bottleneck = 70, .prototypes = 1500, .batch_norm = true}, 8, "");
  const auto total = static_cast<std::size_t>(layout.total());
  std::vector<float> at_once(total);
  initialise(std::span(at_once), layout, 5);
  const Reference<float> backend;
  const Buffer memory = backend.allocate(total * sizeof(float));
  const VectorView<float> flat(reinterpret_cast<float*>(memory.data()), layout.total());
  initialise(backend, flat, layout, 5);
  CHECK(std::equal(at_once.begin(), at_once.end(), flat.data()));
  CHECK(layout.find("mlp.3.weight").size > 65'536);  // of two pieces
}
