// A backbone of any published family as a file of tensors under dssl's names.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_names.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

/// How a file of published weights is taken.
struct BackboneFileOptions {
  std::optional<WeightFamily> family{};  ///< where names alone cannot tell; by default `name_backbone` tells
  /// LayerScale multiplied into the layer before it, and left out: the same function, for a ViT that has
  /// none.
  bool fold_layer_scale = false;
  /// Heads where the file does not say their number; 0: the usual one. Rotary positions of files that do not hold their
  /// periods are made for as many: theta^(4 i / d), d = width / heads, theta = 100 as DINOv3 has it, or as its
  /// `config.json` says.
  Index heads = 0;
  std::string_view heads_field = "heads";  ///< what messages call that number, of static storage
  /// Heads that an earlier run took, where neither the file nor `heads` says; 0: the usual number.
  Index heads_otherwise = 0;
};

/// The backbone of a file of any family: `load_backbone` reads it like a file that dssl wrote.
///
/// Tensors that are one tensor of the file in the file's order are read as they lie there; those that are
/// joined of several, masked or scaled are made when they are asked for, as F32. Strings beside the tensors
/// are the file's. Where Transformers' `config.json` lies beside weights of its names it says the heads and the norms'
/// epsilon, and must agree with the tensors (`HuggingFaceConfig`).
/// Tests: tests/io/backbone_names.cpp, tests/io/hugging_face_config.cpp.
class BackboneFile final : public TensorFile {
 public:
  /// Throws as `open_tensor_file`, `name_backbone` and `HuggingFaceConfig`; `OptionError` where `options` ask for other
  /// heads than `config.json`, or the file itself: dssl's own metadata, or its rotary periods; or for heads that do not divide
  /// the width.
  [[nodiscard]] static BackboneFile open(const std::string& path, const BackboneFileOptions& options = {}) {
    return BackboneFile(open_tensor_file(path), options);
  }

  /// Of a file that is open.
  explicit BackboneFile(std::unique_ptr<TensorFile> file, const BackboneFileOptions& options = {})
      : TensorFile(file->path()), x_file(std::move(file)), x_named(named(*x_file, options.family)) {
    if (options.heads != 0) require_possible(options.heads, options.heads_field);
    if (x_named.description.family == WeightFamily::hugging_face) read_config(options.heads, options.heads_field);
    if (options.fold_layer_scale && x_named.description.layer_scale) fold();
    make_periods(options.heads != 0 || x_named.description.heads_are_known ? options.heads : options.heads_otherwise);
    std::vector<StoredTensor> tensors;
    for (const NamedTensor& tensor : x_named.tensors) {
      const ElementType type =
          is_as_stored(tensor) ? x_file->tensor(tensor.pieces[0].stored).type : ElementType::f32;
      tensors.push_back({.name = tensor.name, .type = type, .shape = tensor.shape});
    }
    set_tensors(std::move(tensors), x_file->metadata());
    if (x_named.description.position == PositionScheme::rotary) x_named.description.key_bias = has_key_bias();
  }

  [[nodiscard]] const BackboneDescription& description() const { return x_named.description; }
  /// What stands before the family's names in the file.
  [[nodiscard]] const std::string& prefix() const { return x_named.prefix; }
  /// The file's tensors that are no part of the backbone.
  [[nodiscard]] const std::vector<std::string>& ignored() const { return x_named.ignored; }
  /// The file under its own names.
  [[nodiscard]] const TensorFile& source() const { return *x_file; }

 private:
  static constexpr const char* periods_name = "rope_embed.periods";

  /// `name_backbone`, which of one of several files would say what lies in the others.
  [[nodiscard]] static NamedBackbone named(const TensorFile& file, std::optional<WeightFamily> family) {
    try {
      return name_backbone(file, family);
    } catch (const CheckpointError&) {
      if (!detail::is_called_shard(file.path())) throw;
      throw CheckpointError(file.path(), join("is one of several files that hold a backbone together; ", detail::expected_one_file));
    }
  }

  /// Throws `OptionError` for another number of heads than the file's, or one that its width is not divided by.
  void require_possible(Index heads, std::string_view field) const {
    const BackboneDescription& d = x_named.description;
    if (d.heads_are_known && heads != d.heads) throw OptionError(field, heads, join(d.heads, ", which ", path(), " says itself"));
    const bool rotary = d.position == PositionScheme::rotary;
    if (const Index divided = rotary ? d.width / 4 : d.width; divided % heads != 0) {
      throw OptionError(field, heads, join("a divisor of ", divided, rotary ? ", a fourth of the width of " : ", the width of ", path()));
    }
  }

  void read_config(Index heads, std::string_view field) {
    const auto config = HuggingFaceConfig::beside(path());
    if (!config) return;
    BackboneDescription& d = x_named.description;
    x_theta = config->complete(d, *x_file);
    if (heads != 0 && d.heads_are_known && heads != d.heads) {
      throw OptionError(field, heads, join(d.heads, ", as ", HuggingFaceConfig::path_beside(path()), " says"));
    }
  }

