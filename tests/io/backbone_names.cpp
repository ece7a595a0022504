// Weights of every family: recognised, described, under dssl's names, and what they compute.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>

#include "catch.hpp"
#include "interop.hpp"
#include "plain_vit.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

namespace {

struct Case {
  std::string name;
  WeightFamily family;
  std::optional<WeightFamily> as{};
  std::size_t ignored = 0;
  std::string prefix{};
};

constexpr auto dino = WeightFamily::dino;
constexpr auto timm = WeightFamily::timm;
constexpr auto hf = WeightFamily::hugging_face;

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"dino_backbone", dino},
      {"dino_backbone_even", dino},
      {"container_zip", dino},
      {"container_safetensors", dino},
      {"container_views", dino},
      {"container_f16", dino},
      {"container_bf16", dino},
      {"container_f64", dino},
      {"container_other_tensors", dino, {}, 5},
      {"dino_checkpoint", dino, {}, 53, "teacher.backbone."},
      {"dino_checkpoint_legacy", dino, {}, 53, "teacher.backbone."},
      {"torch17_checkpoint", dino, {}, 47, "teacher.backbone."},
      {"torch17_checkpoint_legacy", dino, {}, 47, "teacher.backbone."},
      {"densedino_checkpoint", WeightFamily::densedino, {}, 70, "teacher.backbone."},
      {"dinov2_small", WeightFamily::dinov2},
      {"dinov2_small_reg4", WeightFamily::dinov2},
      {"dinov2_giant", WeightFamily::dinov2},
      {"dinov2_giant_reg4", WeightFamily::dinov2},
      {"dinov2_teacher_chunked", WeightFamily::dinov2, {}, 3, "teacher.backbone."},
      {"dinov3_small", WeightFamily::dinov3},
      {"dinov3_small_zero_mask", WeightFamily::dinov3},
      {"dinov3_plus", WeightFamily::dinov3},
      {"dinov3_7b_like", WeightFamily::dinov3},
      {"dinov3_untied_norms", WeightFamily::dinov3},
      {"timm_dino", dino, timm},
      {"timm_dino_even", dino, timm},
      {"timm_augreg", dino, timm},
      {"timm_dinov2", timm},
      {"timm_dinov2_reg4", timm},
      {"timm_dinov2_giant_reg4", timm},
      {"timm_deit3", timm},
      {"timm_dinov3", timm},
      {"timm_dinov3_qkvb", timm},
      {"timm_dinov3_plus", timm},
      {"torchvision_vit", WeightFamily::torchvision, {}, 2},
      {"hf_dino", hf, {}, 2},
      {"hf_dinov2", hf},
      {"hf_dinov2_new_names", hf},
      {"hf_dinov2_giant", hf},
      {"hf_dinov2_classifier", hf, {}, 2, "dinov2."},
      {"hf_dinov2_registers", hf},
      {"hf_dinov3", hf},
      {"hf_dinov3_gated", hf}};
  return all;
}

/// What the case's maker says of it.
nlohmann::json said_of(const SafetensorsFile& expected) {
  return nlohmann::json::parse(expected.metadata().at("dssl-interop"));
}

/// The largest difference from an output's rows, relative to its largest element.
double apart(const std::vector<float>& want, std::size_t first, const test::Rows& rows, std::size_t from,
             std::size_t count) {
  double largest = 0;
  double difference = 0;
  for (std::size_t i = 0; i < count * rows.columns; ++i) {
    const double value = double{want[first * rows.columns + i]};
    largest = std::max(largest, std::abs(value));
    difference = std::max(difference, std::abs(rows.values[from * rows.columns + i] - value));
  }
  return difference / largest;
}

/// A tensor of ones that a file did not have.
struct Added {
  std::string name;
  std::vector<Index> shape;
};

/// What is said of DINO's weights with some tensors left out, and others added.
std::string said_of_changed(const std::set<std::string>& without, const std::vector<Added>& more, std::optional<WeightFamily> as = std::nullopt) {
  const test::TemporaryFolder folder;
  const auto source = open_tensor_file(test::weights_of("container_safetensors"));
  SafetensorsWriter writer;
  std::vector<std::vector<float>> kept;
  kept.reserve(source->tensors().size() + more.size());
  for (const StoredTensor& tensor : source->tensors()) {
    if (without.contains(tensor.name)) continue;
    kept.push_back(source->read<float>(tensor.name));
    writer.add(tensor.name, tensor.shape, std::span<const float>(kept.back()));
  }
  for (const Added& added : more) {
    std::size_t count = 1;
    for (const Index extent : added.shape) count *= static_cast<std::size_t>(extent);
    kept.emplace_back(count, 1.0F);
    writer.add(added.name, added.shape, std::span<const float>(kept.back()));
  }
  const std::string path = folder / "changed.safetensors";
  writer.write(path);
  return thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(path, {.family = as})); });
}

}  // namespace

