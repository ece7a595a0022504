// A backbone written under the names of another family, for that family's own code.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/exact_number.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/json_writer.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

/// Throws `CheckpointError` for weights that were trained with the relation all-query, which no other family's attention
/// knows. Tests: tests/io/backbone_names.cpp, tests/features/onnx_backbone.cpp.
inline void require_full_attention(const TensorFile& file) {
  const auto relation = file.metadata().find("relation");
  if (relation == file.metadata().end()) return;
  for (const NamedRelation& known : named_relations) {
    if (known.name == "all-query" && (relation->second == known.name || relation->second == known.published_name))
      throw CheckpointError(file.path(), "was trained with relation all-query, whose patches do not see the class token; "
                                         "in the code of every other family they do");
  }
}

/// The theta whose powers theta^(4 i / d) rotary periods are, d / 4 of them, and by what share of itself the period is off that
/// is so the most. 100 where that is as near as numbers of 16 bits (bf16) are, which DINOv3 stores; else what the last one says.
struct PeriodsOfTheta {
  double theta = 100;
  double off = 0;

  [[nodiscard]] static PeriodsOfTheta of(std::span<const float> periods) {
    const auto n = static_cast<double>(periods.size());
    const auto apart = [&](double base) {
      double out = 0;
      for (std::size_t i = 0; i < periods.size(); ++i)
        out = std::max(out, std::abs(static_cast<double>(periods[i]) / std::pow(base, static_cast<double>(i) / n) - 1));
      return out;
    };
    PeriodsOfTheta usual{.theta = 100, .off = apart(100)};
    if (usual.off <= rounding || periods.size() < 2) return usual;
    const double of_last = std::pow(static_cast<double>(periods.back()), n / (n - 1));
    return {.theta = of_last, .off = apart(of_last)};
  }
  static constexpr double rounding = 1.0 / 256;
};

/// A tensor under the name of another family, with its values.
struct ExportedTensor {
  std::string name;
  std::vector<Index> shape;
  std::vector<float> values;
};

namespace detail {

/// Renames one backbone's tensors for a family.
class BackboneExporter {
 public:
  BackboneExporter(const TensorFile& file, const BackboneDescription& d, WeightFamily as)
      : x_file(file), x_d(d), x_as(as), x_rotates(d.position == PositionScheme::rotary) {
    require_parts();
    if (has_key_bias() && is(WeightFamily::timm)) refuse("a bias of keys");
  }

  [[nodiscard]] std::vector<ExportedTensor> all() {
    tokens();
    for (Index i = 0; i < x_d.depth; ++i) block(join("blocks.", i, "."), before_block(i));
    const std::string norm = is(WeightFamily::torchvision)                        ? "encoder.ln"
                             : is(WeightFamily::hugging_face) && !x_rotates       ? "layernorm"
                                                                                  : "norm";
    pair("norm", norm);
    if (is(WeightFamily::dinov3)) {
      if (x_d.class_norm) pair("cls_norm", "cls_norm");
      if (x_d.local_class_norm) pair("local_cls_norm", "local_cls_norm");
    }
    return std::move(x_out);
  }

 private:
  [[nodiscard]] bool is(WeightFamily family) const { return x_as == family; }

  [[noreturn]] void refuse(std::string_view what) const {
    throw CheckpointError(x_file.path(), join("has ", what, ", for which the family ", family_name(x_as), " has no names here"));
  }

  /// Whether Transformers calls it ViT; else it is a Dinov2, or a DINOv3 where it rotates.
  [[nodiscard]] bool is_hf_vit() const {
    return is(WeightFamily::hugging_face) && hugging_face_model_of(x_d) == HuggingFaceModel::vit;
  }

  /// Whether it is a DINOv2's code, which has a mask token and LayerScale in every model.
  [[nodiscard]] bool is_dinov2() const {
    return is(WeightFamily::dinov2) || (is(WeightFamily::hugging_face) && !is_hf_vit() && !x_rotates);
  }

