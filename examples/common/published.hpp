// Weights of other families in programs: what of them this ViT runs, and its sizes as the file has them.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/backbone_names.hpp>
#include <dssl/train/loaded_weights.hpp>

#include "common/architectures.hpp"

namespace dssl::programs {

/// The name of the architecture that a file of weights says itself.
inline constexpr std::string_view architecture_of_file = "auto";

inline constexpr const char* weights_help =
    "Backbone weights, safetensors or .pth, of dssl, DINO, DenseDINO, DINOv2, DINOv3, timm, torchvision or Hugging Face; or "
    "'random'";
/// What 0 heads are, for the help of options.
inline constexpr std::string_view usual_heads_help =
    "the usual number, one for 64 of the width, or 16 of ViT-H, g and G, 32 of DINOv3's 7B";
inline constexpr const char* architecture_help = "Architecture of the weights; auto: as the file says";

/// "; 12 tensors of the file are no part of the backbone", or nothing where all are.
[[nodiscard]] inline std::string ignored_text(std::size_t tensors) {
  if (tensors == 0) return {};
  return join("; ", tensors, tensors == 1 ? " tensor of the file is" : " tensors of the file are", " no part of the backbone");
}

/// What names of tensors cannot tell of published weights.
struct PublishedSettings {
  std::string family;   // empty: as the names say
  Index heads = 0;      // 0: the usual number
  Index heads_otherwise = 0;  // as an earlier run took them, before the usual number
  PixelScale pixels{};  // that images are normalised by; empty: as the weights say, or as usual

  /// Adds to a result's settings what was given, or found where the weights were opened, each name behind `prefix`; no pixels
  /// as usual.
  void add_to(nlohmann::ordered_json& settings, const std::string& prefix = {}) const {
    if (!family.empty()) settings[prefix + "family"] = family;
    if (heads > 0) settings[prefix + "heads"] = heads;
    if (is_usual(pixels)) return;
    settings[prefix + "mean"] = pixels.mean;
    settings[prefix + "deviation"] = pixels.deviation;
  }

  /// Throws `OptionError`.
  [[nodiscard]] BackboneFileOptions options() const { return backbone_file_options(family, heads, heads_otherwise); }
};

/// Of options that name the family of weights.
[[nodiscard]] inline CLI::IsMember known_family() {
  return CLI::IsMember(std::vector<std::string>(weight_family_names.begin(), weight_family_names.end()));
}

/// Whose the family and the heads are, for their options.
struct PublishedOptions {
  std::string prefix{};        ///< of their names
  CLI::Option* of = nullptr;   ///< what names the weights, where not every call has some
  std::string family =
      "Whose code trained the weights, where their names do not tell: timm's are DINO's, but other sizes "
      "than the weights' own are read by another rule (default: as the names say)";
  std::string heads = join("Heads of the attention with --arch auto, which files of weights do not say; 0: ", usual_heads_help);
  std::string mean =
      "What is taken from pixels of 0 to 1, a number a channel, joined by commas; default: as the weights or "
      "preprocessor_config.json beside them say, else ImageNet's, or 0.5 for other channels than three";
  std::string deviation = "What they are then divided by; default: likewise, or 0.25";
  bool pixels_without = false;  ///< mean and deviation hold where nothing names weights too
};

/// Mean and deviation, which go together.
inline std::array<CLI::Option*, 2> add_pixel_options(CLI::App& app, PixelScale& pixels, const std::string& group,
                                                     const PublishedOptions& words = {}) {
  const std::array out{app.add_option("--" + words.prefix + "mean", pixels.mean, words.mean)->option_text("M,..."),
                       app.add_option("--" + words.prefix + "deviation", pixels.deviation, words.deviation)->option_text("D,...")};
  for (CLI::Option* const option : out) {
    option->delimiter(',');
    if (!group.empty()) option->group(group);
  }
  out[0]->needs(out[1]);
  out[1]->needs(out[0]);
  return out;
}

inline std::array<CLI::Option*, 4> add_published_options(CLI::App& app, PublishedSettings& s, const std::string& group,
                                                         const PublishedOptions& words = {}) {
  CLI::Option* const family = app.add_option("--" + words.prefix + "family", s.family, words.family)->check(known_family())->group(group);
  CLI::Option* const heads = app.add_option("--" + words.prefix + "heads", s.heads, words.heads)
                                 ->check(CLI::Range(Index{0}, Index{1024}))
                                 ->capture_default_str()
                                 ->group(group);
  const auto [mean, deviation] = add_pixel_options(app, s.pixels, group, words);
  if (words.of != nullptr) {
    for (CLI::Option* const option : {family, heads}) option->needs(words.of);
    for (CLI::Option* const option : {mean, deviation}) {
      if (!words.pixels_without) option->needs(words.of);
    }
    family->option_text("NAME");
  }
  return {family, heads, mean, deviation};
}

/// A line of its own about pixels that are not normalised as usual; empty where they are.
[[nodiscard]] inline std::string pixels_line(const PixelScale& scale) {
  return is_usual(scale) ? std::string() : join("\nimages: ", describe(scale));
}

/// Throws `OptionError` where heads are asked for, 0 none, that an architecture of this name does not have.
inline void require_heads_of(const ViTConfig& config, const std::string& arch, Index asked) {
  if (asked != 0 && asked != config.heads)
    throw OptionError("heads", asked, join(config.heads, ", which ", arch, " has, or --arch auto"));
}

/// The names of architectures and "auto", for checks of the command line.
[[nodiscard]] inline std::vector<std::string> architecture_choices() {
  std::vector<std::string> names = architecture_names();
  names.emplace_back(architecture_of_file);
  return names;
}

}  // namespace dssl::programs