TEST_CASE("backbone names: every family computes what its own code does", "[backbone_names]") {
  std::size_t seen = 0;
  for (const Case& c : cases()) {
    const std::string folder = test::interop_folder() + "/" + c.name;
    if (!std::filesystem::exists(folder + "/expect.safetensors")) continue;
    INFO(c.name);
    ++seen;
    const std::string path = test::weights_of(c.name);
    const SafetensorsFile expected = SafetensorsFile::open(folder + "/expect.safetensors");
    const nlohmann::json said = said_of(expected);
    CHECK(BackboneFile::open(path).description().family == c.family);
    const BackboneFile file = BackboneFile::open(path, {.family = c.as});
    BackboneDescription d = file.description();
    INFO(describe(d));
    CHECK(file.prefix() == c.prefix);
    CHECK(file.ignored().size() == c.ignored);
    CHECK(d.width == said.at("width").get<Index>());
    CHECK(d.depth == said.at("depth").get<Index>());
    CHECK(d.patch == said.at("patch").get<Index>());
    CHECK(d.channels == said.at("channels").get<Index>());
    CHECK(d.registers == said.at("registers").get<Index>());
    CHECK(d.layer_scale == said.at("layer_scale").get<bool>());
    CHECK((d.mlp == MlpKind::swiglu) == said.at("mlp").get<std::string>().starts_with("swiglu"));
    CHECK(d.norm_epsilon == said.at("norm_eps").get<double>());
    CHECK((d.position == PositionScheme::rotary) == (said.at("position").at("kind") == "rope"));
    if (d.table_side > 0) CHECK(d.table_side == said.at("native_grid").at(0).get<Index>());
    if (d.heads_are_known) CHECK(d.heads == said.at("heads").get<Index>());
    d.heads = said.at("heads").get<Index>();

    std::set<std::string> names;
    for (const StoredTensor& tensor : expected.tensors()) {
      if (tensor.name.ends_with(".image")) names.insert(tensor.name.substr(0, tensor.name.size() - 6));
    }
    REQUIRE(!names.empty());
    const test::PlainVit vit(file, d);
    for (const std::string& name : names) {
      INFO(name);
      const std::vector<Index> shape = expected.shape(name + ".image");
      const auto images = expected.read<float>(name + ".image");
      const auto classes = expected.read<float>(name + ".class");
      const auto patches = expected.read<float>(name + ".patches");
      const auto height = static_cast<std::size_t>(shape[2]);
      const auto width = static_cast<std::size_t>(shape[3]);
      const auto registers = static_cast<std::size_t>(d.registers);
      for (std::size_t b = 0; b < static_cast<std::size_t>(shape[0]); ++b) {
        test::Rows positions(0, 0);
        const test::Rows out = vit.forward(
            positions, images.data() + b * images.size() / static_cast<std::size_t>(shape[0]), height, width);
        const std::size_t count = out.rows - 1 - registers;
        CHECK(apart(classes, b, out, 0, 1) < 2e-5);
        CHECK(apart(patches, b * count, out, 1 + registers, count) < 2e-5);
        if (registers > 0)
          CHECK(apart(expected.read<float>(name + ".registers"), b * registers, out, 1, registers) < 2e-5);
        if (expected.contains(name + ".positions"))
          CHECK(apart(expected.read<float>(name + ".positions"), 0, positions, 0, count) < 2e-5);
      }
    }
  }
  // The copies in the source tree are some of them.
  CHECK(seen >= 4);
  if (test::has_case("hf_dinov3_gated")) CHECK(seen == cases().size());
}

TEST_CASE("backbone names: LayerScale multiplied into its layers computes the same", "[backbone_names]") {
  std::size_t seen = 0;
  for (const std::string name :
       {"dinov2_small", "dinov2_giant_reg4", "dinov3_7b_like", "timm_deit3", "timm_dinov3", "hf_dinov2"}) {
    if (!test::has_case(name)) continue;
    ++seen;
    INFO(name);
    const BackboneFile plain = BackboneFile::open(test::weights_of(name));
    const BackboneFile folded = BackboneFile::open(test::weights_of(name), {.fold_layer_scale = true});
    REQUIRE(plain.description().layer_scale);
    REQUIRE(!folded.description().layer_scale);
    CHECK(folded.tensors().size() + 2 * static_cast<std::size_t>(plain.description().depth) ==
          plain.tensors().size());
    const SafetensorsFile expected =
        SafetensorsFile::open(test::interop_folder() + "/" + name + "/expect.safetensors");
    BackboneDescription d = folded.description();
    d.heads = said_of(expected).at("heads").get<Index>();
    const auto image = expected.read<float>("native.image");
    const auto side = static_cast<std::size_t>(expected.shape("native.image")[2]);
    test::Rows positions(0, 0);
    CHECK(apart(expected.read<float>("native.class"), 0,
                test::PlainVit(folded, d).forward(positions, image.data(), side, side), 0, 1) < 2e-5);
  }
  CHECK(seen >= 1);
}

TEST_CASE("backbone names: what is no such ViT is refused by the part that it has or lacks",
          "[backbone_names]") {
  // Made of weights that are read, under DINO's names and, asked for, timm's and DINOv2's.
  for (const std::optional<WeightFamily> as : {std::optional<WeightFamily>(), std::optional(timm), std::optional(WeightFamily::dinov2)}) {
    CHECK(said_of_changed({}, {}, as) == "(nothing was thrown)");
    CHECK(contains(said_of_changed({}, {{"norm_pre.weight", {16}}, {"norm_pre.bias", {16}}}, as),
                   "has what its ViT does not: 'norm_pre.weight' [16], 'norm_pre.bias' [16]"));
    const std::vector<Added> norms{{"blocks.0.attn.q_norm.weight", {8}}, {"blocks.0.attn.k_norm.weight", {8}}};
    CHECK(contains(said_of_changed({}, norms, as), "has what its ViT does not: 'blocks.0.attn.q_norm.weight' [8], 'blocks.0.attn.k_norm.weight' [8]"));
    CHECK(contains(said_of_changed({}, {{"dist_token", {1, 1, 16}}}, as), "has what its ViT does not: 'dist_token' [1, 1, 16]"));
    CHECK(contains(said_of_changed({"cls_token"}, {}, as), "holds no backbone with a class token"));
  }
  const std::map<std::string, std::string> refused{
      {"refuse_timm_norm_pre", "'norm_pre.bias' [32]"},
      {"refuse_timm_gap", "holds no backbone with a class token"},
      {"refuse_timm_qk_norm", "'blocks.0.attn.k_norm.bias' [8]"},
      {"refuse_timm_distilled", "'dist_token' [1, 1, 32]"}};
  for (const auto& entry : refused) {
    const std::string& name = entry.first;
    if (!test::has_case(name)) continue;
    INFO(name);
    const std::string said =
        thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(test::weights_of(name))); });
    INFO(said);
    CHECK(contains(said, entry.second));
  }
}