  /// Throws `CheckpointError` for a part that the family's ViT does not have.
  void require_parts() const {
    if (x_rotates && !is(WeightFamily::dinov3) && !is(WeightFamily::timm) && !is(WeightFamily::hugging_face)) refuse("rotary positions");
    if (!x_rotates && is(WeightFamily::dinov3)) refuse("a position table");
    if (x_rotates && !x_file.contains("rope_embed.periods"))
      throw OptionError("heads", x_d.heads, join("the number of heads of ", x_file.path(), ", which it does not say"));
    if (x_rotates && x_d.registers == 0 && !is(WeightFamily::dinov3)) refuse("rotary positions without registers");
    if (x_rotates && !is(WeightFamily::dinov3)) require_theta();
    require_full_attention(x_file);
    const bool plain = is(WeightFamily::dino) || is(WeightFamily::densedino) || is(WeightFamily::torchvision);
    if (plain && x_d.layer_scale) refuse("LayerScale");
    if (x_d.registers > 0 && plain) refuse("register tokens");
    if (x_d.mlp == MlpKind::swiglu && plain) refuse("SwiGLU");
    if (is(WeightFamily::dinov2) && x_d.mlp == MlpKind::swiglu && x_d.hidden % 8 != 0)
      refuse(join("SwiGLU of ", x_d.hidden, ", no multiple of 8"));
    if (x_d.class_norm && !is(WeightFamily::dinov3)) refuse("a norm of class tokens beside that of patches");
    if (x_d.reference_token && !is(WeightFamily::densedino)) refuse("a learned reference token");
    // Hugging Face's stands in config.json.
    const double epsilon = x_rotates ? 1e-5 : 1e-6;
    if (!is(WeightFamily::hugging_face) && std::abs(x_d.norm_epsilon / epsilon - 1) > 1e-6) {
      throw CheckpointError(x_file.path(), join("has norms with an epsilon of ", x_d.norm_epsilon, ", and those of the family ",
                                                family_name(x_as), " have ", epsilon, ": its code would compute other features"));
    }
  }

  /// Code of others than DINOv3's own computes the periods, timm's from 100.
  void require_theta() const {
    const PeriodsOfTheta found = PeriodsOfTheta::of(read("rope_embed.periods"));
    if (found.off > PeriodsOfTheta::rounding) refuse("rotary periods that are no powers of one number");
    if (is(WeightFamily::timm) && found.theta != 100) refuse(join("rotary periods of a theta of ", found.theta, ", not 100"));
  }

  /// Of a backbone that rotates: some key has a bias.
  [[nodiscard]] bool has_key_bias() const { return x_rotates && x_d.qkv_bias && x_d.key_bias; }

  [[nodiscard]] std::vector<float> read(const std::string& name) const { return x_file.read<float>(name); }

  void add(std::string name, std::vector<Index> shape, std::vector<float> values) {
    x_out.push_back({std::move(name), std::move(shape), std::move(values)});
  }

  /// A tensor under another name.
  void one(const std::string& from, std::string to) { add(std::move(to), x_file.shape(from), read(from)); }

  /// Weight and bias of a layer.
  void pair(const std::string& from, const std::string& to) {
    one(from + ".weight", to + ".weight");
    one(from + ".bias", to + ".bias");
  }

  [[nodiscard]] std::string before_block(Index i) const {
    return is(WeightFamily::torchvision)    ? join("encoder.layers.encoder_layer_", i, ".")
           : is(WeightFamily::hugging_face) ? join(x_rotates ? "layer." : "encoder.layer.", i, ".")
                                            : join("blocks.", i, ".");
  }

