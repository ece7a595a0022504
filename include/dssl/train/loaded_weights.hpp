// The backbone of a file of weights of any family, ready for a ViT of sizes that are known at run time.
// Tests: tests/programs/weights.sh, tests/c_interface/interface.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backbone/named_vits.hpp>
#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/hash.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/backbone_names.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/train/published_vit.hpp>

namespace dssl {

/// How weights are taken whose LayerScale is multiplied into the layers before it. `family`: a name of `family_name`, or
/// empty for what the tensors' names say. `heads`: 0 for the file's, or the usual number; `heads_otherwise`: as
/// `BackboneFileOptions`. Throws `OptionError`.
[[nodiscard]] inline BackboneFileOptions backbone_file_options(std::string_view family, Index heads, Index heads_otherwise = 0) {
  BackboneFileOptions out{.fold_layer_scale = true, .heads = heads, .heads_otherwise = heads_otherwise};
  if (family.empty()) return out;
  out.family = family_named(family);
  if (!out.family) throw OptionError("family", family, weight_families_in_words);
  return out;
}

/// What a file says of its backbone, with the heads that it is run with: the file's own, else `options.heads`, else those of
/// dssl's own architecture that it names, else `options.heads_otherwise`. Where none of them says it they are the usual
/// number, and not known.
[[nodiscard]] inline BackboneDescription described_as_run(const BackboneFile& file, const BackboneFileOptions& options) {
  BackboneDescription d = file.description();
  if (d.heads_are_known) return d;
  for (const Index heads : {options.heads, heads_of_named(file.metadata(), d.width, d.depth), options.heads_otherwise}) {
    if (heads == 0) continue;
    d.heads = heads;
    d.heads_are_known = true;
    break;
  }
  return d;
}

/// The sizes of a file's backbone: `published_config` of `described_as_run`. Throws `CheckpointError`, `OptionError`.
[[nodiscard]] inline ViTConfig config_of_weights(const BackboneFile& file, const BackboneFileOptions& options) {
  return published_config(described_as_run(file, options), file.path(), options.heads, options.heads_field);
}

/// Tells weights from others, in 18 characters; banks of normal patches name it. Where `like` is the fingerprint of a bank from
/// before there were such, of 16 digits, it is one of that kind, which takes ten times as long: 0.4 s for a ViT-B. Not for
/// secrets: two sets may have the same by design. Test: tests/features/published.cpp.
[[nodiscard]] inline std::string fingerprint_of(std::span<const float> weights, std::string_view like = {}) {
  const bool before = like.size() == 16;
  const std::uint64_t hash = before ? detail::hash_of_bytes(std::as_bytes(weights)) : detail::hash_of_words(std::as_bytes(weights));
  return (before ? "" : "2-") + detail::hexadecimal(hash);
}

/// What a file says of the weights that were loaded from it.
struct WeightOrigin {
  std::string prefix{};  ///< what stood before the published names in the file
  std::string family{};  ///< where it is not DINO's or dssl's
  std::size_t ignored = 0;  ///< tensors of the file that are no part of the backbone: heads, an optimiser's, other networks'
};

/// A backbone's weights as they were loaded.
struct LoadedWeights : WeightOrigin {
  std::vector<float> flat;
};

/// A file of weights of any family, opened once: what it says of itself, and the weights.
class PublishedWeights {
 public:
  /// Throws as `open_tensor_file`.
  explicit PublishedWeights(const std::string& path, const BackboneFileOptions& options)
      : x_path(path), x_options(options), x_file(open_tensor_file(path)) {}

  /// The backbone under dssl's names. Throws as `BackboneFile`.
  [[nodiscard]] const BackboneFile& named() {
    if (!x_named) x_named.emplace(x_file ? std::move(x_file) : open_tensor_file(x_path), x_options);
    return *x_named;
  }
  /// `described_as_run`, which says in words where the number of heads is the usual one. Throws as `named`.
  [[nodiscard]] BackboneDescription description() { return described_as_run(named(), x_options); }
  /// Throws as `config_of_weights`.
  [[nodiscard]] ViTConfig config() { return config_of_weights(named(), x_options); }

  /// What images of so many channels are normalised by: as the weights say, or as usual, also where they are of other
  /// channels, as whoever loads them says. Throws as `stated_pixels`.
  [[nodiscard]] PixelScale pixels(Index channels) {
    const std::optional<PixelScale> stated = stated_pixels(x_stored(), family_of(x_stored(), x_options.family));
    return stated && stated->channels() == channels ? *stated : usual_pixels(channels);
  }

  /// The weights, to be run by a ViT of these sizes on `grid` patches, into `flat` (layout.total()) =, zeros before. Throws
  /// `CheckpointError` where they do not fit, or go by other rules than the ViT; `OptionError`; nobody may read `flat` then.
  WeightOrigin load(std::span<float> flat, const ParameterLayout& layout, const ViTConfig& config, GridSize grid) {
    require_readable_relation(x_stored());
    const WeightFamily family = family_of(x_stored(), x_options.family);
    // What dssl-convert wrote under dssl's names says whose rules it goes by.
    const bool own_rules = !x_stored().metadata().contains("positions");
    if (own_rules && (family == WeightFamily::dino || family == WeightFamily::densedino)) {
      x_require_same_sizes(config);
      LoadedBackbone loaded = load_fresh_backbone(flat, layout, x_stored());
      if (x_named) require_same_rules(x_named->description(), config, grid, x_path);
      return {.prefix = std::move(loaded.prefix), .ignored = loaded.ignored};
    }
    require_same_sizes(named().description(), config, x_path);
    load_fresh_backbone(flat, layout, named(), "");
    require_same_rules(named().description(), config, grid, x_path);
    return {.prefix = named().prefix(), .family = std::string(family_name(family)), .ignored = named().ignored().size()};
  }

 private:
  /// The file under its own names.
  [[nodiscard]] const TensorFile& x_stored() {
    if (x_named) return x_named->source();
    if (!x_file) x_file = open_tensor_file(x_path);  // naming it failed
    return *x_file;
  }

  /// `require_same_sizes` where the file can be named; of one that cannot whoever loads it says what is wrong.
  void x_require_same_sizes(const ViTConfig& config) {
    try {
      static_cast<void>(named());
    } catch (const CheckpointError&) {
      return;
    }
    require_same_sizes(x_named->description(), config, x_path);
  }

  std::string x_path;
  BackboneFileOptions x_options;
  std::unique_ptr<TensorFile> x_file;  // until it is named
  std::optional<BackboneFile> x_named;
};

/// The weights of a file of any family into `flat`: as `PublishedWeights::load`. Throws `FileError` too.
inline WeightOrigin load_any_backbone(std::span<float> flat, const std::string& path, const ParameterLayout& layout,
                                      const ViTConfig& config, GridSize grid, const BackboneFileOptions& options) {
  return PublishedWeights(path, options).load(flat, layout, config, grid);
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
