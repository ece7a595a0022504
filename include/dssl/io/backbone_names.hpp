// A backbone's tensors under one set of names, whatever its family calls them.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/io/weights.hpp>

namespace dssl {

/// Consecutive elements of a tensor of the file; without name, as many zeros.
struct TensorPiece {
  std::string stored;
  Index first = 0;
  Index size = 0;
};

/// A tensor of a backbone under dssl's name, and what of the file it is made of, in turn.
struct NamedTensor {
  std::string name;
  std::vector<Index> shape;
  std::vector<TensorPiece> pieces;
  std::string
      factor{};  ///< of the file; each element is multiplied by this one's in its place (the mask of a bias)
  std::string
      row_factor{};  ///< of the file; each row is multiplied by this one's element (LayerScale of a branch)
};

/// A backbone that was found in a file.
struct NamedBackbone {
  BackboneDescription description;
  std::string prefix;                ///< what stands before the family's names in the file
  std::vector<NamedTensor> tensors;  ///< in the order of the parts of a ViT
  std::vector<std::string>
      ignored;  ///< tensors of the file that are no part of it: heads, optimisers, other networks
};

namespace detail {

/// What weights say of themselves whose LayerScale was multiplied into the layers before it, key and value.
inline constexpr std::string_view layer_scale_key = "layer_scale";
inline constexpr std::string_view layer_scale_folded = "folded";

/// What may stand before a family's names, in the order of preference of `backbone_prefixes`.
[[nodiscard]] inline std::vector<std::string> family_prefixes() {
  std::vector<std::string> prefixes;
  for (const std::string& before : backbone_prefixes()) {
    prefixes.push_back(before);
    if (before.ends_with("backbone.")) continue;
    for (const std::string_view model : {"dinov2.", "vit.", "dinov2_with_registers.", "dinov3_vit."})
      prefixes.push_back(join(before, model));
  }
  return prefixes;
}

/// Finds the parts of one backbone in a file.
class BackboneNamer {
 public:
  BackboneNamer(const TensorFile& file, std::optional<WeightFamily> as) : x_file(file) {
    find_prefix();
    recognise(as);
  }

  [[nodiscard]] WeightFamily family() const { return x_out.description.family; }

  [[nodiscard]] NamedBackbone name() {
    BackboneDescription& d = x_out.description;
    tokens();
    blocks();
    const std::string norm = is(WeightFamily::torchvision)     ? "encoder.ln"
                             : !is(WeightFamily::hugging_face) ? "norm"
                             : has("layernorm.weight")         ? "layernorm"
                                                               : "norm";
    whole("norm.weight", norm + ".weight", {d.width});
    whole("norm.bias", norm + ".bias", {d.width});
    const bool other_code = is(WeightFamily::torchvision) || is(WeightFamily::hugging_face);
    d.class_norm = !other_code && (has("cls_norm.weight") || has("cls_norm.bias"));
    if (d.class_norm) {
      whole("cls_norm.weight", "cls_norm.weight", {d.width});
      whole("cls_norm.bias", "cls_norm.bias", {d.width});
    }
    d.local_class_norm = !other_code && (has("local_cls_norm.weight") || has("local_cls_norm.bias"));
    if (d.local_class_norm) {
      whole("local_cls_norm.weight", "local_cls_norm.weight", {d.width});
      whole("local_cls_norm.bias", "local_cls_norm.bias", {d.width});
    }
    heads_as_written();
    folding_as_written();
    if (!d.heads_are_known) d.heads = usual_heads(d.width, d.position);
    leftovers();
    // What there is too much tells most: with a token more, a table has another shape.
    refuse(x_foreign, join("is of the family ", family_name(d.family), ", but has what its ViT does not: "));
    refuse(x_misshapen, join("does not fit the family ", family_name(d.family), ": "));
    refuse(x_missing, join("is of the family ", family_name(d.family), ", but lacks "));
    return std::move(x_out);
  }

 private:
  // ---- the family

  void find_prefix() {
    for (const std::string& prefix : family_prefixes()) {
      for (const std::string_view mark : class_token_names) {
        if (!x_file.contains(prefix + std::string(mark))) continue;
        x_out.prefix = prefix;
        x_mark = mark;
        return;
      }
    }
    const FoundClassToken only = only_class_token(x_file);
    x_out.prefix = only.prefix;
    x_mark = only.name;
  }

