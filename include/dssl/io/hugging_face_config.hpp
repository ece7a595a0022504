// The `config.json` that Transformers keeps beside a model's weights: what it says that no tensor's name does, and the
// one that a backbone written for Transformers needs.
// Tests: tests/io/hugging_face_config.cpp, tests/interop/strict_loads.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/exact_number.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/json_reader.hpp>
#include <dssl/io/json_writer.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

namespace detail {

/// A field of a configuration that is one value or a list of numbers; other lists and objects are `other`.
struct ConfigValue {
  enum class Kind { null, boolean, number, text, numbers, other };
  Kind kind = Kind::null;
  double number = 0;  ///< of a boolean 0 or 1
  std::string text{};
  std::vector<double> numbers{};
};

using ConfigFields = std::map<std::string, ConfigValue, std::less<>>;

/// Reads the fields of a configuration; of the objects within it only "rope_parameters" and timm's "pretrained_cfg", whose
/// fields are "rope_parameters.inner".
class ConfigParser : JsonReader {
 public:
  ConfigParser(std::string_view path, std::string_view text) : JsonReader(path, text, "", 0) {}

  [[nodiscard]] ConfigFields parse() {
    if (ahead() != '{') fail("a JSON object, '{'");
    members("", 0);
    end("the object");
    return std::move(x_fields);
  }

 private:
  void members(const std::string& before, int depth) {
    std::set<std::string> names;
    object([&](const std::string& key) {
      if (!names.insert(key).second) throw CheckpointError(path(), join("has the field '", before + key, "' twice"));
      if (names.size() > most_fields) throw CheckpointError(path(), join("has more than ", most_fields, " fields"));
      x_fields.insert_or_assign(before + key, value(before + key, depth));
    });
  }

  [[nodiscard]] ConfigValue value(const std::string& name, int depth) {
    using Kind = ConfigValue::Kind;
    const char c = ahead();
    if (c == '"') return {.kind = Kind::text, .text = string()};
    if (c == '[') return list();
    if (begins_number(c)) return {.kind = Kind::number, .number = number(), .text = {}};
    if (c == 't' || c == 'f') {
      word(c == 't' ? "true" : "false");
      return {.kind = Kind::boolean, .number = c == 't' ? 1.0 : 0.0, .text = {}};
    }
    if (c == 'n') {
      word("null");
      return {};
    }
    if (c == '{' && depth == 0 && (name == "rope_parameters" || name == "pretrained_cfg")) {
      members(name + ".", 1);
    } else {
      pass_over();
    }
    return {.kind = Kind::other, .text = {}};
  }

  [[nodiscard]] static bool begins_number(char c) { return c == '-' || (c >= '0' && c <= '9'); }

  [[nodiscard]] ConfigValue list() {
    ConfigValue out{.kind = ConfigValue::Kind::numbers};
    expect('[');
    if (next_is(']')) return out;
    do {
      if (begins_number(ahead()) && out.numbers.size() < most_numbers) {
        out.numbers.push_back(number());
      } else {
        pass_over(1);
        out.kind = ConfigValue::Kind::other;
      }
    } while (next_is(','));
    expect(']');
    return out;
  }

  static constexpr std::size_t most_fields = 10000;
  static constexpr std::size_t most_numbers = 64;

  ConfigFields x_fields;
};

/// The fields of a configuration; nothing where there is no such file. Throws `FileError` where it is there and cannot be
/// read, as a link that leads nowhere, `CheckpointError` where it is damaged.
[[nodiscard]] inline std::optional<ConfigFields> config_fields(const std::string& path) {
  constexpr std::size_t most_bytes = std::size_t{16} << 20U;
  std::error_code unknown;
  if (std::filesystem::symlink_status(path, unknown).type() == std::filesystem::file_type::not_found) return std::nullopt;
  const MappedFile file(path);
  if (file.bytes().size() > most_bytes)
    throw CheckpointError(path, join("has ", file.bytes().size(), " bytes; expected at most ", most_bytes));
  return ConfigParser(path, {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}).parse();
}

}  // namespace detail