  void tokens() {
    const bool hf = is(WeightFamily::hugging_face);
    const bool torchvision = is(WeightFamily::torchvision);
    std::vector<float> class_token = read("cls_token");
    if (x_rotates) return rotated_tokens(std::move(class_token));
    const std::vector<float> class_position = read("cls_pos_embed");
    // timm adds the class token's position to it where there are registers, as in DeiT-III, and keeps no row
    // for it.
    const bool none =
        std::all_of(class_position.begin(), class_position.end(), [](float value) { return value == 0; });
    const bool summed = is(WeightFamily::timm) && (x_d.registers > 0 || none);
    if (summed) {
      for (std::size_t i = 0; i < class_token.size(); ++i) class_token[i] += class_position[i];
    }
    add(hf            ? "embeddings.cls_token"
        : torchvision ? "class_token"
                      : "cls_token",
        {1, 1, x_d.width}, std::move(class_token));
    const Index cells = x_d.table_side * x_d.table_side;
    std::vector<float> table = read("patch_pos_embed");
    if (is(WeightFamily::densedino)) {
      add("cls_pos_embed", {1, 1, x_d.width}, class_position);
      add("patch_pos_embed", {1, cells, x_d.width}, std::move(table));
    } else {
      if (!summed) table.insert(table.begin(), class_position.begin(), class_position.end());
      add(hf            ? "embeddings.position_embeddings"
          : torchvision ? "encoder.pos_embedding"
                        : "pos_embed",
          {1, cells + (summed ? 0 : 1), x_d.width}, std::move(table));
    }
    if (x_d.registers > 0) {
      one("register_tokens", hf                       ? "embeddings.register_tokens"
                             : is(WeightFamily::timm) ? "reg_token"
                                                      : "register_tokens");
    }
    if (x_d.reference_token) one("ref_learn_token", "ref_learn_token");
    // DINOv2's own code and Transformers' expect it, though it takes no part where nothing is masked.
    if (is_dinov2()) {
      const auto width = static_cast<std::size_t>(x_d.width);
      add(hf ? "embeddings.mask_token" : "mask_token", {1, x_d.width},
          x_d.mask_token ? read("mask_token") : std::vector<float>(width));
    }
    pair("patch_embed.proj", hf            ? "embeddings.patch_embeddings.projection"
                             : torchvision ? "conv_proj"
                                           : "patch_embed.proj");
  }

  void rotated_tokens(std::vector<float> class_token) {
    const bool hf = is(WeightFamily::hugging_face), own = is(WeightFamily::dinov3);
    add(hf ? "embeddings.cls_token" : "cls_token", {1, 1, x_d.width}, std::move(class_token));
    if (x_d.registers > 0) one("register_tokens", hf ? "embeddings.register_tokens" : own ? "storage_tokens" : "reg_token");
    if (hf || own) {
      add(hf ? "embeddings.mask_token" : "mask_token", hf ? std::vector<Index>{1, 1, x_d.width} : std::vector<Index>{1, x_d.width},
          x_d.mask_token ? read("mask_token") : std::vector<float>(static_cast<std::size_t>(x_d.width)));
    }
    pair("patch_embed.proj", hf ? "embeddings.patch_embeddings" : "patch_embed.proj");
    if (own) one("rope_embed.periods", "rope_embed.periods");
  }

  /// A block that rotates queries and keys.
  void rotated_block(const std::string& from, const std::string& to) {
    const bool hf = is(WeightFamily::hugging_face), own = is(WeightFamily::dinov3);
    pair(from + "norm1", to + "norm1");
    const std::vector<float> bias = x_d.qkv_bias ? read(from + "attn.qkv.bias") : std::vector<float>();
    if (hf) {
      const std::vector<float> weight = read(from + "attn.qkv.weight");
      const std::array<std::string_view, 3> parts{"q_proj", "k_proj", "v_proj"};
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string name = join(to, "attention.", parts[i]);
        add(name + ".weight", {x_d.width, x_d.width}, third(weight, i));
        if (i == 1 ? has_key_bias() : x_d.qkv_bias) add(name + ".bias", {x_d.width}, third(bias, i));
      }
    } else {
      one(from + "attn.qkv.weight", to + "attn.qkv.weight");
      if (own && x_d.qkv_bias) {
        add(to + "attn.qkv.bias", {3 * x_d.width}, bias);
        std::vector<float> mask(bias.size(), 1.0F);
        const auto keys = mask.begin() + static_cast<std::ptrdiff_t>(x_d.width);
        if (!has_key_bias()) std::fill(keys, keys + static_cast<std::ptrdiff_t>(x_d.width), 0.0F);
        add(to + "attn.qkv.bias_mask", {3 * x_d.width}, std::move(mask));
      } else if (!own && x_d.qkv_bias) {
        add(to + "attn.q_bias", {x_d.width}, third(bias, 0));
        add(to + "attn.v_bias", {x_d.width}, third(bias, 2));
      }
    }
    pair(from + "attn.proj", to + (hf ? "attention.o_proj" : "attn.proj"));
    scale(from + "ls1.gamma", to + (hf ? "layer_scale1.lambda1" : own ? "ls1.gamma" : "gamma_1"));
    pair(from + "norm2", to + "norm2");
    if (x_d.mlp == MlpKind::gelu) {
      pair(from + "mlp.fc1", to + (hf ? "mlp.up_proj" : "mlp.fc1"));
      pair(from + "mlp.fc2", to + (hf ? "mlp.down_proj" : "mlp.fc2"));
    } else {
      const std::array<std::string_view, 2> parts = hf    ? std::array<std::string_view, 2>{"mlp.gate_proj", "mlp.up_proj"}
                                                    : own ? std::array<std::string_view, 2>{"mlp.w1", "mlp.w2"}
                                                          : std::array<std::string_view, 2>{"mlp.fc1_g", "mlp.fc1_x"};
      const std::vector<float> weight = read(from + "mlp.w12.weight"), both = read(from + "mlp.w12.bias");
      for (std::size_t i = 0; i < parts.size(); ++i) {
        add(join(to, parts[i], ".weight"), {x_d.hidden, x_d.width}, part_of(weight, i, 2));
        add(join(to, parts[i], ".bias"), {x_d.hidden}, part_of(both, i, 2));
      }
      pair(from + "mlp.w3", to + (hf ? "mlp.down_proj" : own ? "mlp.w3" : "mlp.fc2"));
    }
    scale(from + "ls2.gamma", to + (hf ? "layer_scale2.lambda1" : own ? "ls2.gamma" : "gamma_2"));
  }

