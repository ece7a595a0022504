// What config.json beside weights says: heads, epsilon and periods are taken, contradictions are named.
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/core/pixel_scale.hpp>
#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/pixel_scale.hpp>

#include "catch.hpp"
#include "interop.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

namespace {

using Json = nlohmann::json;

/// What describes the weights of the case hf_dino.
Json vit_config() {
  return {{"model_type", "vit"},      {"hidden_size", 32},    {"num_hidden_layers", 2}, {"num_attention_heads", 4},
          {"intermediate_size", 128}, {"hidden_act", "gelu"}, {"layer_norm_eps", 1e-12}, {"image_size", 56},
          {"patch_size", 8},          {"num_channels", 3},    {"qkv_bias", true},       {"rope_parameters", nullptr},
          {"id2label", {{"0", "cat"}, {"1", "dog"}}},         {"out_features", {"stage2", "stage3"}}};
}

/// A folder as Transformers keeps a model: the weights of hf_dino, and a configuration.
struct ModelFolder {
  test::TemporaryFolder folder;

  ModelFolder() { std::filesystem::copy_file(test::weights_of("hf_dino"), folder / "model.safetensors"); }

  void write(const std::string& text) const { std::ofstream(folder / "config.json") << text; }
  void write(const Json& config) const { write(config.dump(2)); }

  /// The folder's path.
  [[nodiscard]] std::string path() const { return std::filesystem::path(folder / "model.safetensors").parent_path().string(); }

  [[nodiscard]] BackboneDescription description(const BackboneFileOptions& options = {}) const {
    return BackboneFile::open(path(), options).description();
  }

  /// What is said of a configuration, one line.
  template <class Config>
  [[nodiscard]] std::string problem(const Config& config) const {
    write(config);
    return thrown_by<CheckpointError>([&] { static_cast<void>(description()); });
  }
};

}  // namespace

TEST_CASE("config.json: a folder of Transformers has its heads and epsilon from it") {
  const ModelFolder model;
  CHECK(model.description().heads == 0);
  CHECK_FALSE(model.description().heads_are_known);
  Json config = vit_config();
  config["layer_norm_eps"] = 1e-5;
  model.write(config);
  const BackboneDescription d = model.description();
  CHECK(d.heads == 4);
  CHECK(d.heads_are_known);
  CHECK(d.norm_epsilon == 1e-5);
  CHECK(BackboneFile::open(model.folder / "model.safetensors").description().heads == 4);
  CHECK(model.description({.heads = 4}).heads == 4);
  const std::string other = thrown_by<OptionError>([&] { static_cast<void>(model.description({.heads = 2})); });
  CHECK(contains(other, "'heads' is 2; expected 4, as "));
  CHECK(contains(other, "config.json says"));

  config.erase("layer_norm_eps");
  model.write(config);
  CHECK(model.description().norm_epsilon == 1e-12);
  // Without them Transformers takes numbers of its own: 12 heads, 1e-6 in ViT-MSN.
  config["model_type"] = "vit_msn";
  CHECK(contains(model.problem(config), "has no layer_norm_eps; expected the norms' epsilon"));
  config["layer_norm_eps"] = 1e-6;
  model.write(config);
  CHECK(model.description().norm_epsilon == 1e-6);
  config.erase("num_attention_heads");
  CHECK(contains(model.problem(config), "has no num_attention_heads; expected the number of heads"));
  config["num_attention_heads"] = nullptr;
  CHECK(contains(model.problem(config), "has no num_attention_heads"));
  model.write(std::string("{\"of\": \"another program\"}"));
  CHECK_FALSE(model.description().heads_are_known);
}

TEST_CASE("config.json: one that cannot be read is not none") {
  const ModelFolder model;
  std::filesystem::create_symlink("nowhere", model.folder / "config.json");
  CHECK(contains(thrown_by<FileError>([&] { static_cast<void>(model.description()); }), "config.json: "));
}