/// The kinds of model of Transformers whose weights are read and written here.
enum class HuggingFaceModel { vit, dinov2, dinov2_with_registers, dinov3_vit };

namespace detail {

inline constexpr std::array<std::string_view, 4> hugging_face_models{"vit", "dinov2", "dinov2_with_registers", "dinov3_vit"};
/// The class of each that is the backbone alone.
inline constexpr std::array<std::string_view, 4> hugging_face_classes{"ViTModel", "Dinov2Model", "Dinov2WithRegistersModel",
                                                                      "DINOv3ViTModel"};

/// Rows of gate or value that Transformers' Dinov2 gives SwiGLU for an MLP of so many.
[[nodiscard]] constexpr Index dinov2_swiglu_hidden(Index hidden) { return (hidden * 2 / 3 + 7) / 8 * 8; }

}  // namespace detail

/// What Transformers calls a backbone of this description: Dinov2 where there is LayerScale, or was before it
/// was folded, SwiGLU or a register.
[[nodiscard]] constexpr HuggingFaceModel hugging_face_model_of(const BackboneDescription& d) {
  if (d.position == PositionScheme::rotary) return HuggingFaceModel::dinov3_vit;
  if (d.registers > 0) return HuggingFaceModel::dinov2_with_registers;
  return d.layer_scale || d.layer_scale_folded || d.mlp == MlpKind::swiglu ? HuggingFaceModel::dinov2 : HuggingFaceModel::vit;
}

/// A `config.json` of Transformers, as it was read.
class HuggingFaceConfig {
 public:
  /// That of the folder in which a file of weights lies; nothing where there is none, or it is no model's of
  /// Transformers, without `model_type`. Throws `FileError` where it is there and cannot be read, as a link that leads
  /// nowhere, `CheckpointError` where it is damaged.
  [[nodiscard]] static std::optional<HuggingFaceConfig> beside(const std::string& weights) {
    auto fields = detail::config_fields(path_beside(weights));
    if (!fields) return std::nullopt;
    HuggingFaceConfig config(path_beside(weights), std::move(*fields));
    if (!config.has("model_type")) return std::nullopt;
    return config;
  }

  /// Where it lies for a file of weights.
  [[nodiscard]] static std::string path_beside(const std::string& weights) {
    return (std::filesystem::path(weights).parent_path() / "config.json").string();
  }

  /// `text`: the whole of it, from `path`.
  HuggingFaceConfig(std::string path, std::string_view text)
      : x_path(std::move(path)), x_fields(detail::ConfigParser(x_path, text).parse()) {}
  /// What was read of it.
  HuggingFaceConfig(std::string path, detail::ConfigFields fields) : x_path(std::move(path)), x_fields(std::move(fields)) {}