TEST_CASE("backbone names: gaps, leftovers, other shapes and other families", "[backbone_names]") {
  const auto source = open_tensor_file(test::weights_of("container_safetensors"));
  const std::string fine = "(nothing was thrown)";
  CHECK(said_of_changed({}, {}) == fine);
  CHECK(said_of_changed({}, {{"head.weight", {5, 16}}, {"mask_token", {1, 16}}}) == fine);
  CHECK(said_of_changed({}, {}, timm) == fine);
  CHECK(said_of_changed({}, {}, WeightFamily::dinov2) == fine);
  CHECK(contains(said_of_changed({}, {}, hf), "has the names of dino; expected those of hf"));
  CHECK(
      contains(said_of_changed({}, {}, WeightFamily::densedino), "has the names of dino; expected those of densedino"));
  for (const StoredTensor& tensor : source->tensors()) {
    if (tensor.name == "cls_token") continue;
    INFO(tensor.name);
    CHECK(contains(said_of_changed({tensor.name}, {}), "but lacks '" + tensor.name + "'"));
    std::vector<Index> other = tensor.shape;
    other.back() += 1;
    CHECK(contains(said_of_changed({tensor.name}, {{tensor.name, other}}), "'" + tensor.name + "'"));
  }
  CHECK(contains(said_of_changed({"norm.bias", "norm.weight"}, {}), "but lacks 'norm.weight', 'norm.bias'"));
  CHECK(contains(said_of_changed({}, {{"blocks.0.attn.scale", {1}}}),
                 "has what its ViT does not: 'blocks.0.attn.scale' [1]"));
  CHECK(contains(said_of_changed({}, {{"blocks.0.ls1.gamma", {16}}}), "lacks 'blocks.0.ls2.gamma'"));
  CHECK(contains(said_of_changed({}, {{"blocks.0.ls2.gamma", {16}}}), "lacks 'blocks.0.ls1.gamma'"));
  CHECK(contains(said_of_changed({}, {{"blocks.2.norm1.weight", {16}}}), "lacks 'blocks.1'"));
  CHECK(contains(said_of_changed({}, {{"blocks.0.0.norm1.weight", {16}}}), "has the block 0 twice"));
  CHECK(contains(said_of_changed({}, {{"reg_token", {1, 4, 16}}, {"register_tokens", {1, 4, 16}}}), "'reg_token'"));
  CHECK(contains(said_of_changed({"pos_embed"}, {{"pos_embed", {1, 24, 16}}}),
                 "expected positions of a square of patches"));
}

TEST_CASE("backbone names: a mask of NaN, as a model without weights has it, is refused",
          "[backbone_names]") {
  const test::TemporaryFolder folder;
  const auto source = open_tensor_file(test::weights_of("dinov3_7b_like"));
  SafetensorsWriter writer;
  std::vector<std::vector<float>> kept;
  kept.reserve(source->tensors().size());
  for (const StoredTensor& tensor : source->tensors()) {
    kept.push_back(source->read<float>(tensor.name));
    writer.add(tensor.name, tensor.shape, std::span<const float>(kept.back()));
  }
  const std::vector<float> bias(96, 3.0F);
  std::vector<float> mask(96, 1.0F);
  mask[3] = std::nanf("");
  std::vector<float> zeros(96, 0.0F);
  writer.add("blocks.0.attn.qkv.bias", {96}, std::span<const float>(bias));
  writer.add("blocks.0.attn.qkv.bias_mask", {96}, std::span<const float>(mask));
  writer.add("blocks.1.attn.qkv.bias", {96}, std::span<const float>(bias));
  writer.add("blocks.1.attn.qkv.bias_mask", {96}, std::span<const float>(zeros));
  writer.write(folder / "nan.safetensors");
  const BackboneFile file = BackboneFile::open(folder / "nan.safetensors");
  CHECK(contains(
      thrown_by<CheckpointError>([&] { static_cast<void>(file.read<float>("blocks.0.attn.qkv.bias")); }),
      "'blocks.0.attn.qkv.bias_mask' has the element nan at 3"));
  CHECK(file.read<float>("blocks.1.attn.qkv.bias") == zeros);
}

TEST_CASE("backbone names: written for a family, a backbone has the tensors of its own file",
          "[backbone_names]") {
  std::size_t seen = 0;
  for (const Case& c : cases()) {
    // Not those of training in chunks, of other prefixes, and of names that are Transformers' new ones.
    if (!test::has_case(c.name) || c.name == "dinov2_teacher_chunked" || c.name == "hf_dinov2_new_names")
      continue;
    // timm's files of what rotates say no heads, nor does their width.
    const BackboneFile file = BackboneFile::open(test::weights_of(c.name), {.family = c.as, .heads = c.name.starts_with("timm_dinov3") ? 2 : 0});
    INFO(c.name);
    const WeightFamily family = file.description().family;
    const auto written = export_backbone(file, file.description(), family);
    std::set<std::string> names;
    for (const ExportedTensor& tensor : written) {
      INFO(tensor.name);
      names.insert(tensor.name);
      const std::string stored = c.prefix + tensor.name;
      REQUIRE(file.source().contains(stored));
      CHECK(file.source().shape(stored) == tensor.shape);
      std::vector<float> values = file.source().read<float>(stored);
      if (file.source().contains(stored + "_mask")) {  // a bias of DINOv3's, whose masked numbers are no part of the network
        const std::vector<float> mask = file.source().read<float>(stored + "_mask");
        for (std::size_t i = 0; i < values.size(); ++i) values[i] *= mask[i];
      }
      if (stored.ends_with("bias_mask") && c.name == "dinov3_small_zero_mask") continue;  // of zeros: so is the bias
      CHECK((values == tensor.values));
    }
    CHECK(names.size() == written.size());
    CHECK(written.size() + c.ignored == file.source().tensors().size());
    ++seen;
  }
  CHECK(seen >= 3);
}

TEST_CASE("backbone names: to another family and back nothing is lost", "[backbone_names]") {
  const test::TemporaryFolder folder;
  std::size_t seen = 0;
  for (const Case& c : cases()) {
    if (!test::has_case(c.name) ||
        !(c.name == "container_zip" || c.name == "dinov2_small_reg4" || c.name == "dinov2_giant"))
      continue;
    const BackboneFile file = BackboneFile::open(test::weights_of(c.name));
    for (const WeightFamily as :
         {dino, WeightFamily::densedino, WeightFamily::dinov2, timm, WeightFamily::torchvision, hf}) {
      INFO(c.name << " as " << family_name(as));
      const bool scaled = file.description().layer_scale;
      if (scaled && (as == dino || as == WeightFamily::densedino || as == WeightFamily::torchvision)) {
        CHECK(contains(
            thrown_by<CheckpointError>(
                [&] { static_cast<void>(export_backbone(file, file.description(), as)); }),
            "has LayerScale, for which the family " + std::string(family_name(as)) + " has no names"));
        continue;
      }
      const auto written = export_backbone(file, file.description(), as);
      SafetensorsWriter writer;
      for (const ExportedTensor& tensor : written)
        writer.add(tensor.name, tensor.shape, std::span<const float>(tensor.values));
      writer.write(folder / "out.safetensors");
      const BackboneFile again = BackboneFile::open(folder / "out.safetensors");
      // What is not LayerScale has no name of DINOv2's or timm's own.
      if (scaled || (as != WeightFamily::dinov2 && as != timm)) CHECK(again.description().family == as);
      const bool summed = as == timm && file.description().registers > 0;
      for (const StoredTensor& tensor : file.tensors()) {
        if (tensor.name == "mask_token" && !again.contains(tensor.name)) continue;
        if (summed && (tensor.name == "cls_token" || tensor.name == "cls_pos_embed")) continue;
        INFO(tensor.name);
        CHECK((again.read<float>(tensor.name) == file.read<float>(tensor.name)));
      }
      ++seen;
    }
  }
  CHECK(seen >= 6);
}