  void recognise(std::optional<WeightFamily> as) {
    BackboneDescription& d = x_out.description;
    index_blocks();
    const std::string first = x_blocks.empty() ? std::string() : x_blocks.begin()->second;
    const bool scaled = has(first + "ls1.gamma");
    if (x_mark == class_token_names[1]) {
      d.family = WeightFamily::hugging_face;
    } else if (x_mark == class_token_names[2]) {
      d.family = WeightFamily::torchvision;
    } else if (has("storage_tokens") || has("rope_embed.periods")) {
      d.family = WeightFamily::dinov3;
    } else if (has("reg_token") || has(first + "gamma_1")) {
      d.family = WeightFamily::timm;
    } else if (has("patch_pos_embed")) {
      d.family = WeightFamily::densedino;
    } else if (has("register_tokens") || (scaled && has("mask_token"))) {
      d.family = WeightFamily::dinov2;
    } else {
      // DINO's names are timm's too: what lies beside the file tells.
      const bool of_timm = scaled || (!as && !timm_config_beside(x_file.path()).empty());
      d.family = of_timm ? WeightFamily::timm : WeightFamily::dino;
    }
    if (!as || *as == d.family) return;
    // These have names in common, so that only the user knows.
    const auto shares = [](WeightFamily family) {
      return family == WeightFamily::dino || family == WeightFamily::dinov2 || family == WeightFamily::timm;
    };
    if (!shares(d.family) || !shares(*as) || has("reg_token") || has("register_tokens") ||
        has(first + "gamma_1")) {
      throw CheckpointError(x_file.path(), join("has the names of ", family_name(d.family),
                                                "; expected those of ", family_name(*as)));
    }
    d.family = *as;
  }

  [[nodiscard]] bool is(WeightFamily family) const { return x_out.description.family == family; }

  // ---- the file's tensors, by their names behind the prefix

  [[nodiscard]] std::string stored(std::string_view name) const { return join(x_out.prefix, name); }
  [[nodiscard]] bool has(std::string_view name) const { return x_file.contains(stored(name)); }
  [[nodiscard]] const std::vector<Index>& shape(std::string_view name) const {
    return x_file.shape(stored(name));
  }

  /// The extent of a tensor; 0, and it is noted as missing or misshapen, if there is none.
  [[nodiscard]] Index extent(std::string_view name, std::size_t dimension, std::size_t rank) {
    if (!has(name)) {
      missing(name);
      return 0;
    }
    if (shape(name).size() != rank) {
      x_misshapen.push_back(
          join("'", stored(name), "' is ", shape_text(shape(name)), ", expected ", rank, " extents"));
      x_used.insert(stored(name));
      return 0;
    }
    const Index value = shape(name)[dimension];
    if (value >= 1 && value <= largest_extent) return value;
    // So that no product of extents overflows.
    x_misshapen.push_back(join("'", stored(name), "' is ", shape_text(shape(name)),
                               ", expected extents from 1 to ", largest_extent));
    return 0;
  }

  void missing(std::string_view name) {
    if (x_missed.insert(stored(name)).second) x_missing.push_back(join("'", stored(name), "'"));
  }

  void pass_over(const std::vector<std::string>& names) {
    for (const std::string& name : names) x_used.insert(stored(name));
  }

  /// Notes that a tensor is used, and what is wrong with it. `expected`: its shape in the file.
  void use(std::string_view name, const std::vector<Index>& expected) {
    if (!has(name)) {
      missing(name);
      return;
    }
    x_used.insert(stored(name));
    if (shape(name) != expected) {
      x_misshapen.push_back(
          join("'", stored(name), "' is ", shape_text(shape(name)), ", expected ", shape_text(expected)));
    } else if (!is_floating(x_file.tensor(stored(name)).type)) {
      x_misshapen.push_back(join("'", stored(name), "' holds ",
                                 element_name(x_file.tensor(stored(name)).type),
                                 ", expected F64, F32, F16 or BF16"));
    }
  }

