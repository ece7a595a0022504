// The backbone of a file of weights of any family, ready for a ViT of sizes that are known at run time.
// Tests: tests/programs/weights.sh, tests/c_interface/interface.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backbone/named_vits.hpp>
#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/backbone_names.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/train/published_vit.hpp>

namespace dssl {

/// How weights are taken whose LayerScale is multiplied into the layers before it. `family`: a name of `family_name`, or
/// empty for what the tensors' names say. `heads`: 0 for the file's, or the usual number. Throws `OptionError`.
[[nodiscard]] inline BackboneFileOptions backbone_file_options(std::string_view family, Index heads) {
  BackboneFileOptions out{.fold_layer_scale = true, .heads = heads};
  if (family.empty()) return out;
  out.family = family_named(family);
  if (!out.family) throw OptionError("family", family, weight_families_in_words);
  return out;
}

/// The sizes of a file's backbone: `published_config` with the heads of dssl's own architecture where the file names one.
/// `heads`: 0 for the file's, or the usual number; `field`: what messages call it. Throws `CheckpointError`, `OptionError`.
[[nodiscard]] inline ViTConfig config_of_weights(const BackboneFile& file, Index heads, std::string_view field = "heads") {
  const BackboneDescription& d = file.description();
  if (heads == 0 && !d.heads_are_known) heads = heads_of_named(file.metadata(), d.width, d.depth);
  return published_config(d, file.path(), heads, field);
}
/// The same of a file by name. Throws `FileError` too.
[[nodiscard]] inline ViTConfig config_of_weights(const std::string& path, const BackboneFileOptions& options) {
  return config_of_weights(BackboneFile::open(path, options), options.heads, options.heads_field);
}

/// What `describe` says of a file's backbone, where nobody says the number of its heads and `config_of_weights` takes the
/// usual one; empty where it is known. Throws as `BackboneFile::open`.
[[nodiscard]] inline std::string guess_of(const std::string& path, const BackboneFileOptions& options) {
  const BackboneFile file = BackboneFile::open(path, options);
  const BackboneDescription& d = file.description();
  const bool known = options.heads > 0 || d.heads_are_known || heads_of_named(file.metadata(), d.width, d.depth) > 0;
  return known ? std::string() : describe(d);
}

/// Tells weights from others, in 16 digits: FNV-1a over their bytes. Banks of normal patches name it.
[[nodiscard]] inline std::string fingerprint_of(std::span<const float> weights) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const std::byte byte : std::as_bytes(weights)) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 1099511628211ULL;
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[hash >> shift & 15U];
  return text;
}

/// What a file says of the weights that were loaded from it.
struct WeightOrigin {
  std::string prefix{};  ///< what stood before the published names in the file
  std::string family{};  ///< where it is not DINO's or dssl's
};

/// A backbone's weights as they were loaded.
struct LoadedWeights : WeightOrigin {
  std::vector<float> flat;
};

/// The weights of a file of any family, to be run by a ViT of these sizes on `grid` patches, into `flat` (layout.total()) =,
/// zeros before. Throws `CheckpointError` where they do not fit, or go by other rules than the ViT; `FileError`,
/// `OptionError`; nobody may read `flat` then.
inline WeightOrigin load_any_backbone(std::span<float> flat, const std::string& path, const ParameterLayout& layout,
                                      const ViTConfig& config, GridSize grid, const BackboneFileOptions& options) {
  auto file = open_tensor_file(path);
  require_readable_relation(*file);
  const WeightFamily family = family_of(*file, options.family);
  // What dssl-convert wrote under dssl's names says whose rules it goes by.
  const bool own_rules = !file->metadata().contains("positions");
  if (own_rules && (family == WeightFamily::dino || family == WeightFamily::densedino))
    return {.prefix = load_fresh_backbone(flat, layout, *file).prefix};
  const BackboneFile named(std::move(file), options);
  load_fresh_backbone(flat, layout, named, "");
  require_same_rules(named.description(), config, grid, path);
  return {.prefix = named.prefix(), .family = std::string(family_name(family))};
}

/// The same in memory of its own.
[[nodiscard]] inline LoadedWeights load_any_backbone(const std::string& path, const ParameterLayout& layout,
                                                     const ViTConfig& config, GridSize grid,
                                                     const BackboneFileOptions& options) {
  LoadedWeights out;
  out.flat.resize(static_cast<std::size_t>(layout.total()));
  static_cast<WeightOrigin&>(out) = load_any_backbone(std::span<float>(out.flat), path, layout, config, grid, options);
  return out;
}

}  // namespace dssl