TEST_CASE("backbone names: what rotates goes to DINOv3's own names, Transformers' and timm's, and comes back as it was", "[backbone_names]") {
  const test::TemporaryFolder folder;
  const auto save = [&](const std::vector<ExportedTensor>& tensors) {
    SafetensorsWriter writer;
    for (const ExportedTensor& tensor : tensors) writer.add(tensor.name, tensor.shape, std::span<const float>(tensor.values));
    writer.write(folder / "out.safetensors");
    return folder / "out.safetensors";
  };
  const auto names_with = [](const std::vector<ExportedTensor>& tensors, const std::string& words) {
    return std::ranges::count_if(tensors, [&](const ExportedTensor& tensor) { return contains(tensor.name, words); });
  };
  const auto refused = [](const BackboneFile& file, WeightFamily as) {
    return thrown_by<CheckpointError>([&] { static_cast<void>(export_backbone(file, file.description(), as)); });
  };
  std::size_t seen = 0;
  for (const Case& c : cases()) {
    if (!test::has_case(c.name) || !contains(c.name, "dinov3")) continue;
    const BackboneFile file = BackboneFile::open(test::weights_of(c.name), {.family = c.as, .heads = 2});
    const BackboneDescription& d = file.description();
    for (const WeightFamily as : {WeightFamily::dinov3, hf, timm}) {
      INFO(c.name << " as " << family_name(as));
      if (d.class_norm && as != WeightFamily::dinov3) {
        CHECK(contains(refused(file, as), "has a norm of class tokens beside that of patches"));
        continue;
      }
      const BackboneFile again = BackboneFile::open(save(export_backbone(file, d, as)), {.heads = 2});
      CHECK(again.description().family == as);
      CHECK(again.description().qkv_bias == d.qkv_bias);
      CHECK(again.description().registers == d.registers);
      for (const StoredTensor& tensor : file.tensors()) {
        INFO(tensor.name);
        const bool of_training = tensor.name == "mask_token" || tensor.name.starts_with("local_cls_norm");
        if (of_training && !again.contains(tensor.name) && as != WeightFamily::dinov3) continue;
        const std::vector<float> own = file.read<float>(tensor.name), other = again.read<float>(tensor.name);
        if (tensor.name == "rope_embed.periods" && as != WeightFamily::dinov3) {  // computed there
          for (std::size_t i = 0; i < own.size(); ++i) CHECK(other[i] == Approx(own[i]).epsilon(1.0 / 256));
        } else {
          CHECK((own == other));
        }
      }
      ++seen;
    }
    // What Transformers is told is what is read again.
    BackboneDescription told = d, read = d;
    told.heads = 2;
    read.heads_are_known = false;
    const BackboneFile of_hf = BackboneFile::open(test::weights_of(c.name), {.family = c.as, .heads = 2});
    if (d.class_norm) continue;
    const BackboneFile written = BackboneFile::open(save(export_backbone(of_hf, d, hf)), {.heads = 2});
    CHECK(HuggingFaceConfig("config.json", hugging_face_config(told, "file")).complete(read, written.source()) == 100);
    CHECK(read.heads == 2);
    CHECK(read.norm_epsilon == 1e-5);
  }
  CHECK(seen >= 3);

  // A bias of keys, which training may leave, is not masked, and timm has no place for it; periods of another theta.
  const BackboneFile plain = BackboneFile::open(test::weights_of("dinov3_7b_like"));
  CHECK_FALSE(plain.description().qkv_bias);
  CHECK_FALSE(plain.contains("blocks.0.attn.qkv.bias"));
  CHECK(plain.description().local_class_norm);
  // Under dssl's names too, where nobody said the heads that periods are made for.
  save_named_backbone(folder / "named.safetensors", BackboneFile::open(save(export_backbone(plain, plain.description(), timm))));
  CHECK_FALSE(BackboneFile::open(folder / "named.safetensors").description().qkv_bias);
  CHECK(names_with(export_backbone(plain, plain.description(), WeightFamily::dinov3), "qkv.bias") == 0);
  CHECK(names_with(export_backbone(plain, plain.description(), hf), "q_proj.bias") == 0);
  CHECK(contains(hugging_face_config(plain.description(), "file"), "\"query_bias\": false"));
  std::vector<ExportedTensor> tensors = export_backbone(plain, plain.description(), WeightFamily::dinov3);
  std::vector<float> bias(96);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) - 40.0F;
  for (const char* const block : {"blocks.0.attn.qkv.bias", "blocks.1.attn.qkv.bias"}) tensors.push_back({block, {96}, bias});
  const auto with_periods = [&](double theta, double off) {
    for (ExportedTensor& tensor : tensors) {
      for (std::size_t i = 0; tensor.name == "rope_embed.periods" && i < 4; ++i)
        tensor.values[i] = static_cast<float>(std::pow(theta, static_cast<double>(i) / 4) * (i == 2 ? 1 + off : 1));
    }
    return BackboneFile::open(save(tensors));
  };
  const BackboneFile keyed = with_periods(50, 0);
  CHECK(keyed.description().qkv_bias);
  CHECK(keyed.description().key_bias);
  // Masked, or 0 in every block, it is none; apart from those of queries and values too.
  const auto saved_as = [&](const BackboneFile& file, WeightFamily as) {
    return BackboneFile::open(save(export_backbone(file, file.description(), as)), {.heads = 2}).description();
  };
  CHECK(saved_as(keyed, hf).key_bias);
  std::vector<ExportedTensor> all = tensors;
  for (ExportedTensor& tensor : tensors) {
    if (tensor.name.ends_with("qkv.bias")) std::fill_n(tensor.values.begin() + 32, 32, 0.0F);
  }
  const BackboneFile unkeyed = with_periods(100, 0);
  for (const WeightFamily as : {WeightFamily::dinov3, hf, timm}) {
    CHECK(saved_as(unkeyed, as).qkv_bias);
    CHECK_FALSE(saved_as(unkeyed, as).key_bias);
  }
  tensors = std::move(all);
  std::vector<float> mask(96, 1.0F);
  std::fill_n(mask.begin() + 32, 32, 0.0F);
  for (const char* const block : {"blocks.0.attn.qkv.bias_mask", "blocks.1.attn.qkv.bias_mask"}) tensors.push_back({block, {96}, mask});
  CHECK_FALSE(with_periods(100, 0).description().key_bias);
  tensors.resize(tensors.size() - 2);
  CHECK(contains(refused(keyed, timm), "has rotary periods of a theta of 50, not 100"));
  const auto own = export_backbone(keyed, keyed.description(), WeightFamily::dinov3);
  for (const ExportedTensor& tensor : own) {
    if (tensor.name.ends_with("qkv.bias")) CHECK(tensor.values == bias);
    if (tensor.name.ends_with("bias_mask")) CHECK(tensor.values == std::vector<float>(96, 1.0F));
  }
  CHECK(names_with(own, "bias_mask") == 2);
  CHECK(names_with(export_backbone(keyed, keyed.description(), hf), "k_proj.bias") == 2);
  const PeriodsOfTheta found = PeriodsOfTheta::of(keyed.read<float>("rope_embed.periods"));
  CHECK(found.theta == Approx(50));
  const std::string config = hugging_face_config(keyed.description(), "file", {.theta = 50, .key_bias = true});
  CHECK(contains(config, "\"rope_theta\": 50.0,"));
  CHECK(contains(config, "\"key_bias\": true"));
  const BackboneFile usual = with_periods(100, 0);
  CHECK(contains(refused(usual, timm), "has a bias of keys, for which the family timm has no names here"));
  const BackboneFile bent = with_periods(100, 0.02);
  CHECK(contains(refused(bent, hf), "has rotary periods that are no powers of one number"));
  CHECK_NOTHROW(export_backbone(bent, bent.description(), WeightFamily::dinov3));
  for (const WeightFamily as : {dino, WeightFamily::densedino, WeightFamily::dinov2, WeightFamily::torchvision})
    CHECK(contains(refused(plain, as), "has rotary positions, for which the family"));
  const BackboneFile table = BackboneFile::open(test::weights_of("container_zip"));
  CHECK(contains(refused(table, WeightFamily::dinov3), "has a position table, for which the family dinov3"));
}

