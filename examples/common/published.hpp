// Weights of other families in programs: what of them this ViT runs, and its sizes as the file has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/nn/position.hpp>

#include "common/architectures.hpp"

namespace dssl::programs {

/// The name of the architecture that a file of weights says itself.
inline constexpr std::string_view architecture_of_file = "auto";

inline constexpr const char* weights_help =
    "Backbone weights, safetensors or .pth, of dssl, DINO, DINOv2, timm, torchvision or Hugging Face; or "
    "'random'";
inline constexpr const char* architecture_help = "Architecture of the weights; auto: as the file says";

/// What names of tensors cannot tell of published weights.
struct PublishedSettings {
  std::string family;  // empty: as the names say
  Index heads = 0;     // 0: the usual number

  /// Adds to a result's settings what was given.
  void add_to(nlohmann::ordered_json& settings) const {
    if (!family.empty()) settings["family"] = family;
    if (heads > 0) settings["heads"] = heads;
  }

  /// Throws `OptionError`.
  [[nodiscard]] BackboneFileOptions options() const {
    BackboneFileOptions out{.fold_layer_scale = true};
    if (family.empty()) return out;
    out.family = family_named(family);
    if (!out.family)
      throw OptionError("family", family, "dino, densedino, dinov2, dinov3, timm, torchvision or hf");
    return out;
  }
};

inline void add_published_options(CLI::App& app, PublishedSettings& s, const std::string& group) {
  app.add_option(
         "--family", s.family,
         "Whose code trained the weights, where their names do not tell: timm's are DINO's, but other sizes "
         "than the weights' own are read by another rule (default: as the names say)")
      ->check(CLI::IsMember({"dino", "densedino", "dinov2", "dinov3", "timm", "torchvision", "hf"}))
      ->group(group);
  app.add_option("--heads", s.heads,
                 "Heads of the attention with --arch auto, which files of weights do not say; 0: one for 64 "
                 "of the width")
      ->check(CLI::Range(Index{0}, Index{1024}))
      ->capture_default_str()
      ->group(group);
}

/// Throws `CheckpointError` in words if the file's backbone has what this ViT does not.
inline void require_runnable(const BackboneDescription& d, const std::string& path) {
  const auto refuse = [&](std::string_view what) {
    throw CheckpointError(path, join("is of the family ", family_name(d.family), " and ", what,
                                     ", which these programs do not run yet"));
  };
  if (d.position == PositionScheme::rotary) refuse("has rotary positions");
  if (d.mlp == MlpKind::swiglu) refuse("has SwiGLU in its blocks");
}

/// The sizes of a published backbone. Throws `CheckpointError` for one that is not run, `OptionError` where
/// the number of heads has to be given.
[[nodiscard]] inline ViTConfig config_of(const BackboneDescription& d, const PublishedSettings& s,
                                         const std::string& path) {
  require_runnable(d, path);
  const Index heads = s.heads > 0 ? s.heads : d.heads;
  if (heads == 0 || d.width % heads != 0) {
    throw OptionError("heads", s.heads,
                      join("the number of heads that ", path, " of width ", d.width, " was trained with"));
  }
  if (d.hidden % d.width != 0) {
    throw CheckpointError(path, join("has an MLP of ", d.hidden, " for a width of ", d.width,
                                     "; expected a multiple of the width"));
  }
  return {.image = d.native_image(),
          .patch = d.patch,
          .width = d.width,
          .depth = d.depth,
          .heads = heads,
          .mlp_ratio = d.hidden / d.width,
          .channels = d.channels,
          .registers = d.registers};
}

/// The sizes of the architecture of that name, or of the weights for "auto". Throws `OptionError`,
/// `FileError`.
[[nodiscard]] inline ViTConfig architecture_for(const std::string& arch, const std::string& weights,
                                                const PublishedSettings& s) {
  if (arch != architecture_of_file) return architecture(arch);
  if (weights == "random" || weights.empty())
    throw OptionError("arch", arch, "an architecture by name where no file of weights says it");
  return config_of(BackboneFile::open(weights, s.options()).description(), s, weights);
}

/// The names of architectures and "auto", for checks of the command line.
[[nodiscard]] inline std::vector<std::string> architecture_choices() {
  std::vector<std::string> names = architecture_names();
  names.emplace_back(architecture_of_file);
  return names;
}

/// Throws `CheckpointError` if the table of these weights is read for a grid of patches by a rule that this
/// ViT does not have: at its own size every rule reads it as it is.
inline void require_positions(const BackboneDescription& d, GridSize grid, const std::string& path) {
  if (d.position == PositionScheme::offset || grid == GridSize{d.table_side, d.table_side}) return;
  throw CheckpointError(
      path, join("is of the family ", family_name(d.family), ", which reads its ", d.table_side, "x",
                 d.table_side, " positions for other sizes by the rule '", position_scheme_name(d.position),
                 "', which these programs do not have yet; expected inputs of ", d.native_image(),
                 " pixels, as --size gives them"));
}

}  // namespace dssl::programs