  [[nodiscard]] static Index count(const std::vector<Index>& shape) {
    Index product = 1;
    for (const Index extent : shape) product *= extent;
    return product;
  }

  NamedTensor& add(std::string name, std::vector<Index> shape) {
    x_out.tensors.push_back({.name = std::move(name), .shape = std::move(shape), .pieces = {}});
    return x_out.tensors.back();
  }

  /// A tensor that is one of the file's; `as_stored`: its shape there, where that is another.
  void whole(std::string name, std::string_view from, const std::vector<Index>& shape,
             const std::vector<Index>& as_stored = {}) {
    use(from, as_stored.empty() ? shape : as_stored);
    add(std::move(name), shape).pieces.push_back({.stored = stored(from), .size = count(shape)});
  }

  /// A tensor of rows that lie one below another in the file's; where an optional one is missing there are
  /// zeros.
  void joined(std::string name, const std::vector<std::string>& from, std::vector<Index> part,
              bool optional = false) {
    std::vector<Index> shape = part;
    shape[0] *= static_cast<Index>(from.size());
    NamedTensor& out = add(std::move(name), shape);
    for (const std::string& one : from) {
      const bool zero = one.empty() || (optional && !has(one));
      if (!zero) use(one, part);
      out.pieces.push_back({.stored = zero ? std::string() : stored(one), .size = count(part)});
    }
  }

  /// The first of the names (each before `suffix`) that the file has; the first one if it has none.
  template <std::size_t N>
  [[nodiscard]] std::size_t which(const std::string& before, const std::array<std::string_view, N>& names,
                                  std::string_view suffix) const {
    for (std::size_t i = 0; i < N; ++i) {
      if (has(join(before, names[i], suffix))) return i;
    }
    return 0;
  }

  // ---- tokens and embedding

  void tokens() {
    BackboneDescription& d = x_out.description;
    d.width = extent(x_mark, 2, 3);
    const Index width = d.width;
    const bool hf = is(WeightFamily::hugging_face);
    const std::string patch =
        hf ? (has("embeddings.patch_embeddings.projection.weight") ? "embeddings.patch_embeddings.projection"
                                                                   : "embeddings.patch_embeddings")
        : is(WeightFamily::torchvision) ? "conv_proj"
                                        : "patch_embed.proj";
    d.channels = extent(patch + ".weight", 1, 4);
    d.patch = extent(patch + ".weight", 2, 4);
    whole("cls_token", x_mark, {1, 1, width});
    positions();
    for (const std::string_view name :
         {"register_tokens", "reg_token", "storage_tokens", "embeddings.register_tokens"}) {
      if (!has(name) || d.registers > 0) continue;
      d.registers = extent(name, 1, 3);
      whole("register_tokens", name, {1, d.registers, width});
    }
    d.reference_token = has("ref_learn_token");
    if (d.reference_token) whole("ref_learn_token", "ref_learn_token", {1, 1, width});
    const std::string mask = hf ? "embeddings.mask_token" : "mask_token";
    d.mask_token = has(mask);
    if (d.mask_token)
      whole("mask_token", mask, {1, width},
            shape(mask).size() == 3 ? std::vector<Index>{1, 1, width} : std::vector<Index>{});
    whole("patch_embed.proj.weight", patch + ".weight", {width, d.channels, d.patch, d.patch});
    whole("patch_embed.proj.bias", patch + ".bias", {width});
    rules();
  }