TEST_CASE("backbone names: written under dssl's names a backbone keeps its rules", "[backbone_names]") {
  const test::TemporaryFolder folder;
  std::size_t seen = 0;
  for (const Case& c : cases()) {
    if (!test::has_case(c.name)) continue;
    INFO(c.name);
    const BackboneFile file = BackboneFile::open(test::weights_of(c.name), {.family = c.as});
    save_named_backbone(folder / "named.safetensors", file, {{"note", "kept"}});
    const BackboneFile again = BackboneFile::open(folder / "named.safetensors");
    CHECK(again.metadata().at("note") == "kept");
    const BackboneDescription& d = file.description();
    const BackboneDescription& e = again.description();
    CHECK(d.position == e.position);
    CHECK(d.norm_epsilon == e.norm_epsilon);
    CHECK(d.heads == e.heads);
    CHECK(d.heads_are_known == e.heads_are_known);
    CHECK(d.table_side == e.table_side);
    CHECK(d.qkv_bias == e.qkv_bias);
    CHECK(d.key_bias == e.key_bias);
    CHECK(d.registers == e.registers);
    CHECK(d.hidden == e.hidden);
    CHECK(d.mlp == e.mlp);
    CHECK(d.layer_scale == e.layer_scale);
    CHECK(again.ignored().empty());
    REQUIRE(again.tensors().size() == file.tensors().size());
    for (const StoredTensor& tensor : file.tensors()) {
      CHECK(again.tensor(tensor.name).type == tensor.type);
      CHECK((again.read<double>(tensor.name) == file.read<double>(tensor.name)));
    }
    ++seen;
  }
  CHECK(seen >= 4);

  const auto source = open_tensor_file(test::weights_of("container_safetensors"));
  const auto said = [&](const std::string& positions, const std::string& epsilon, const std::string& heads = "2") {
    SafetensorsWriter writer;
    std::vector<std::vector<std::byte>> kept(source->tensors().size());
    for (std::size_t i = 0; i < kept.size(); ++i) {
      const StoredTensor& tensor = source->tensors()[i];
      writer.add_bytes(tensor.name, tensor.type, tensor.shape, source->elements(tensor.name, kept[i]));
    }
    writer.metadata("positions", positions);
    writer.metadata("norm_epsilon", epsilon);
    writer.metadata("heads", heads);
    writer.write(folder / "said.safetensors");
    return thrown_by<CheckpointError>(
        [&] { static_cast<void>(BackboneFile::open(folder / "said.safetensors")); });
  };
  CHECK(said("corners", "1e-12") == "(nothing was thrown)");
  const BackboneDescription two = BackboneFile::open(folder / "said.safetensors").description();
  CHECK(two.heads == 2);
  CHECK(two.heads_are_known);
  for (const std::string heads : {"0", "-2", "3", "2x", "", "99999999999999999999"}) {
    CHECK(contains(said("offset", "1e-6", heads), "has heads '" + heads + "' in its metadata; expected a divisor of 16"));
  }
  CHECK(said("corners", "1.23456789e-6") == "(nothing was thrown)");
  save_named_backbone(folder / "exact.safetensors", BackboneFile::open(folder / "said.safetensors"));
  CHECK(BackboneFile::open(folder / "exact.safetensors").description().norm_epsilon == 1.23456789e-6);
  CHECK(contains(said("edges", "1e-6"), "has positions 'edges' in its metadata"));
  CHECK(contains(said("rotary", "1e-6"),
                 "has positions 'rotary' in its metadata; expected the rule of its table"));
  for (const std::string epsilon : {"0", "-1", "nan", "1e-6x", "", "2"}) {
    CHECK(contains(said("offset", epsilon), "has norm_epsilon '" + epsilon + "' in its metadata"));
  }
}