  /// Holds what the tensors say of a backbone against the fields, and takes from these what no tensor says: the number of
  /// heads and the norms' epsilon.
  ///
  /// Returns `rope_theta`, from which rotary periods are made, 100 where it is not said. Other fields that are not there
  /// leave `d` as it is, but for those in whose place Transformers takes what dssl does not: the number of heads, the
  /// activation of DINOv3's gate, and the epsilon of ViT's kin. Throws `CheckpointError` naming the field, its value and
  /// what is expected where a field contradicts the tensors, asks for what the ViT does not have (an activation that is
  /// not the exact GELU, another kind of rotation), or is missing though it decides.
  [[nodiscard]] double complete(BackboneDescription& d, const TensorFile& weights) const {
    const HuggingFaceModel model = kind_of(d);
    const bool dinov2 = model == HuggingFaceModel::dinov2 || model == HuggingFaceModel::dinov2_with_registers;
    const bool dinov3 = model == HuggingFaceModel::dinov3_vit;
    require("hidden_size", d.width);
    require("num_hidden_layers", d.depth);
    require("num_channels", d.channels);
    require("patch_size", d.patch);
    if (d.table_side > 0) require("image_size", d.native_image());
    if (d.registers > 0 || dinov3) require("num_register_tokens", d.registers);
    if (dinov2) {
      require_flag("use_swiglu_ffn", d.mlp == MlpKind::swiglu);
      if (has("mlp_ratio")) require_ratio(d);
    } else {
      require("intermediate_size", d.hidden);
    }
    if (dinov3) require_flag("use_gated_mlp", d.mlp == MlpKind::swiglu);
    require_there("num_attention_heads", "the number of heads");
    if (dinov3 && d.mlp == MlpKind::swiglu) require_there("hidden_act", "'silu', the gate's");
    if (text("model_type") != detail::hugging_face_models.at(static_cast<std::size_t>(model)))
      require_there("layer_norm_eps", "the norms' epsilon");
    // Dinov2's gate is SiLU whatever this says.
    if (has("hidden_act") && !(dinov2 && d.mlp == MlpKind::swiglu)) {
      const std::string_view expected = d.mlp == MlpKind::swiglu ? "silu" : "gelu";
      const detail::ConfigValue& said = x_fields.find("hidden_act")->second;
      if (said.kind != detail::ConfigValue::Kind::text || said.text != expected)
        refuse("hidden_act", join("'", expected, d.mlp == MlpKind::swiglu ? "', the gate's" : "', the exact one", "; no other is computed here"));
    }
    for (const auto& [field, names] : biases(model)) {
      if (has(field)) require_flag(field, has_tensor(weights, names));
    }
    if (has("layer_norm_eps")) {
      d.norm_epsilon = number("layer_norm_eps");
      if (!(d.norm_epsilon > 0) || d.norm_epsilon > 1) refuse("layer_norm_eps", "a number above 0, at most 1");
    }
    const double heads_said = number("num_attention_heads");
    const Index of = dinov3 ? d.width / 4 : d.width;
    const Index heads = heads_said >= 1 && heads_said <= static_cast<double>(of) ? static_cast<Index>(heads_said) : 0;
    if (heads == 0 || static_cast<double>(heads) != heads_said || of % heads != 0)
      refuse("num_attention_heads", join("a divisor of ", of, dinov3 ? ", a fourth of the width" : ", the width"));
    d.heads = heads;
    d.heads_are_known = true;
    if (!dinov3) return 100;
    const double theta = has("rope_theta") ? number("rope_theta") : 100;
    if (!(theta >= 1 && theta <= 1e9)) refuse("rope_theta", "a number from 1 to 1e9");
    // Transformers' DINOv3 takes no notice of these: they may say the same, and nothing else.
    if (has("rope_parameters.rope_theta") && number("rope_parameters.rope_theta") != theta)
      refuse("rope_parameters.rope_theta", join(exact_number(theta), ", the rope_theta that periods are made from"));
    if (has("rope_parameters.rope_type") && text("rope_parameters.rope_type") != "default")
      refuse("rope_parameters.rope_type", "'default'; no other is computed here");
    return theta;
  }

 private:
  using Kind = detail::ConfigValue::Kind;
  [[nodiscard]] bool has(std::string_view field) const {
    const auto found = x_fields.find(field);
    return found != x_fields.end() && found->second.kind != Kind::null;
  }

  /// What was said, for a message.
  [[nodiscard]] std::string said(std::string_view field) const {
    const detail::ConfigValue& value = x_fields.find(field)->second;
    switch (value.kind) {
      case Kind::text: return join("'", value.text, "'");
      case Kind::boolean: return value.number > 0 ? "true" : "false";
      case Kind::number: return exact_number(value.number);
      default: return "that is no single value";
    }
  }

  [[noreturn]] void refuse(std::string_view field, std::string_view expected) const {
    throw CheckpointError(x_path, join("has ", field, " ", said(field), "; expected ", expected));
  }

  [[nodiscard]] double number(std::string_view field) const {
    const detail::ConfigValue& value = x_fields.find(field)->second;
    if (value.kind != Kind::number) refuse(field, "a number");
    return value.number;
  }