  void make_periods(Index heads) {
    const BackboneDescription& d = x_named.description;
    const auto is_periods = [](const NamedTensor& tensor) { return tensor.name == periods_name; };
    if (d.position != PositionScheme::rotary || std::ranges::any_of(x_named.tensors, is_periods)) return;
    if (heads == 0) heads = d.heads;
    if (heads == 0 || d.width % (4 * heads) != 0) return;
    x_named.tensors.push_back({.name = periods_name, .shape = {d.width / heads / 4}, .pieces = {}});
  }

  [[nodiscard]] bool is_as_stored(const NamedTensor& tensor) const {
    return tensor.pieces.size() == 1 && !tensor.pieces[0].stored.empty() && tensor.factor.empty() &&
           tensor.row_factor.empty();
  }

  /// Whether a key of any block has a bias. One that is masked by what is no number, as in a model that was never given
  /// weights, is one here: whoever reads the tensor is told.
  [[nodiscard]] bool has_key_bias() const {
    const Index width = x_named.description.width;
    const auto values = [&](const TensorPiece& piece, Index first) {
      std::vector<float> all = x_file->read<float>(piece.stored);
      all.erase(all.begin(), all.begin() + piece.first + first);
      all.resize(static_cast<std::size_t>(width));
      return all;
    };
    for (const NamedTensor& tensor : x_named.tensors) {
      if (!tensor.name.ends_with(".attn.qkv.bias")) continue;
      const bool apart = tensor.pieces.size() == 3;  // of queries, keys, values
      const TensorPiece& piece = tensor.pieces[apart ? 1 : 0];
      if (piece.stored.empty()) continue;
      std::vector<float> keys = values(piece, apart ? 0 : width);
      if (!tensor.factor.empty()) {
        const std::vector<float> mask = values({.stored = tensor.factor}, width);
        for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = mask[i] == 0 ? 0 : keys[i];
      }
      if (std::ranges::any_of(keys, [](float value) { return value != 0; })) return true;
    }
    return false;
  }

  void fold() {
    // Stored names of the scales, by their own.
    std::map<std::string, std::string, std::less<>> scales;
    for (const NamedTensor& tensor : x_named.tensors) {
      if (tensor.name.ends_with(".gamma")) scales.emplace(tensor.name, tensor.pieces[0].stored);
    }
    // A branch's last layer and its scale.
    constexpr std::array<std::array<std::string_view, 2>, 3> branches{
        {{"attn.proj.", "ls1.gamma"}, {"mlp.fc2.", "ls2.gamma"}, {"mlp.w3.", "ls2.gamma"}}};
    for (NamedTensor& tensor : x_named.tensors) {
      for (const auto& [layer, scale] : branches) {
        const std::size_t at = tensor.name.find(layer);
        if (at == std::string::npos) continue;
        const auto found = scales.find(join(tensor.name.substr(0, at), scale));
        if (found != scales.end()) tensor.row_factor = found->second;
      }
    }
    std::erase_if(x_named.tensors, [](const NamedTensor& tensor) { return tensor.name.ends_with(".gamma"); });
    x_named.description.layer_scale = false;
    x_named.description.layer_scale_folded = true;
  }

  [[nodiscard]] std::span<const std::byte> x_elements(std::size_t place,
                                                      std::vector<std::byte>& scratch) const override {
    const NamedTensor& tensor = x_named.tensors[place];
    if (is_as_stored(tensor)) {
      const TensorPiece& piece = tensor.pieces[0];
      const std::size_t width = element_bytes(tensors()[place].type);
      return x_file->elements(piece.stored, scratch)
          .subspan(static_cast<std::size_t>(piece.first) * width,
                   static_cast<std::size_t>(piece.size) * width);
    }
    std::vector<float> values;
    const auto size = static_cast<std::size_t>(tensors()[place].size());
    values.reserve(size);
    for (std::size_t i = 0; tensor.pieces.empty() && i < size; ++i) {  // periods that the file leaves to its family
      values.push_back(static_cast<float>(std::pow(x_theta, static_cast<double>(i) / static_cast<double>(size))));
    }
    for (const TensorPiece& piece : tensor.pieces) {
      if (piece.stored.empty()) {
        values.resize(values.size() + static_cast<std::size_t>(piece.size));
        continue;
      }
      const std::vector<float> all = x_file->read<float>(piece.stored);
      values.insert(values.end(), all.begin() + piece.first, all.begin() + piece.first + piece.size);
    }
    if (!tensor.factor.empty()) {
      const std::vector<float> factor = x_file->read<float>(tensor.factor);
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (!std::isfinite(factor[i])) {
          throw CheckpointError(path(),
                                join(detail::element_words(tensor.factor, factor[i], i),
                                     "; expected 0 or 1 (was the model never given weights?)"));
        }
        values[i] *= factor[i];
      }
    }
    if (!tensor.row_factor.empty()) {
      const std::vector<float> factor = x_file->read<float>(tensor.row_factor);
      const std::size_t columns = values.size() / factor.size();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] *= factor[i / columns];
    }
    scratch.resize(values.size() * sizeof(float));
    if (!values.empty()) std::memcpy(scratch.data(), values.data(), scratch.size());
    return scratch;
  }

  std::unique_ptr<TensorFile> x_file;
  NamedBackbone x_named;
  double x_theta = 100;
};

}  // namespace dssl