TEST_CASE("published weights: a ViT under the names that Transformers has for it now is the same", "[backbone_names]") {
  const test::TemporaryFolder folder;
  const BackboneFile old = BackboneFile::open(test::weights_of("hf_dino"), {.heads = 4});
  const std::vector<std::pair<std::string, std::string>> renamed{
      {"encoder.layer.", "layers."},      {"attention.attention.query.", "attention.q_proj."}, {"attention.attention.key.", "attention.k_proj."},
      {"attention.attention.value.", "attention.v_proj."}, {"attention.output.dense.", "attention.o_proj."},
      {"intermediate.dense.", "mlp.fc1."}, {"output.dense.", "mlp.fc2."}};
  for (const std::string before : {"", "vit."}) {
    std::vector<std::vector<float>> values;
    values.reserve(old.source().tensors().size());
    SafetensorsWriter writer;
    for (const StoredTensor& tensor : old.source().tensors()) {
      std::string name = tensor.name;
      for (const auto& [from, to] : renamed) {
        if (const std::size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
      }
      values.push_back(old.source().read<float>(tensor.name));
      writer.add(before + name, tensor.shape, std::span<const float>(values.back()));
    }
    writer.write(folder / "new.safetensors");
    const BackboneFile file = BackboneFile::open(folder / "new.safetensors", {.heads = 4});
    CHECK(file.source().contains(before + "layers.1.mlp.fc2.weight"));
    CHECK(file.prefix() == before);
    BackboneDescription d = file.description();  // away from a config.json that says the heads
    d.heads = old.description().heads;
    d.heads_are_known = old.description().heads_are_known;
    CHECK(describe(d) == describe(old.description()));
    REQUIRE(file.tensors().size() == old.tensors().size());
    for (const StoredTensor& tensor : old.tensors()) CHECK((file.read<float>(tensor.name) == old.read<float>(tensor.name)));
  }
}

TEST_CASE("published weights: a bias that one block lacks and the others have is missing, not zero") {
  const test::TemporaryFolder folder;
  const std::string name = test::has_case("hf_dino") ? "hf_dino" : "container_zip";
  const auto whole = open_tensor_file(test::weights_of(name));
  std::size_t cut = 0;
  for (const StoredTensor& gone : whole->tensors()) {
    const bool bias = gone.name.ends_with("query.bias") || gone.name.ends_with("key.bias") || gone.name.ends_with("qkv.bias");
    if (!bias) continue;
    SafetensorsWriter writer;
    std::vector<std::vector<float>> values;  // which lie still until they are written
    values.reserve(whole->tensors().size());
    for (const StoredTensor& tensor : whole->tensors()) {
      if (tensor.name == gone.name) continue;
      values.push_back(whole->read<float>(tensor.name));
      writer.add(tensor.name, tensor.shape, std::span<const float>(values.back()));
    }
    const std::string path = folder / "cut.safetensors";
    writer.write(path);
    INFO(gone.name);
    CHECK(test::contains(test::thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(path)); }), gone.name));
    ++cut;
  }
  CHECK(cut > 0);
}

TEST_CASE("published weights: DINOv2's names have a LayerScale of ones where there is none, and another epsilon is no family's") {
  const BackboneFile plain = BackboneFile::open(test::weights_of("container_zip"));
  const auto ones = [&](WeightFamily as, const std::string& ending) {
    std::size_t found = 0;
    for (const ExportedTensor& tensor : export_backbone(plain, plain.description(), as)) {
      if (!tensor.name.ends_with(ending)) continue;
      CHECK((tensor.values == std::vector<float>(16, 1.0F)));
      ++found;
    }
    return found;
  };
  CHECK(ones(WeightFamily::dinov2, "ls1.gamma") == 1);
  CHECK(ones(WeightFamily::dinov2, "ls2.gamma") == 1);
  CHECK(ones(timm, ".gamma") == 0);
  CHECK(ones(hf, "lambda1") == 0);

  const BackboneFile other = BackboneFile::open(test::weights_of("hf_dino"));
  for (const WeightFamily as : {dino, WeightFamily::densedino, WeightFamily::dinov2, timm, WeightFamily::torchvision}) {
    CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(export_backbone(other, other.description(), as)); }),
                   "has norms with an epsilon of 1e-12, and those of the family " + std::string(family_name(as)) + " have 1e-06"));
  }
  BackboneDescription d = other.description();
  CHECK(export_backbone(other, d, hf).size() == other.tensors().size() + 2 * 4 - 1);

  // What Transformers is told is what is read again.
  d.heads = 4;
  const std::string config = hugging_face_config(d, "file");
  BackboneDescription again = other.description();
  CHECK(HuggingFaceConfig("config.json", config).complete(again, other.source()) == 100);
  CHECK(again.heads == 4);
  CHECK(again.norm_epsilon == 1e-12);
  CHECK(contains(config, "\"model_type\": \"vit\""));
  d.norm_epsilon = 1.23456789e-6;  // with all its digits
  static_cast<void>(HuggingFaceConfig("config.json", hugging_face_config(d, "file")).complete(again, other.source()));
  CHECK(again.norm_epsilon == d.norm_epsilon);
  BackboneDescription strange = d;
  strange.width = 0;
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(hugging_face_config(strange, "file")); }), "has a width of 0"));
  d.heads = 5;
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(hugging_face_config(d, "file")); }),
                 "option 'heads' is 5; expected the number of heads of file, a divisor of its width 32"));
  d.heads = 4;
  d.layer_scale = true;
  d.hidden = 100;
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(hugging_face_config(d, "file")); }),
                 "has an MLP of 100 for a width of 32, which no mlp_ratio"));
}