  void positions() {
    BackboneDescription& d = x_out.description;
    if (is(WeightFamily::densedino)) {
      whole("cls_pos_embed", "cls_pos_embed", {1, 1, d.width});
      const Index cells = extent("patch_pos_embed", 1, 3);
      d.table_side = side_of(cells);
      if (d.table_side == 0) not_square("patch_pos_embed");
      whole("patch_pos_embed", "patch_pos_embed", {1, cells, d.width});
      return;
    }
    const std::string name = is(WeightFamily::hugging_face)  ? "embeddings.position_embeddings"
                             : is(WeightFamily::torchvision) ? "encoder.pos_embedding"
                                                             : "pos_embed";
    if (!has(name)) {
      if (has("rope_embed.periods")) {
        const Index periods = extent("rope_embed.periods", 0, 1);
        whole("rope_embed.periods", "rope_embed.periods", {periods});
        if (periods > 0 && d.width % (4 * periods) != 0) {
          x_misshapen.push_back(join("'", stored("rope_embed.periods"), "' is [", periods,
                                     "], expected a fourth of a head's width, which divides ", d.width));
        } else if (periods > 0) {
          d.heads = d.width / (4 * periods);
          d.heads_are_known = true;
        }
      }
      d.position = PositionScheme::rotary;
      return;
    }
    const Index rows = extent(name, 1, 3);
    use(name, {1, rows, d.width});
    // timm keeps no row for the class token where its position was added to it.
    const bool may_lack_class_row = is(WeightFamily::timm);
    const bool class_row = !may_lack_class_row || side_of(rows) == 0;
    d.table_side = side_of(rows - (class_row ? 1 : 0));
    if (d.table_side == 0) not_square(name);
    const Index first = class_row ? d.width : 0;
    add("cls_pos_embed", {1, 1, d.width})
        .pieces.push_back({.stored = class_row ? stored(name) : std::string(), .size = d.width});
    add("patch_pos_embed", {1, rows - (class_row ? 1 : 0), d.width})
        .pieces.push_back({.stored = stored(name), .first = first, .size = rows * d.width - first});
  }

  /// The side of a square of so many cells; 0 if there is none.
  [[nodiscard]] static Index side_of(Index cells) {
    Index side = 0;
    while (side < 65536 && side * side < cells) ++side;
    return side * side == cells ? side : 0;
  }

  void not_square(std::string_view name) {
    if (has(name))
      x_misshapen.push_back(join("'", stored(name), "' is ", shape_text(shape(name)),
                                 ", expected positions of a square of patches"));
  }

  /// What the family adds that the file does not say.
  void rules() {
    BackboneDescription& d = x_out.description;
    const bool rotary = d.position == PositionScheme::rotary;
    if (rules_as_written()) return;
    if (rotary) {
      // A table that is missing is no rotation: only these families have one.
      const bool known = is(WeightFamily::dinov3) || (is(WeightFamily::timm) && d.registers > 0) ||
                         (is(WeightFamily::hugging_face) && d.registers > 0);
      if (!known)
        missing(is(WeightFamily::torchvision)    ? "encoder.pos_embedding"
                : is(WeightFamily::hugging_face) ? "embeddings.position_embeddings"
                                                 : "pos_embed");
      d.norm_epsilon = 1e-5;
      return;
    }
    d.position = table_scheme(d.family, d.registers);
    if (is(WeightFamily::hugging_face) && !x_blocks.empty() && has(x_blocks.begin()->second + "layernorm_before.weight"))
      d.norm_epsilon = 1e-12;
  }

  /// What `save_named_backbone` wrote beside the tensors; false if it did not.
  [[nodiscard]] bool rules_as_written() {
    BackboneDescription& d = x_out.description;
    const auto& said = x_file.metadata();
    const auto positions = said.find("positions");
    const auto epsilon = said.find("norm_epsilon");
    if (positions == said.end() || epsilon == said.end()) return false;
    const auto scheme = position_scheme_named(positions->second);
    if (!scheme || (*scheme == PositionScheme::rotary) != (d.table_side == 0)) {
      throw CheckpointError(x_file.path(),
                            join("has positions '", positions->second, "' in its metadata; expected ",
                                 d.table_side == 0 ? "rotary" : "the rule of its table"));
    }
    const std::string& text = epsilon->second;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), d.norm_epsilon);
    if (problem != std::errc{} || end != text.data() + text.size() || !(d.norm_epsilon > 0) ||
        d.norm_epsilon > 1) {
      throw CheckpointError(x_file.path(), join("has norm_epsilon '", text,
                                                "' in its metadata; expected a number above 0, at most 1"));
    }
    d.position = *scheme;
    return true;
  }