TEST_CASE("config.json: what is passed over takes no memory, and is large in some models") {
  const ModelFolder model;
  Json config = vit_config();
  Json& labels = config["id2label"] = Json::object();
  for (int i = 0; i < 60000; ++i) labels[std::to_string(i)] = std::string(20, 'a');
  model.write(config);
  CHECK(std::filesystem::file_size(model.folder / "config.json") > std::size_t{1} << 20U);
  CHECK(model.description().heads == 4);
  // An outer name of half a megabyte is not repeated before each of 50000 inner ones.
  std::string text = "{\"" + std::string(500000, 'k') + "\": {";
  for (int i = 0; i < 50000; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
  text += "},\"a\":1,\"a\":2}";
  CHECK(contains(model.problem(text), "has the field 'a' twice"));
  text = "{\"a\": 1";
  for (int i = 0; i < 10000; ++i) text += ",\"" + std::to_string(i) + "\":1";
  CHECK(contains(model.problem(text + "}"), "has more than 10000 fields"));
  CHECK(contains(thrown_by<CheckpointError>([&] {
                   BackboneDescription d = BackboneFile::open(test::weights_of("hf_dino")).description();
                   static_cast<void>(HuggingFaceConfig("c", "{}").complete(d, *open_tensor_file(test::weights_of("hf_dino"))));
                 }),
                 "has no model_type; expected 'vit', as"));
}

TEST_CASE("config.json: each contradiction is a line with field, value and what is expected") {
  const ModelFolder model;
  const std::vector<std::pair<Json, std::string>> all{
      {{{"hidden_size", 48}}, "has hidden_size 48; expected 32, as the weights beside it have it"},
      {{{"num_hidden_layers", 12}}, "has num_hidden_layers 12; expected 2, as"},
      {{{"intermediate_size", 64}}, "has intermediate_size 64; expected 128, as"},
      {{{"image_size", 224}}, "has image_size 224; expected 56, as"},
      {{{"patch_size", 16}}, "has patch_size 16; expected 8, as"},
      {{{"patch_size", {8, 8}}}, "has patch_size that is no single value; expected a number"},
      {{{"num_channels", 1}}, "has num_channels 1; expected 3, as"},
      {{{"qkv_bias", false}}, "has qkv_bias false; expected true, as"},
      {{{"qkv_bias", "yes"}}, "has qkv_bias 'yes'; expected true, as"},
      {{{"model_type", "dinov2"}}, "has model_type 'dinov2'; expected 'vit', as"},
      {{{"hidden_act", "gelu_pytorch_tanh"}}, "has hidden_act 'gelu_pytorch_tanh'; expected 'gelu', the exact one; no other is computed here"},
      {{{"hidden_act", 3}}, "has hidden_act 3; expected 'gelu'"},
      {{{"num_attention_heads", 5}}, "has num_attention_heads 5; expected a divisor of 32, the width"},
      {{{"num_attention_heads", 0}}, "has num_attention_heads 0; expected a divisor of 32"},
      {{{"num_attention_heads", -4}}, "has num_attention_heads -4; expected a divisor of 32"},
      {{{"num_attention_heads", 1e300}}, "has num_attention_heads 1e+300; expected a divisor of 32"},
      {{{"num_attention_heads", 2.5}}, "has num_attention_heads 2.5; expected a divisor of 32"},
      {{{"num_attention_heads", "4"}}, "has num_attention_heads '4'; expected a number"},
      {{{"layer_norm_eps", 0}}, "has layer_norm_eps 0; expected a number above 0, at most 1"},
      {{{"layer_norm_eps", true}}, "has layer_norm_eps true; expected a number"},
  };
  model.write(vit_config());
  CHECK_NOTHROW(model.description());
  for (const auto& [change, expected] : all) {
    Json config = vit_config();
    config.update(change);
    INFO(change.dump());
    const std::string problem = model.problem(config);
    CHECK(contains(problem, expected));
    CHECK(contains(problem, "config.json"));
    CHECK_FALSE(contains(problem, "\n"));
  }
}

TEST_CASE("config.json: what is no JSON of bounded size is refused by its byte") {
  const ModelFolder model;
  const std::vector<std::pair<std::string, std::string>> all{
      {"", "is damaged at byte 0; expected a JSON object"},
      {"[1]", "is damaged at byte 0; expected a JSON object"},
      {"{\"hidden_size\": 32", "is damaged at byte 18; expected '}'"},
      {"{\"hidden_size\": }", "; expected a number"},
      {"{\"hidden_size\": NaN}", "; expected a number"},
      {"{\"hidden_size\": nul}", "; expected 'null'"},
      {"{\"hidden_size\": 032}", "; expected a number without leading zeros"},
      {"{\"hidden_size\": 1.}", "; expected a number"},
      {"{\"hidden_size\": 1e999}", "; expected a number that is finite"},
      {"{\"a\": 1, \"a\": 2}", "has the field 'a' twice"},
      {"{\"a\": 1} b", "; expected nothing after the object"},
      {"{\"a\": " + std::string(100000, '['), "; expected at most 64 values within each other"},
      {"{\"a\": \"" + std::string(std::size_t{16} << 20U, 'a') + "\"}", "bytes; expected at most 16777216"},
  };
  for (const auto& [text, expected] : all) {
    INFO(text.substr(0, 40));
    CHECK(contains(model.problem(text), expected));
  }
}

TEST_CASE("preprocessor_config.json: what pixels are normalised by") {
  const test::TemporaryFolder folder;
  const std::string weights = folder / "model.safetensors";
  const auto write = [&](const std::string& text) { std::ofstream(folder / "preprocessor_config.json") << text; };
  CHECK_FALSE(pixels_beside(weights).has_value());
  write(R"({"do_normalize": true, "do_rescale": true, "image_mean": [0.5, 0.25, -0.125], "image_std": [0.5, 1, 2e0],
            "rescale_factor": 0.00392156862745098, "size": {"height": 224}, "crop": [[1], "a"]})");
  CHECK(pixels_beside(weights) == PixelScale{{0.5F, 0.25F, -0.125F}, {0.5F, 1.0F, 2.0F}});
  write(R"({"image_mean": [0.5], "image_std": null})");
  CHECK_FALSE(pixels_beside(weights).has_value());
  const auto problem = [&](const std::string& text) {
    write(text);
    return thrown_by<CheckpointError>([&] { static_cast<void>(pixels_beside(weights)); });
  };
  CHECK(contains(problem(R"({"image_mean": [0.5, 0.5], "image_std": [0.5]})"),
                 "preprocessor_config.json: has image_mean of 2 numbers and image_std of 1; expected one a channel"));
  CHECK(contains(problem(R"({"image_mean": [0.5, "a"], "image_std": [0.5]})"), "has image_mean that is no list of numbers; expected one a channel"));
  CHECK(contains(problem(R"({"image_mean": [0.5], "image_std": [0]})"), "has image_mean 0.5 and image_std 0; expected means of -10"));
  CHECK(contains(problem(R"({"image_mean": [123.675], "image_std": [58.395]})"), "has image_mean 123.675 and image_std 58.395; expected means of -10"));
  CHECK(contains(problem(R"({"image_mean": [0.5], "image_std": [1], "do_normalize": false})"), "has do_normalize that is not true"));
  CHECK(contains(problem(R"({"image_mean": [0.5], "image_std": [1], "rescale_factor": 1})"), "has rescale_factor 1; expected 1/255"));
  CHECK(contains(problem(R"({"image_mean": [0.5)"), "preprocessor_config.json: is damaged at byte 19; expected ']'"));
}