TEST_CASE("published weights: a LayerScale that was folded is one of ones for the code that has one, also after a file of dssl's") {
  const test::TemporaryFolder folder;
  const auto save = [&](const std::string& name, const std::vector<ExportedTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
    SafetensorsWriter writer;
    for (const auto& [key, value] : metadata) writer.metadata(key, value);
    for (const ExportedTensor& tensor : tensors) writer.add(tensor.name, tensor.shape, std::span<const float>(tensor.values));
    writer.write(folder / name);
    return folder / name;
  };
  // With a LayerScale of its own.
  const BackboneFile plain = BackboneFile::open(test::weights_of("container_zip"));
  std::vector<ExportedTensor> tensors = export_backbone(plain, plain.description(), WeightFamily::dinov2);
  for (ExportedTensor& tensor : tensors) {
    if (tensor.name.ends_with(".gamma")) std::ranges::fill(tensor.values, 0.25F);
  }
  const std::string scaled = save("scaled.safetensors", tensors, {});
  const BackboneFile file = BackboneFile::open(scaled, {.fold_layer_scale = true});
  CHECK(file.description().layer_scale_folded);
  CHECK(contains(describe(file.description()), "LayerScale multiplied in"));
  CHECK(!BackboneFile::open(scaled).description().layer_scale_folded);

  save_named_backbone(folder / "named.safetensors", file);
  const BackboneFile again = BackboneFile::open(folder / "named.safetensors");
  CHECK(again.description().layer_scale_folded);
  CHECK(!again.description().layer_scale);
  for (const WeightFamily as : {WeightFamily::dinov2, timm, hf}) {
    INFO(family_name(as));
    std::size_t ones = 0;
    for (const ExportedTensor& tensor : export_backbone(again, again.description(), as)) {
      if (!tensor.name.ends_with(".gamma") && !tensor.name.ends_with(".lambda1")) continue;
      CHECK((tensor.values == std::vector<float>(16, 1.0F)));
      ++ones;
    }
    CHECK(ones == 2);
  }
  BackboneDescription d = again.description();
  d.heads = 2;
  CHECK(contains(hugging_face_config(d, "file"), "\"architectures\": [\"Dinov2Model\"]"));
  // Code without any takes it as it is, and its branches are scaled.
  const auto as_dino = export_backbone(again, d, dino);
  CHECK(as_dino.size() == plain.source().tensors().size());
  for (const ExportedTensor& tensor : as_dino) {
    INFO(tensor.name);
    const bool of_branch = tensor.name.find("attn.proj") != std::string::npos || tensor.name.find("mlp.fc2") != std::string::npos;
    std::vector<float> expected = plain.source().read<float>(tensor.name);
    for (float& value : expected) value *= of_branch ? 0.25F : 1.0F;
    CHECK((tensor.values == expected));
  }

  const auto said = [&](const std::vector<ExportedTensor>& of, const std::string& value) {
    const std::string path = save("said.safetensors", of, {{"layer_scale", value}});
    return thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(path)); });
  };
  CHECK(said(as_dino, "folded") == "(nothing was thrown)");
  CHECK(contains(said(as_dino, "twice"), "has layer_scale 'twice' in its metadata; expected folded"));
  CHECK(contains(said(tensors, "folded"), "has layer_scale 'folded' in its metadata; expected nothing there"));
}

TEST_CASE("published weights: behind a wrapper that nobody told the only class token is the backbone's, of several none is") {
  const test::TemporaryFolder folder;
  const auto path_with = [&](const std::string& of, const std::vector<std::string>& prefixes) {
    const auto whole = open_tensor_file(test::weights_of(of));
    SafetensorsWriter writer;
    std::vector<std::vector<float>> values;
    values.reserve(whole->tensors().size());
    for (const StoredTensor& tensor : whole->tensors()) {
      values.push_back(whole->read<float>(tensor.name));
      for (const std::string& prefix : prefixes) writer.add(prefix + tensor.name, tensor.shape, std::span<const float>(values.back()));
    }
    writer.write(folder / "wrapped.safetensors");
    return folder / "wrapped.safetensors";
  };
  for (const std::string of : {"container_zip", "hf_dino"}) {
    const BackboneFile own = BackboneFile::open(path_with(of, {""}));  // away from a config.json
    for (const std::string prefix : {"_orig_mod.", "state_dict.model.backbone.", "net.", "encoder.", "module._orig_mod.backbone."}) {
      INFO(of << " behind " << prefix);
      const BackboneFile file = BackboneFile::open(path_with(of, {prefix}));
      CHECK(file.prefix() == prefix);
      CHECK(describe(file.description()) == describe(own.description()));
      CHECK(file.ignored().size() == own.ignored().size());
      CHECK((file.read<float>("blocks.0.attn.qkv.weight") == own.read<float>("blocks.0.attn.qkv.weight")));
    }
  }
  CHECK(backbone_prefix(*open_tensor_file(path_with("container_zip", {"net."}))) == "net.");
  // Student and teacher behind a key that says no more, as without it.
  for (const std::string key : {"state_dict.", "model."}) {
    const BackboneFile file = BackboneFile::open(path_with("container_zip", {key + "student.backbone.", key + "teacher.backbone."}));
    CHECK(file.prefix() == key + "teacher.backbone.");
    CHECK(backbone_prefix(file.source()) == file.prefix());
  }
  // A prefix that is known comes first, whatever else there is.
  CHECK(BackboneFile::open(path_with("container_zip", {"net.", "teacher."})).prefix() == "teacher.");
  const std::string several = path_with("container_zip", {"net.", "_orig_mod."});
  const std::string expected = "holds 2 backbones, none of them after 'backbone.', 'module.', 'teacher.', 'model.', 'state_dict.' or "
                               "'student.': 'net.cls_token', '_orig_mod.cls_token'; expected one";
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(several)); }), expected));
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(backbone_prefix(*open_tensor_file(several))); }), expected));
  CHECK(contains(thrown_by<CheckpointError>([&] {
                   static_cast<void>(BackboneFile::open(path_with("container_zip", {"a.", "b.", "c.", "d.", "e.", "f."})));
                 }),
                 "'d.cls_token' and 2 more; expected one"));
  // What only ends like it is none.
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(path_with("container_zip", {"no_"}))); }),
                 "holds no backbone with a class token"));
}

TEST_CASE("published weights: what no other family computes is not written under its names") {
  const test::TemporaryFolder folder;
  const BackboneFile plain = BackboneFile::open(test::weights_of("container_zip"));
  for (const std::string relation : {"all-query", "all_query", "open"}) {
    save_named_backbone(folder / "relation.safetensors", plain, {{"relation", relation}});
    const BackboneFile file = BackboneFile::open(folder / "relation.safetensors");
    const std::string problem =
        thrown_by<CheckpointError>([&] { static_cast<void>(export_backbone(file, file.description(), timm)); });
    if (relation == "open") {
      CHECK(problem == "(nothing was thrown)");
    } else {
      CHECK(contains(problem, "was trained with relation all-query"));
    }
  }
  BackboneDescription d = plain.description();
  d.mlp = MlpKind::swiglu;
  d.hidden = 44;
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(export_backbone(plain, d, WeightFamily::dinov2)); }),
                 "has SwiGLU of 44, no multiple of 8, for which the family dinov2 has no names"));
}