  /// The text of a field that is there; empty where it is none.
  [[nodiscard]] std::string_view text(std::string_view field) const { return x_fields.find(field)->second.text; }

  void require_there(std::string_view field, std::string_view expected) const {
    if (!has(field)) throw CheckpointError(x_path, join("has no ", field, "; expected ", expected, ", which Transformers guesses otherwise"));
  }

  void require(std::string_view field, Index expected) const {
    if (has(field) && number(field) != static_cast<double>(expected)) refuse(field, join(expected, as_tensors));
  }

  void require_flag(std::string_view field, bool expected) const {
    if (!has(field)) return;
    const detail::ConfigValue& value = x_fields.find(field)->second;
    if (value.kind != Kind::boolean || (value.number > 0) != expected)
      refuse(field, join(expected ? "true" : "false", as_tensors));
  }

  void require_ratio(const BackboneDescription& d) const {
    const double rows = number("mlp_ratio") * static_cast<double>(d.width);
    if (!(rows >= 1 && rows < 1e9)) refuse("mlp_ratio", "hidden units for one of the width");
    const auto hidden = static_cast<Index>(rows);
    const Index own = d.mlp == MlpKind::swiglu ? detail::dinov2_swiglu_hidden(hidden) : hidden;
    if (own != d.hidden) refuse("mlp_ratio", join("that of ", d.hidden, " hidden units, not of ", own, as_tensors));
  }

  [[nodiscard]] HuggingFaceModel kind_of(const BackboneDescription& d) const {
    const HuggingFaceModel own = hugging_face_model_of(d);
    const std::string_view name = detail::hugging_face_models.at(static_cast<std::size_t>(own));
    if (!has("model_type")) throw CheckpointError(x_path, join("has no model_type; expected '", name, "'", as_tensors));
    const detail::ConfigValue& type = x_fields.find("model_type")->second;
    // These differ from ViT in how they are trained.
    const bool kin = own == HuggingFaceModel::vit && (type.text == "vit_mae" || type.text == "vit_msn");
    if (type.kind != Kind::text || (type.text != name && !kin)) refuse("model_type", join("'", name, "'", as_tensors));
    return own;
  }

  /// Fields that say whether a bias is there, and how the name of its weight ends, of old and of new files.
  [[nodiscard]] static std::map<std::string_view, std::array<std::string_view, 2>> biases(HuggingFaceModel model) {
    if (model != HuggingFaceModel::dinov3_vit) return {{"qkv_bias", {"attention.query.bias", "attention.q_proj.bias"}}};
    return {{"query_bias", {"attention.q_proj.bias", "attention.q_proj.bias"}},
            {"key_bias", {"attention.k_proj.bias", "attention.k_proj.bias"}},
            {"value_bias", {"attention.v_proj.bias", "attention.v_proj.bias"}}};
  }

  [[nodiscard]] static bool has_tensor(const TensorFile& weights, const std::array<std::string_view, 2>& endings) {
    return std::ranges::any_of(weights.tensors(), [&](const StoredTensor& tensor) {
      return tensor.name.ends_with(endings[0]) || tensor.name.ends_with(endings[1]);
    });
  }

  static constexpr std::string_view as_tensors = ", as the weights beside it have it";

  std::string x_path;
  detail::ConfigFields x_fields;
};

/// The fields of the `config.json` that timm keeps beside `model.safetensors` and `pytorch_model.bin`, `pretrained_cfg`'s too;
/// empty where there is none, or it is none of timm's, without `architecture`. Throws as `HuggingFaceConfig::beside`.
[[nodiscard]] inline detail::ConfigFields timm_config_beside(const std::string& weights) {
  const std::string name = std::filesystem::path(weights).filename().string();
  if (name != "model.safetensors" && name != "pytorch_model.bin") return {};
  const auto fields = detail::config_fields(HuggingFaceConfig::path_beside(weights));
  return fields && fields->contains("architecture") ? *fields : detail::ConfigFields();
}