TEST_CASE("pixels: said by strings beside the tensors, by Transformers or by timm beside weights of their names, or as usual") {
  const ModelFolder model;
  const auto write = [&](const char* file, const std::string& text) { std::ofstream(model.folder / file) << text; };
  const auto pixels = [&] { return pixels_of(BackboneFile::open(model.path())); };
  CHECK(pixels() == usual_pixels(3));
  const PixelScale half{{0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F}}, odd{{0.1F, 0.33333334F, 1e-7F}, {0.25F, 3.0F, 0.7F}};
  // timm's says nothing of weights that Transformers names.
  const std::string of_timm = R"({"architecture": "vit", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "tag": {"a": 1}}})";
  write("config.json", of_timm);
  CHECK(pixels() == usual_pixels(3));
  write("config.json", vit_config().dump());
  write("preprocessor_config.json", R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})");
  CHECK(pixels() == half);
  write("preprocessor_config.json", R"({"image_mean": [0.5], "image_std": [0.5]})");
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(pixels()); }), "has 3 channels, and its pixels"));
  // What dssl writes of a Transformers' model says it itself, to the bit, wherever it lies.
  write("preprocessor_config.json", hugging_face_preprocessor(BackboneFile::open(model.path()).description(), odd));
  CHECK(pixels() == odd);
  const std::string named = model.folder / "named.safetensors";
  save_named_backbone(named, BackboneFile::open(model.path()), pixels_as_metadata(odd));
  CHECK(pixels_of(BackboneFile::open(named)) == odd);
  CHECK(pixels_as_metadata(usual_pixels(3)).empty());
  const auto problem = [&](const std::string& mean, const std::string& deviation) {
    save_named_backbone(named, BackboneFile::open(model.path()), {{"pixel_mean", mean}, {"pixel_deviation", deviation}});
    return thrown_by<CheckpointError>([&] { static_cast<void>(pixels_of(BackboneFile::open(named))); });
  };
  CHECK(contains(problem("0.5,0.5,0.5,", "1,1,1"), "named.safetensors: has pixel_mean '0.5,0.5,0.5,'; expected numbers joined by commas"));
  CHECK(contains(problem("0.5,a,0.5", "1,1,1"), "has pixel_mean '0.5,a,0.5'; expected numbers"));
  CHECK(contains(problem("0.5,0.5,0.5", "1,0,1"), "has pixel_mean 0.5 and pixel_deviation 0; expected means of -10"));
  CHECK(contains(problem("0.5,0.5", "1,1"), "has 3 channels, and its pixels"));
  // timm's beside weights of DINO's names, under the name that timm looks for alone.
  std::filesystem::copy_file(test::weights_of("container_safetensors"), model.folder / "model.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy_file(test::weights_of("container_safetensors"), model.folder / "other.safetensors");
  write("config.json", of_timm);
  CHECK(pixels() == half);
  CHECK(pixels_of(BackboneFile::open(model.folder / "other.safetensors")) == usual_pixels(3));
  // So are the rules: the names are DINO's, which reads positions otherwise.
  const auto family = [&](const char* file, const BackboneFileOptions& options = {}) {
    return BackboneFile::open(model.folder / file, options).description().family;
  };
  CHECK(BackboneFile::open(model.path()).description().position == PositionScheme::size_antialiased);
  CHECK(family("model.safetensors") == WeightFamily::timm);
  CHECK(family("model.safetensors", {.family = WeightFamily::dino}) == WeightFamily::dino);
  CHECK(family("other.safetensors") == WeightFamily::dino);
  write("config.json", R"({"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}})");
  CHECK(pixels() == usual_pixels(3));
  CHECK(family("model.safetensors") == WeightFamily::dino);
  // As timm's flexivit has it, which keeps no position of the class token.
  const auto dino = open_tensor_file(test::weights_of("container_safetensors"));
  std::vector<std::vector<float>> values;
  values.reserve(dino->tensors().size());
  SafetensorsWriter writer;
  for (const StoredTensor& tensor : dino->tensors()) {
    const bool table = tensor.name == "pos_embed";
    values.push_back(dino->read<float>(tensor.name));
    writer.add(tensor.name, table ? std::vector<Index>{1, 25, 16} : tensor.shape, std::span<const float>(values.back()).subspan(table ? 16 : 0));
  }
  writer.write(model.folder / "model.safetensors");
  write("config.json", of_timm);
  CHECK(BackboneFile::open(model.path()).description().table_side == 5);
}