  /// The number of heads that dssl wrote beside the tensors, if it did.
  void heads_as_written() {
    BackboneDescription& d = x_out.description;
    const auto said = x_file.metadata().find("heads");
    if (said == x_file.metadata().end()) return;
    const std::string& text = said->second;
    Index heads = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), heads);
    if (problem != std::errc{} || end != text.data() + text.size() || heads < 1 || d.width % heads != 0)
      throw CheckpointError(x_file.path(), join("has heads '", text, "' in its metadata; expected a divisor of ", d.width, ", the width"));
    if (d.heads_are_known && heads != d.heads)
      throw CheckpointError(x_file.path(), join("has heads ", heads, " in its metadata; expected ", d.heads, ", as its periods have it"));
    d.heads = heads;
    d.heads_are_known = true;
  }

  /// Whether LayerScale was folded, as dssl wrote it beside the tensors.
  void folding_as_written() {
    BackboneDescription& d = x_out.description;
    const auto said = x_file.metadata().find(std::string(layer_scale_key));
    if (said == x_file.metadata().end()) return;
    if (said->second != layer_scale_folded || d.layer_scale) {
      throw CheckpointError(x_file.path(), join("has layer_scale '", said->second, "' in its metadata; expected ",
                                                d.layer_scale ? "nothing there, beside the LayerScale that it has" : "folded"));
    }
    d.layer_scale_folded = true;
  }

  // ---- blocks

  /// Finds the blocks: by number, what stands before the names of their parts.
  void index_blocks() {
    constexpr std::array<std::string_view, 6> lists{"encoder.layer.", "model.layer.", "encoder.layers.encoder_layer_",
                                                    "layer.",         "layers.",      "blocks."};
    for (const std::string_view list : lists) {
      for (const StoredTensor& tensor : x_file.tensors()) {
        if (!std::string_view(tensor.name).starts_with(x_out.prefix)) continue;
        const std::string_view name = std::string_view(tensor.name).substr(x_out.prefix.size());
        if (name.starts_with(list)) index_block(name, list);
      }
      if (!x_blocks.empty()) {
        x_block_list = list;
        return;
      }
    }
  }

  void index_block(std::string_view name, std::string_view list) {
    std::string_view rest = name.substr(list.size());
    std::optional<Index> number = leading_number(rest);
    if (!number) return;
    // Training in chunks names a block by its chunk and by its number, which is counted through.
    if (const std::optional<Index> inner = leading_number(rest); inner && list == "blocks.") number = inner;
    const std::string before(name.substr(0, name.size() - rest.size()));
    const auto [known, added] = x_blocks.emplace(*number, before);
    if (!added && known->second != before) {
      throw CheckpointError(x_file.path(), join("has the block ", *number, " twice, as '",
                                                stored(known->second), "' and '", stored(before), "'"));
    }
  }

  /// The number that the text begins with and its dot, which are taken off it; nothing, and nothing is taken,
  /// without.
  [[nodiscard]] static std::optional<Index> leading_number(std::string_view& text) {
    const std::size_t dot = text.find('.');
    if (dot == std::string_view::npos || dot == 0 || dot > 5) return std::nullopt;
    Index number = 0;
    for (const char c : text.substr(0, dot)) {
      if (c < '0' || c > '9') return std::nullopt;
      number = number * 10 + (c - '0');
    }
    text.remove_prefix(dot + 1);
    return number;
  }

  void blocks() {
    BackboneDescription& d = x_out.description;
    if (x_blocks.empty())
      missing(is(WeightFamily::hugging_face)  ? "encoder.layer.0"
              : is(WeightFamily::torchvision) ? "encoder.layers.encoder_layer_0"
                                              : "blocks.0");
    if (x_blocks.size() > most_blocks) {
      throw CheckpointError(x_file.path(), join("has ", x_blocks.size(), " blocks; expected at most ", most_blocks));
    }
    for (const auto& [number, before] : x_blocks) {
      if (number != d.depth) {
        missing(join(x_block_list, d.depth));
        // What comes behind the gap is no news.
        refuse(x_missing, join("is of the family ", family_name(d.family), ", but lacks "));
      }
      block(join("blocks.", number, "."), before);
      ++d.depth;
    }
  }

  void block(const std::string& name, const std::string& before) {
    BackboneDescription& d = x_out.description;
    const Index width = d.width;
    constexpr std::array<std::string_view, 3> first_norms{"norm1", "layernorm_before", "ln_1"};
    constexpr std::array<std::string_view, 3> second_norms{"norm2", "layernorm_after", "ln_2"};
    constexpr std::array<std::string_view, 3> first_scales{"ls1.gamma", "gamma_1", "layer_scale1.lambda1"};
    constexpr std::array<std::string_view, 3> second_scales{"ls2.gamma", "gamma_2", "layer_scale2.lambda1"};
    const std::size_t norms = which(before, first_norms, ".weight");
    const std::size_t scales = which(before, first_scales, "");
    const bool scaled =
        has(before + std::string(first_scales[scales])) || has(before + std::string(second_scales[scales]));
    // Blocks are alike: one with LayerScale among others without is a gap.
    const bool first = name == "blocks.0.";
    if (first) d.layer_scale = scaled;

    whole(name + "norm1.weight", join(before, first_norms[norms], ".weight"), {width});
    whole(name + "norm1.bias", join(before, first_norms[norms], ".bias"), {width});
    attention(name, before, first);
    if (d.layer_scale) whole(name + "ls1.gamma", join(before, first_scales[scales]), {width});
    whole(name + "norm2.weight", join(before, second_norms[norms], ".weight"), {width});
    whole(name + "norm2.bias", join(before, second_norms[norms], ".bias"), {width});
    mlp(name, before, first);
    if (d.layer_scale) whole(name + "ls2.gamma", join(before, second_scales[scales]), {width});
  }

  void attention(const std::string& name, const std::string& before, bool first) {
    // Some models have no bias of keys, or none at all: then no block has one. Of one that is missing here and there
    // nothing can be said.
    constexpr std::array<std::string_view, 13> biases{
        "attn.qkv.bias", "attn.qkv.bias_mask", "attn.q_bias", "attn.k_bias", "attn.v_bias", "self_attention.in_proj_bias",
        "attention.attention.query.bias", "attention.attention.key.bias", "attention.attention.value.bias",
        "attention.q_proj.bias", "attention.k_proj.bias", "attention.v_proj.bias", "attention.o_proj.bias"};
    for (std::size_t i = 0; i < biases.size(); ++i) {
      const bool here = has(join(before, biases[i]));
      if (first) x_biases.at(i) = here;
      if (first && i < biases.size() - 1) x_out.description.qkv_bias = (i > 0 && x_out.description.qkv_bias) || here;
      if (x_biases.at(i) != here) missing(join(here ? x_first_block : before, biases[i]));
    }
    if (first) x_first_block = before;
    for (const std::size_t query : {std::size_t{2}, std::size_t{6}, std::size_t{9}}) {
      if (x_biases.at(query) != x_biases.at(query + 2)) missing(join(before, biases[x_biases.at(query) ? query + 2 : query]));
    }
    const Index width = x_out.description.width;
    const std::string weight = name + "attn.qkv.weight";
    const std::string bias = name + "attn.qkv.bias";
    std::string projection = "attn.proj";
    if (has(before + "self_attention.in_proj_weight")) {
      whole(weight, before + "self_attention.in_proj_weight", {3 * width, width});
      whole(bias, before + "self_attention.in_proj_bias", {3 * width});
      projection = "self_attention.out_proj";
    } else if (is(WeightFamily::hugging_face)) {
      const bool old = has(before + "attention.attention.query.weight");
      const std::array<std::string, 3> parts =
          old ? std::array<std::string, 3>{"attention.attention.query", "attention.attention.key",
                                           "attention.attention.value"}
              : std::array<std::string, 3>{"attention.q_proj", "attention.k_proj", "attention.v_proj"};
      joined(weight,
             {before + parts[0] + ".weight", before + parts[1] + ".weight", before + parts[2] + ".weight"},
             {width, width});
      if (!without_bias())
        joined(bias, {before + parts[0] + ".bias", before + parts[1] + ".bias", before + parts[2] + ".bias"}, {width}, true);
      projection = old ? "attention.output.dense" : "attention.o_proj";
    } else {
      whole(weight, before + "attn.qkv.weight", {3 * width, width});
      if (has(before + "attn.qkv.bias")) {
        whole(bias, before + "attn.qkv.bias", {3 * width});
        if (has(before + "attn.qkv.bias_mask")) {
          use(before + "attn.qkv.bias_mask", {3 * width});
          x_out.tensors.back().factor = stored(before + "attn.qkv.bias_mask");
        }
      } else {
        // Keys need no bias, and some of what rotates have none at all.
        if (x_out.description.position != PositionScheme::rotary) missing(before + "attn.qkv.bias");
        if (!without_bias()) joined(bias, {before + "attn.q_bias", "", before + "attn.v_bias"}, {width}, true);
      }
    }
    whole(name + "attn.proj.weight", before + projection + ".weight", {width, width});
    whole(name + "attn.proj.bias", before + projection + ".bias", {width});
  }

  /// Whether queries, keys and values of what rotates have no bias, which is no tensor then. All others have one.
  [[nodiscard]] bool without_bias() const {
    return x_out.description.position == PositionScheme::rotary && !x_out.description.qkv_bias;
  }

  void mlp(const std::string& name, const std::string& before, bool first) {
    BackboneDescription& d = x_out.description;
    // Gate and value in one tensor, or in two; then the last layer.
    constexpr std::array<std::string_view, 3> both{"mlp.w12", "mlp.weights_in", "mlp.fc1"};
    constexpr std::array<std::string_view, 3> after_both{"mlp.w3", "mlp.weights_out", "mlp.fc2"};
    constexpr std::array<std::string_view, 3> gates{"mlp.w1", "mlp.fc1_g", "mlp.gate_proj"};
    constexpr std::array<std::string_view, 3> values{"mlp.w2", "mlp.fc1_x", "mlp.up_proj"};
    constexpr std::array<std::string_view, 3> after_values{"mlp.w3", "mlp.fc2", "mlp.down_proj"};
    constexpr std::array<std::string_view, 5> up{"mlp.fc1", "mlp.up_proj", "intermediate.dense", "mlp.0",
                                                 "mlp.linear_1"};
    constexpr std::array<std::string_view, 5> down{"mlp.fc2", "mlp.down_proj", "output.dense", "mlp.3",
                                                   "mlp.linear_2"};
    const auto rows = [&](std::string_view part) {
      const std::string stored_name = join(before, part, ".weight");
      return has(stored_name) && shape(stored_name).size() == 2 ? shape(stored_name)[0] : Index{0};
    };
    const auto columns = [&](std::string_view part) {
      const std::string stored_name = join(before, part, ".weight");
      return has(stored_name) && shape(stored_name).size() == 2 ? shape(stored_name)[1] : Index{0};
    };
    const std::size_t gate = which(before, gates, ".weight");
    const bool apart = rows(gates[gate]) > 0;
    const std::size_t pair = which(before, both, ".weight");
    const bool paired =
        !apart && rows(both[pair]) > 0 && (pair < 2 || rows(both[2]) == 2 * columns(after_both[2]));
    const MlpKind kind = apart || paired ? MlpKind::swiglu : MlpKind::gelu;
    if (first) d.mlp = kind;
    const std::size_t plain = which(before, up, ".weight");
    const Index hidden = apart ? rows(gates[gate]) : paired ? rows(both[pair]) / 2 : rows(up[plain]);
    const std::string_view last = apart ? after_values[gate] : paired ? after_both[pair] : down[plain];
    // Where the first layer is missing, the last one tells: so that the first alone is named.
    if (first) d.hidden = std::min(hidden > 0 ? hidden : columns(last), 4 * largest_extent);
    if (d.mlp == MlpKind::gelu) {
      whole(name + "mlp.fc1.weight", join(before, up[plain], ".weight"), {d.hidden, d.width});
      whole(name + "mlp.fc1.bias", join(before, up[plain], ".bias"), {d.hidden});
    } else if (apart) {
      joined(name + "mlp.w12.weight",
             {join(before, gates[gate], ".weight"), join(before, values[gate], ".weight")},
             {d.hidden, d.width});
      joined(name + "mlp.w12.bias", {join(before, gates[gate], ".bias"), join(before, values[gate], ".bias")},
             {d.hidden});
    } else {
      whole(name + "mlp.w12.weight", join(before, both[pair], ".weight"), {2 * d.hidden, d.width});
      whole(name + "mlp.w12.bias", join(before, both[pair], ".bias"), {2 * d.hidden});
    }
    const std::string_view own = d.mlp == MlpKind::gelu ? "mlp.fc2" : "mlp.w3";
    whole(join(name, own, ".weight"), join(before, last, ".weight"), {d.width, d.hidden});
    whole(join(name, own, ".bias"), join(before, last, ".bias"), {d.width});
  }

  // ---- the rest

  /// Sorts the tensors that were not used into those that would change what the backbone computes and the
  /// others.
  void leftovers() {
    constexpr std::array<std::string_view, 12> parts{"embeddings", "encoder", "layer",       "layers",
                                                     "blocks",     "norm",    "layernorm",   "model",
                                                     "cls_norm",   "fc_norm", "class_token", "attn_pool"};
    std::vector<std::string_view> own(parts.begin(), parts.end());
    for (const std::string_view name :
         {"cls_token", "pos_embed", "cls_pos_embed", "patch_pos_embed", "patch_embed", "conv_proj"})
      own.push_back(name);
    for (const StoredTensor& tensor : x_file.tensors()) {
      if (x_used.contains(tensor.name)) continue;
      const std::string_view name = tensor.name;
      const bool inside = name.starts_with(x_out.prefix);
      if (inside && belongs_to_network(name.substr(x_out.prefix.size()), x_out.prefix, own)) {
        x_foreign.push_back(join("'", name, "' ", shape_text(tensor.shape)));
      } else {
        x_out.ignored.push_back(tensor.name);
      }
    }
  }

  void refuse(const std::vector<std::string>& problems, std::string_view kind) const {
    if (problems.empty()) return;
    constexpr std::size_t most = 4;
    std::string text(kind);
    for (std::size_t i = 0; i < std::min(problems.size(), most); ++i)
      text += (i > 0 ? ", " : "") + problems[i];
    if (problems.size() > most) text += join(" and ", problems.size() - most, " more");
    throw CheckpointError(x_file.path(), text);
  }

  static constexpr Index largest_extent = 32768;
  static constexpr std::size_t most_blocks = 1000;

  const TensorFile& x_file;
  NamedBackbone x_out;
  std::string_view x_mark;
  std::array<bool, 13> x_biases{};  // which of a block's attention the first one has
  std::string x_first_block;        // what stands before its names
  std::map<Index, std::string> x_blocks;
  std::string_view x_block_list = "blocks.";
  std::set<std::string, std::less<>> x_used, x_missed;
  std::vector<std::string> x_misshapen, x_missing, x_foreign;
};

}  // namespace detail