TEST_CASE("published weights: more than a thousand blocks are no backbone", "[backbone_names]") {
  const test::TemporaryFolder folder;
  const std::vector<float> one(1, 1.0F);
  const auto said_with = [&](int blocks) {
    SafetensorsWriter writer;
    writer.add("cls_token", {1, 1, 1}, std::span<const float>(one));
    for (int i = 0; i < blocks; ++i) writer.add("blocks." + std::to_string(i) + ".norm1.weight", {1}, std::span<const float>(one));
    writer.write(folder / "deep.safetensors");
    return thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(folder / "deep.safetensors")); });
  };
  CHECK(contains(said_with(1001), "deep.safetensors: has 1001 blocks; expected at most 1000"));
  CHECK(contains(said_with(1000), "but lacks"));
}

TEST_CASE("published weights: rotary periods say the heads, where they divide the width, and no option says others", "[backbone_names]") {
  const test::TemporaryFolder folder;
  const auto file = open_tensor_file(test::weights_of("dinov3_7b_like"));
  const Index heads = BackboneFile::open(test::weights_of("dinov3_7b_like")).description().heads;
  const Index width = BackboneFile::open(test::weights_of("dinov3_7b_like")).description().width;
  CHECK(BackboneFile::open(test::weights_of("dinov3_7b_like"), {.heads = heads}).description().heads == heads);
  CHECK(contains(thrown_by<OptionError>([&] {
                   static_cast<void>(BackboneFile::open(test::weights_of("dinov3_7b_like"), {.heads = heads + 1}));
                 }),
                 " says itself"));
  const std::vector<float> periods(static_cast<std::size_t>(width / heads / 4 + 1), 1.0F);
  REQUIRE(width % (4 * static_cast<Index>(periods.size())) != 0);
  std::map<std::string, std::vector<float>> kept;
  SafetensorsWriter writer;
  for (const StoredTensor& tensor : file->tensors()) {
    if (tensor.name == "rope_embed.periods") {
      writer.add(tensor.name, {static_cast<Index>(periods.size())}, std::span<const float>(periods));
    } else {
      const auto& values = kept[tensor.name] = file->read<float>(tensor.name);
      writer.add(tensor.name, tensor.shape, std::span<const float>(values));
    }
  }
  writer.write(folder / "odd.safetensors");
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(folder / "odd.safetensors")); }),
                 "'rope_embed.periods' is ["));
}

namespace {

/// The shapes of a ViT of one block of this width, in timm's names; no numbers.
class ShapesOfWidth final : public TensorFile {
 public:
  ShapesOfWidth(Index width, bool rotary) : TensorFile("shapes") {
    std::vector<StoredTensor> tensors;
    const auto add = [&](const std::string& name, std::vector<Index> shape) {
      tensors.push_back({.name = name, .type = ElementType::f32, .shape = std::move(shape)});
    };
    const auto layer = [&](const std::string& name, Index rows, Index columns) {
      add(name + ".weight", {rows, columns});
      add(name + ".bias", {rows});
    };
    const auto norm = [&](const std::string& name) {
      add(name + ".weight", {width});
      add(name + ".bias", {width});
    };
    add("cls_token", {1, 1, width});
    if (rotary) add("reg_token", {1, 4, width});
    else add("pos_embed", {1, 17, width});
    add("patch_embed.proj.weight", {width, 3, 16, 16});
    add("patch_embed.proj.bias", {width});
    norm("blocks.0.norm1");
    layer("blocks.0.attn.qkv", 3 * width, width);
    layer("blocks.0.attn.proj", width, width);
    norm("blocks.0.norm2");
    layer("blocks.0.mlp.fc1", 4 * width, width);
    layer("blocks.0.mlp.fc2", width, 4 * width);
    norm("norm");
    set_tensors(std::move(tensors), {});
  }

 private:
  [[nodiscard]] std::span<const std::byte> x_elements(std::size_t, std::vector<std::byte>& scratch) const override {
    return scratch;
  }
};

}  // namespace

TEST_CASE("weights: tensors that several threads read are all read once, and the first that fails is named", "[backbone_names]") {
  std::vector<std::atomic<int>> times(1000);
  dssl::detail::read_each(times.size(), 4, [&](std::size_t i) { ++times[i]; });
  CHECK(std::ranges::all_of(times, [](const std::atomic<int>& n) { return n == 1; }));
  for (std::size_t again = 0; again < 20; ++again) {
    const std::size_t slow = 7 + again % 4;  // the first to fail comes last, or others do
    const std::string said = thrown_by<Error>([&] {
      dssl::detail::read_each(times.size(), 4, [&](std::size_t i) {
        if (i == slow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (i >= 7) throw Error(join("tensor ", i));
      });
    });
    CHECK(said == "tensor 7");
  }
  CHECK(dssl::detail::threads_to_read(1 << 20) == 1);
  CHECK(dssl::detail::threads_to_read(std::size_t{1} << 40) <= 4);
}

TEST_CASE("published weights: usual heads are one for 64 of the width, and 16 in ViT-H, g and G", "[backbone_names]") {
  constexpr std::array<std::array<Index, 2>, 7> usual{
      {{384, 6}, {1024, 16}, {1280, 16}, {1408, 16}, {1536, 24}, {1664, 16}, {100, 0}}};
  for (const auto& [width, heads] : usual) {
    INFO(width);
    const BackboneDescription d = name_backbone(ShapesOfWidth(width, false)).description;
    CHECK(d.heads == heads);
    CHECK_FALSE(d.heads_are_known);
  }
  CHECK(usual_heads(1280, PositionScheme::rotary) == 20);  // DINOv3's ViT-H+
  CHECK(name_backbone(ShapesOfWidth(1280, true)).description.heads == 20);
  CHECK(name_backbone(ShapesOfWidth(4096, true)).description.heads == 32);  // DINOv3's 7B
}