TEST_CASE("config.json: a folder without one file of weights says what was looked for") {
  const test::TemporaryFolder folder;
  const std::string path = std::filesystem::path(folder / "x").parent_path().string();
  const auto problem = [&] { return thrown_by<Error>([&] { static_cast<void>(open_tensor_file(path)); }); };
  CHECK(contains(problem(), "is a folder without 'model.safetensors' or 'pytorch_model.bin'"));
  std::ofstream(folder / "model.safetensors.index.json") << "{}";
  CHECK(contains(problem(), "holds weights in several files; expected one"));
  std::filesystem::copy_file(test::weights_of("container_zip"), folder / "pytorch_model.bin");
  std::filesystem::remove(folder / "model.safetensors.index.json");
  CHECK(open_tensor_file(path)->tensors().size() == 18);
}

TEST_CASE("config.json: one of several files of a backbone is said what it is") {
  const test::TemporaryFolder folder;
  const auto source = open_tensor_file(test::weights_of("hf_dino"));
  const auto written = [&](const std::string& name, bool whole) {
    SafetensorsWriter writer;
    std::vector<std::vector<float>> values;
    values.reserve(source->tensors().size());
    for (const StoredTensor& tensor : source->tensors()) {
      if (!whole && contains(tensor.name, "layer.0.")) continue;
      values.push_back(source->read<float>(tensor.name));
      writer.add(tensor.name, tensor.shape, std::span<const float>(values.back()));
    }
    writer.write(folder / name);
    return thrown_by<CheckpointError>([&] { static_cast<void>(BackboneFile::open(folder / name)); });
  };
  const std::string one_of_two = "model-00001-of-00002.safetensors";
  CHECK(contains(written(one_of_two, false), one_of_two + ": is one of several files that hold a backbone together; expected one (save_pretrained"));
  CHECK(written(one_of_two, true) == "(nothing was thrown)");  // where the others hold something else
  CHECK(open_tensor_file(folder / one_of_two)->tensors().size() == source->tensors().size());
  for (const char* const name : {"model-00001-of-00001.safetensors", "of-2.safetensors", "a-of-2.safetensors", "1-of-all.safetensors", "1-of-.safetensors"}) {
    INFO(name);
    const std::string said = written(name, false);
    CHECK(contains(said, name));
    CHECK(!contains(said, "several files"));
  }
}

