// Weights of other families in the library's own ViT: the tokens are those of the family's own code.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/backbone_rules.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/loaded_weights.hpp>
#include <dssl/train/published_vit.hpp>

#include "catch.hpp"
#include "compare.hpp"
#include "interop.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;

TEST_CASE("published weights: the ViT gives what their own code does", "[published]") {
  std::size_t seen = 0, tokens = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::interop_folder())) {
    const std::string name = entry.path().filename().string();
    if (!std::filesystem::exists(entry.path() / "expect.safetensors")) continue;
    INFO(name);
    const auto expected = SafetensorsFile::open((entry.path() / "expect.safetensors").string());
    const auto facts = nlohmann::json::parse(expected.metadata().at("dssl-interop"));
    const auto& position = facts.at("position");
    BackboneFileOptions options{.fold_layer_scale = true, .heads = facts.at("heads").get<Index>()};
    // Names are those of DINO, whose rule is another one.
    if (facts.at("family").get<std::string>().starts_with("timm") && position.at("kind") == "table") {
      options.family = WeightFamily::timm;
    }
    const BackboneFile file = BackboneFile::open(test::weights_of(name), options);
    const ViTConfig config = published_config(file.description(), name, options.heads);
    CHECK(config.class_norm == (name == "dinov3_untied_norms"));
    CHECK(config.local_class_norm == (name == "dinov3_7b_like"));
    // Trained, keys that have no bias get none: their family's code has no place for it.
    const bool none = name == "dinov3_7b_like" || name == "timm_dinov3" || name == "timm_dinov3_plus";
    CHECK(config.qkv_bias == (none ? QkvBias::none : config.rotary() ? QkvBias::no_key : QkvBias::full));
    ++seen;
    for (const std::string input : {"native", "wide", "other", "larger"}) {
      if (!expected.contains(input + ".image")) continue;
      INFO(input);
      const std::vector<Index> shape = expected.shape(input + ".image");
      FeatureExtractor<ViTFamily, Cpu> extractor(Cpu(), {.height = shape[2], .width = shape[3], .batch = shape[0]}, config);
      static_cast<void>(extractor.load(file));
      const auto classes = expected.read<float>(input + ".class");
      const auto patches = expected.read<float>(input + ".patches");
      std::vector<float> own_classes(classes.size());
      std::vector<float> own_patches(patches.size());
      extractor.extract(own_classes, own_patches, expected.read<float>(input + ".image"));
      CHECK(test::relative_difference<float, float>(own_classes, classes) < 2e-5);
      CHECK(test::relative_difference<float, float>(own_patches, patches) < 2e-5);
      ++tokens;
    }
  }
  CHECK(seen == test::cases_with_outputs([](const std::string&) { return true; }));
  CHECK(tokens >= 2 * seen);
}

TEST_CASE("the heads of published weights: the file's, those asked for, an earlier run's, and only then the usual number") {
  const auto as_run = [](const std::string& name, const BackboneFileOptions& options) {
    return PublishedWeights(test::weights_of(name), options).description();
  };
  for (const BackboneFileOptions& said : {BackboneFileOptions{.heads = 2, .heads_otherwise = 4}, {.heads_otherwise = 2}}) {
    const BackboneDescription d = as_run("container_zip", said);  // of width 16
    CHECK(d.heads == 2);
    CHECK(d.heads_are_known);
    CHECK(PublishedWeights(test::weights_of("container_zip"), said).config().heads == 2);
  }
  CHECK(as_run("container_zip", {}).heads == 0);
  CHECK_FALSE(as_run("container_zip", {}).heads_are_known);
  CHECK(as_run("dinov3_7b_like", {.heads_otherwise = 4}).heads == 2);  // its periods say it
  // The weights are those of the file by name, with nothing opened twice.
  PublishedWeights once(test::weights_of("container_zip"), {.fold_layer_scale = true, .heads = 2});
  const ViTConfig config = once.config();
  ParameterLayout layout;
  ViTFamily::add_parameters(layout, config, {}, "");
  std::vector<float> own(static_cast<std::size_t>(layout.total())), other(own.size());
  CHECK(once.pixels(3) == usual_pixels(3));
  CHECK(once.load(own, layout, config, {5, 5}).prefix.empty());
  CHECK(load_any_backbone(other, test::weights_of("container_zip"), layout, config, {5, 5}, {.heads = 2}).family.empty());
  CHECK(own == other);
  CHECK(std::ranges::any_of(own, [](float x) { return x != 0; }));
}