/// The family that a file's names are of, `as` where it may be: see `name_backbone`, which says whether all
/// is there.
[[nodiscard]] inline WeightFamily family_of(const TensorFile& file,
                                            std::optional<WeightFamily> as = std::nullopt) {
  return detail::BackboneNamer(file, as).family();
}

/// Finds the backbone of a file, of whichever family, and says what it is and where its tensors lie.
///
/// Names are dssl's, which are those of DINO, DenseDINO and DINOv2 where these have the part: `cls_token`,
/// `cls_pos_embed` and `patch_pos_embed` (or `rope_embed.periods` where periods are stored),
/// `register_tokens`, `blocks.N.attn.qkv.weight` with rows q, k, v, `ls1.gamma`, `mlp.fc1` or `mlp.w12` with
/// rows gate, value. Of several networks the first in the order of `backbone_prefix` is taken. Biases of
/// queries, keys or values that a family leaves out are zeros; where something rotates without any of them
/// there is no tensor. `as`: the family where names alone cannot tell, as DINO's, DINOv2's and timm's are
/// alike; by default DINO's are timm's where its `config.json` lies beside them. Heads of classifiers,
/// optimisers and the like are left aside and listed. Throws `CheckpointError` naming what is missing,
/// misshapen, or there beside a ViT's parts (a norm of queries, a second class token), up to four of them.
/// Test: tests/io/backbone_names.cpp.
[[nodiscard]] inline NamedBackbone name_backbone(const TensorFile& file,
                                                 std::optional<WeightFamily> as = std::nullopt) {
  return detail::BackboneNamer(file, as).name();
}

}  // namespace dssl