  void block(const std::string& from, const std::string& to) {
    if (x_rotates) return rotated_block(from, to);
    const bool hf = is(WeightFamily::hugging_face);
    const bool torchvision = is(WeightFamily::torchvision);
    const bool old_hf = is_hf_vit();
    pair(from + "norm1", to + (torchvision ? "ln_1" : old_hf ? "layernorm_before" : "norm1"));
    if (hf) {
      const std::array<std::string_view, 3> parts{"query", "key", "value"};
      const std::vector<float> weight = read(from + "attn.qkv.weight");
      const std::vector<float> bias = read(from + "attn.qkv.bias");
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string name = join(to, "attention.attention.", parts[i]);
        add(name + ".weight", {x_d.width, x_d.width}, third(weight, i));
        add(name + ".bias", {x_d.width}, third(bias, i));
      }
    } else {
      one(from + "attn.qkv.weight", to + (torchvision ? "self_attention.in_proj_weight" : "attn.qkv.weight"));
      one(from + "attn.qkv.bias", to + (torchvision ? "self_attention.in_proj_bias" : "attn.qkv.bias"));
    }
    pair(from + "attn.proj", to + (hf            ? "attention.output.dense"
                                   : torchvision ? "self_attention.out_proj"
                                                 : "attn.proj"));
    scale(from + "ls1.gamma", to + (hf ? "layer_scale1.lambda1" : "ls1.gamma"));
    pair(from + "norm2", to + (torchvision ? "ln_2" : old_hf ? "layernorm_after" : "norm2"));
    if (x_d.mlp == MlpKind::gelu) {
      pair(from + "mlp.fc1", to + (torchvision ? "mlp.0" : old_hf ? "intermediate.dense" : "mlp.fc1"));
      pair(from + "mlp.fc2", to + (torchvision ? "mlp.3" : old_hf ? "output.dense" : "mlp.fc2"));
    } else {
      const bool timm = is(WeightFamily::timm);
      pair(from + "mlp.w12", to + (hf ? "mlp.weights_in" : timm ? "mlp.fc1" : "mlp.w12"));
      pair(from + "mlp.w3", to + (hf ? "mlp.weights_out" : timm ? "mlp.fc2" : "mlp.w3"));
    }
    scale(from + "ls2.gamma", to + (hf ? "layer_scale2.lambda1" : "ls2.gamma"));
  }

  /// LayerScale of a branch: ones where the code has it in every model, or in this one before it was folded.
  void scale(const std::string& from, std::string to) {
    if (x_d.layer_scale) {
      one(from, std::move(to));
    } else if (is_dinov2() || x_rotates || (is(WeightFamily::timm) && x_d.layer_scale_folded)) {
      add(std::move(to), {x_d.width}, std::vector<float>(static_cast<std::size_t>(x_d.width), 1.0F));
    }
  }

  /// The i-th of so many equal parts.
  [[nodiscard]] static std::vector<float> part_of(const std::vector<float>& all, std::size_t i, std::size_t parts) {
    const auto size = static_cast<std::ptrdiff_t>(all.size() / parts);
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(i) * size;
    return {begin, begin + size};
  }
  [[nodiscard]] static std::vector<float> third(const std::vector<float>& all, std::size_t i) { return part_of(all, i, 3); }

  const TensorFile& x_file;
  BackboneDescription x_d;
  WeightFamily x_as;
  bool x_rotates;  // it is a DINOv3's code then, whoever's, which has LayerScale in every model
  std::vector<ExportedTensor> x_out;
};

}  // namespace detail