/// What `config.json` says of a DINOv3 beside its sizes.
struct RotaryConfig {
  double theta = 100;     ///< periods are theta^(4 i / d) for i below d / 4, d the width of a head
  bool key_bias = false;  ///< keys have a bias
};

/// The `config.json` with which Transformers loads a backbone that `export_backbone` wrote under its names.
///
/// `d`: its description, with the number of heads; `rotary`: of one that rotates. Throws `OptionError` where the number of heads
/// is not known or does not divide the width, or a fourth of it where that is rotated, `CheckpointError` (for the file `path`)
/// where Dinov2 has no field for the MLP's size. Tests: tests/io/backbone_names.cpp, tests/interop/strict_loads.py.
[[nodiscard]] inline std::string hugging_face_config(const BackboneDescription& d, const std::string& path, const RotaryConfig& rotary = {}) {
  const bool rotates = d.position == PositionScheme::rotary;
  if (d.width < 1) throw CheckpointError(path, join("has a width of ", d.width, "; expected at least 1"));
  const Index divided = rotates ? d.width / 4 : d.width;
  if (d.heads < 1 || divided % d.heads != 0)
    throw OptionError("heads", d.heads, join("the number of heads of ", path, ", a divisor of ", rotates ? "a fourth of " : "", "its width ", d.width));
  const HuggingFaceModel model = hugging_face_model_of(d);
  const auto which = static_cast<std::size_t>(model);
  std::string out = "{\n";
  const auto add = [&](std::string_view field, const auto& value) { out += join("  \"", field, "\": ", value, ",\n"); };
  add("architectures", join("[\"", detail::hugging_face_classes.at(which), "\"]"));
  add("model_type", join("\"", detail::hugging_face_models.at(which), "\""));
  add("dtype", "\"float32\"");
  add("hidden_size", d.width);
  add("num_hidden_layers", d.depth);
  add("num_attention_heads", d.heads);
  const auto truth = [](bool value) { return value ? "true" : "false"; };
  if (model == HuggingFaceModel::vit) {
    add("intermediate_size", d.hidden);
  } else if (rotates) {
    add("intermediate_size", d.hidden);
    add("use_gated_mlp", truth(d.mlp == MlpKind::swiglu));
    add("num_register_tokens", d.registers);
    add("rope_theta", detail::as_fraction(exact_number(rotary.theta)));
    add("query_bias", truth(d.qkv_bias));
    add("key_bias", truth(rotary.key_bias));
    add("value_bias", truth(d.qkv_bias));
    add("proj_bias", "true");
    add("mlp_bias", "true");
  } else {
    Index ratio = 1;
    const bool swiglu = d.mlp == MlpKind::swiglu;
    const auto hidden = [&] { return swiglu ? detail::dinov2_swiglu_hidden(ratio * d.width) : ratio * d.width; };
    while (hidden() < d.hidden) ++ratio;
    if (hidden() != d.hidden) {
      throw CheckpointError(path, join("has ", swiglu ? "SwiGLU" : "an MLP", " of ", d.hidden, " for a width of ", d.width,
                                       ", which no mlp_ratio of Transformers' Dinov2 gives"));
    }
    add("mlp_ratio", ratio);
    add("use_swiglu_ffn", swiglu ? "true" : "false");
    add("use_mask_token", "true");
    if (d.registers > 0) add("num_register_tokens", d.registers);
  }
  add("hidden_act", rotates && d.mlp == MlpKind::swiglu ? "\"silu\"" : "\"gelu\"");
  if (!rotates) {
    add("hidden_dropout_prob", "0.0");
    add("attention_probs_dropout_prob", "0.0");
    add("qkv_bias", "true");
  }
  add("layer_norm_eps", detail::as_fraction(exact_number(d.norm_epsilon)));
  add("image_size", d.usual_image());
  add("patch_size", d.patch);
  out += join("  \"num_channels\": ", d.channels, "\n}\n");
  return out;
}

}  // namespace dssl