TEST_CASE("config.json: those that Transformers wrote agree with their weights") {
  for (const auto& entry : std::filesystem::directory_iterator(test::interop_folder())) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    INFO(entry.path().string());
    std::ifstream text(entry.path() / "config.json");
    const Json config = Json::parse(text);
    const BackboneFile file = BackboneFile::open(entry.path().string());
    CHECK(file.description().heads_are_known);
    CHECK(file.description().heads == config.at("num_attention_heads").get<Index>());
    CHECK(file.description().norm_epsilon == config.at("layer_norm_eps").get<double>());
  }
}

TEST_CASE("config.json: rotary periods are made from its rope_theta") {
  const std::string there = test::interop_folder() + "/hf_dinov3";
  if (!test::has_case("hf_dinov3")) return;
  const test::TemporaryFolder folder;
  std::filesystem::copy_file(there + "/model.safetensors", folder / "model.safetensors");
  std::ifstream text(there + "/config.json");
  Json config = Json::parse(text);
  const auto periods = [&] {
    std::ofstream(folder / "config.json") << config;
    return BackboneFile::open(folder / "model.safetensors").read<double>("rope_embed.periods");
  };
  const auto is = [](const std::vector<double>& values, double theta) {
    REQUIRE(values.size() == 4);
    for (std::size_t i = 0; i < 4; ++i)
      CHECK(std::abs(values[i] / std::pow(theta, static_cast<double>(i) / 4) - 1) < 1e-6);
  };
  is(periods(), 100);
  config["rope_theta"] = 50.0;
  is(periods(), 50);
  config["rope_parameters"] = {{"rope_theta", 50.0}, {"rope_type", "default"}};
  is(periods(), 50);
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 100.0}};
  is(periods(), 100);
  const std::vector<std::pair<Json, std::string>> all{
      {{{"num_attention_heads", 3}}, "has num_attention_heads 3; expected a divisor of 8, a fourth of the width"},
      {{{"rope_parameters", {{"rope_theta", 25.0}}}}, "has rope_parameters.rope_theta 25; expected 100, the rope_theta"},
      {{{"rope_parameters", {{"rope_type", "linear"}}}}, "has rope_parameters.rope_type 'linear'; expected 'default'"},
      {{{"rope_theta", 0.5}}, "has rope_theta 0.5; expected a number from 1 to 1e9"},
      {{{"rope_theta", 1e10}}, "has rope_theta 1e+10; expected a number from 1 to 1e9"},
      {{{"num_register_tokens", 0}}, "has num_register_tokens 0; expected 4, as"},
      {{{"use_gated_mlp", true}}, "has use_gated_mlp true; expected false, as"},
      {{{"key_bias", true}}, "has key_bias true; expected false, as"},
      {{{"hidden_act", "relu"}}, "has hidden_act 'relu'; expected 'gelu'"},
  };
  const Json good = config;
  for (const auto& [change, expected] : all) {
    config = good;
    config.update(change);
    CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(periods()); }), expected));
  }
}

TEST_CASE("config.json: a gated DINOv3's activation has to be said") {
  const std::string there = test::interop_folder() + "/hf_dinov3_gated";
  if (!test::has_case("hf_dinov3_gated")) return;
  std::ifstream text(there + "/config.json");
  Json config = Json::parse(text);
  config.erase("hidden_act");
  BackboneDescription d = BackboneFile::open(there).description();
  const auto weights = open_tensor_file(there);
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(HuggingFaceConfig("c", config.dump()).complete(d, *weights)); }),
                 "has no hidden_act; expected 'silu', the gate's"));
}