TEST_CASE("an architecture of other heads or sizes than the weights is refused, and heads that no width is divided by are") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "two.safetensors";
  const BackboneFile source = BackboneFile::open(test::weights_of("container_zip"), {.heads = 2});
  // As dssl-pretrain writes them: DINO's names, and how many heads there are.
  std::vector<std::vector<float>> values;
  values.reserve(source.tensors().size());
  SafetensorsWriter writer;
  writer.metadata("heads", "2");
  for (const StoredTensor& tensor : source.tensors()) {
    values.push_back(source.read<float>(tensor.name));
    writer.add(tensor.name, tensor.shape, std::span<const float>(values.back()));
  }
  writer.write(path);
  const auto load = [&](ViTConfig config) {
    const ParameterLayout layout = vit_layout(config);
    static_cast<void>(load_any_backbone(path, layout, config, {5, 5}, {}));
  };
  const ViTConfig own = PublishedWeights(path, {}).config();
  CHECK(own.heads == 2);
  CHECK_NOTHROW(load(own));
  ViTConfig other = own;
  other.heads = 4;
  CHECK(test::contains(test::thrown_by<CheckpointError>([&] { load(other); }),
                       "has 2 heads, and this architecture 4; expected --arch auto"));
  other = own;
  other.width = 32;
  other.depth = 3;
  CHECK(test::contains(test::thrown_by<CheckpointError>([&] { load(other); }),
                       "does not fit this architecture: it has width 16, depth 1, MLP 64, expected 32, 3, 128; --arch auto"));
  CHECK(test::contains(test::thrown_by<OptionError>([] { static_cast<void>(BackboneFile::open(test::weights_of("container_zip"), {.heads = 3})); }),
                       "'heads' is 3; expected a divisor of 16, the width of"));
  CHECK(test::contains(test::thrown_by<OptionError>([] { static_cast<void>(BackboneFile::open(test::weights_of("hf_dino"), {.heads = 64})); }),
                       "'heads' is 64; expected a divisor of 32"));
}

TEST_CASE("an MLP of no whole multiple of the width is the whole one without the columns that are zero") {
  const test::TemporaryFolder folder;
  const BackboneFile source = BackboneFile::open(test::weights_of("container_zip"), {.heads = 2});  // width 16, MLP of 64
  const auto written = [&](const std::string& name, Index hidden) {
    std::vector<std::vector<float>> values;
    values.reserve(source.tensors().size());
    SafetensorsWriter writer;
    writer.metadata("heads", "2");
    for (const StoredTensor& tensor : source.tensors()) {
      std::vector<float> all = source.read<float>(tensor.name), kept;
      std::vector<Index> shape = tensor.shape;
      const bool second = tensor.name.ends_with("fc2.weight");
      if (tensor.name.find("fc1.") != std::string::npos) {
        shape[0] = hidden;
        kept.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size()) / 64 * hidden);
      } else if (second) {
        shape[1] = hidden;
        for (Index row = 0; row < shape[0]; ++row) {
          for (Index col = 0; col < hidden; ++col) kept.push_back(col < 40 ? all[static_cast<std::size_t>(64 * row + col)] : 0.0F);
        }
      } else {
        kept = all;
      }
      values.push_back(std::move(kept));
      writer.add(tensor.name, shape, std::span<const float>(values.back()));
    }
    writer.write(folder / name);
    PublishedWeights weights(folder / name, {});
    const ViTConfig config = weights.config();
    CHECK(config.block().hidden == hidden);
    CHECK(ViTFamily::describe(config).find("MLP of 40") == (hidden == 40 ? ViTFamily::describe(config).size() - 9 : std::string::npos));
    FeatureExtractor<ViTFamily, Cpu> extractor(Cpu(), {.height = config.image, .width = config.image}, config);
    static_cast<void>(extractor.load(BackboneFile::open(folder / name, {})));
    std::vector<float> image(static_cast<std::size_t>(config.channels * config.image * config.image));
    for (std::size_t i = 0; i < image.size(); ++i) image[i] = std::sin(static_cast<float>(i));
    std::vector<float> classes(static_cast<std::size_t>(config.width)),
        patches(static_cast<std::size_t>(config.native_grid().size() * config.width));
    extractor.extract(classes, patches, image);
    return patches;
  };
  const std::vector<float> cut = written("cut.safetensors", 40), whole = written("whole.safetensors", 64);
  CHECK(test::relative_difference<const float, const float>(cut, whole) < 1e-5);
}