/// A backbone's tensors under the names of a family, as that family's code loads them strictly: with the mask
/// token and the LayerScale that DINOv2 and DINOv3 expect (zeros and ones where there are none), a LayerScale of ones for timm too where
/// it was folded (`BackboneDescription::layer_scale_folded`), one table for class token and patches but in DenseDINO, and of what
/// rotates a mask of the bias of keys where DINOv3's own code has one. Only that code keeps periods: others compute them
/// (`PeriodsOfTheta`), and those of a file that are no such powers are refused.
///
/// `file`: a backbone under dssl's names, as a `BackboneFile` of this description is. The numbers are F32: F64 is rounded,
/// F16 and BF16 are widened. How the table is read at other sizes is then that family's (`table_scheme`). Hugging
/// Face: DINOv3's names where it rotates, ViT's where there neither is nor was LayerScale and is neither SwiGLU nor a register, else
/// Dinov2's. Throws
/// `OptionError` where something rotates by a number of heads that nobody says, `CheckpointError` for a part that the family has no name for, where its norms have another epsilon, and for weights that were trained
/// with the relation all-query, which no other family's attention knows.
/// Tests: tests/io/backbone_names.cpp, tests/interop/strict_loads.py.
[[nodiscard]] inline std::vector<ExportedTensor> export_backbone(const TensorFile& file,
                                                                 const BackboneDescription& description,
                                                                 WeightFamily as) {
  return detail::BackboneExporter(file, description, as).all();
}

/// What weights say beside their tensors of a LayerScale that was multiplied into the layers before it, so that the code
/// of a family that has one gets it, of ones: "layer_scale", "folded"; nothing where none was.
[[nodiscard]] inline std::map<std::string, std::string> folding_as_metadata(const BackboneDescription& d) {
  if (!d.layer_scale_folded) return {};
  return {{std::string(detail::layer_scale_key), std::string(detail::layer_scale_folded)}};
}

/// Writes a backbone under dssl's names as one safetensors file, in the types of its file; beside the tensors
/// the rule of positions, the norms' epsilon, the number of heads where it is known and `folding_as_metadata`, so that what
/// reads it knows them though the names no longer say the family. `metadata` is written too: "heads" in it says their number where the file
/// does not. Throws `FileError`. Test: tests/io/backbone_names.cpp.
inline void save_named_backbone(const std::string& path, const BackboneFile& file,
                                std::map<std::string, std::string> metadata = {}) {
  // What a training said of the weights: some relations are not read by every program.
  for (const char* const key : {"arch", "recipe", "relation", "content", "step"}) {
    const auto said = file.metadata().find(key);
    if (said != file.metadata().end()) metadata.emplace(key, said->second);
  }
  metadata["positions"] = position_scheme_name(file.description().position);
  metadata["norm_epsilon"] = exact_number(file.description().norm_epsilon);
  metadata.merge(folding_as_metadata(file.description()));
  if (file.description().heads_are_known) metadata["heads"] = join(file.description().heads);
  SafetensorsWriter writer;
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  std::vector<std::vector<std::byte>> made(file.tensors().size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    const StoredTensor& tensor = file.tensors()[i];
    writer.add_bytes(tensor.name, tensor.type, tensor.shape, file.elements(tensor.name, made[i]));
  }
  writer.write(path);
}

}  // namespace dssl