TEST_CASE("a fingerprint of weights is the number that banks keep, of either kind, and tells a change of any two of them") {
  std::vector<float> weights;
  for (int i = 0; i < 13; ++i) weights.push_back(static_cast<float>(i % 7 - 3) * 0.25F * static_cast<float>(1 + i));
  const auto first = [&](std::size_t n, const char* like = "") { return fingerprint_of(std::span(weights).first(n), like); };
  // What a program of a few lines makes of the formulas, in another language.
  CHECK(first(0) == "2-1d0d3347fe7c38e1");
  CHECK(first(1) == "2-4a276b32bfd4d85e");
  CHECK(first(8) == "2-0ac9ca652e4b9f4e");
  CHECK(first(11) == "2-ae11b885bf911eb2");
  CHECK(first(13) == "2-5515823c2aac00f3");
  CHECK(first(0, "0123456789abcdef") == "cbf29ce484222325");
  CHECK(first(13, "0123456789abcdef") == "da862528639acddd");
  CHECK(first(13, "2-0123456789abcdef") == first(13));
  std::set<std::string> seen{first(13)};
  std::size_t made = 1;
  for (std::size_t i = 0; i < 13; ++i) {
    for (std::size_t k = 0; k <= i; ++k) {
      std::vector<float> other = weights;
      other[i] = -other[i] - 1;  // of no weight another's
      if (k < i) other[k] = -other[k] - 1;
      seen.insert(fingerprint_of(other));
      for (const std::size_t at : {i, k}) other[at] = -weights[at];
      if (weights[i] != 0 && weights[k] != 0) {
        seen.insert(fingerprint_of(other));
        ++made;
      }
      ++made;
    }
  }
  CHECK(seen.size() == made);
}

TEST_CASE("the rules of published weights are those of the ViT that runs them") {
  for (const PositionScheme scheme : {PositionScheme::offset, PositionScheme::size, PositionScheme::size_antialiased,
                                      PositionScheme::corners, PositionScheme::rotary}) {
    const BackboneDescription d{.family = WeightFamily::timm, .width = 128, .depth = 1, .heads = 2, .patch = 8, .channels = 3,
                                .table_side = scheme == PositionScheme::rotary ? 0 : 7, .hidden = 512, .position = scheme, .norm_epsilon = 1e-5};
    const BackboneRules rules = BackboneRules::of(d), run = BackboneRules::of(published_config(d, "file"));
    CHECK(rules.heads == 2);
    CHECK(rules.heads == run.heads);
    CHECK(std::abs(rules.norm_epsilon / run.norm_epsilon - 1) < 1e-12);
    CHECK(rules.positions == position_scheme_name(scheme));
    CHECK(rules.positions == run.positions);
  }
}

TEST_CASE("an architecture that goes by other rules than the weights is refused") {
  BackboneDescription d{.family = WeightFamily::timm, .width = 64, .depth = 1, .heads = 1, .patch = 8, .channels = 3, .table_side = 7,
                        .hidden = 256, .position = PositionScheme::size_antialiased};
  const ViTConfig config = published_config(d, "file", 0);
  CHECK(config.position_rule == PositionRule::size_antialiased);
  CHECK_NOTHROW(require_same_rules(d, config, {9, 9}, "file"));
  const ViTConfig other{.image = 56, .patch = 8};
  CHECK_NOTHROW(require_same_rules(d, other, {7, 7}, "file"));
  const auto message = [&](GridSize grid) {
    return test::thrown_by<CheckpointError>([&] { require_same_rules(d, other, grid, "file"); });
  };
  CHECK(test::contains(message({9, 7}), "positions for other sizes by the rule 'size, antialiased', and this architecture by 'offset'"));
  d.heads = 2;
  CHECK_NOTHROW(require_same_rules(d, other, {7, 7}, "file"));  // a guess refuses nothing
  d.heads_are_known = true;
  CHECK(test::contains(message({7, 7}), "has 2 heads, and this architecture 6; expected --arch auto"));
  d.heads = 6;
  CHECK_NOTHROW(require_same_rules(d, other, {7, 7}, "file"));
  d.heads = 1;
  d.heads_are_known = false;
  d.norm_epsilon = 1e-12;
  CHECK(test::contains(message({7, 7}), "has norms with an epsilon of 1e-12, and this architecture one of 1e-06"));
  CHECK(published_config(d, "file", 0).norm_exponent == 12);
  d.mlp = MlpKind::swiglu;
  d.hidden = 61;
  CHECK(published_config(d, "file", 0).block().hidden == 61);  // SwiGLU's that no ratio gives
}
