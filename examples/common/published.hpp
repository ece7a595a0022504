// Weights of other families in programs: what of them this ViT runs, and its sizes as the file has them.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/train/loaded_weights.hpp>

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

  /// Adds to a result's settings what was given, each name behind `prefix`.
  void add_to(nlohmann::ordered_json& settings, const std::string& prefix = {}) const {
    if (!family.empty()) settings[prefix + "family"] = family;
    if (heads > 0) settings[prefix + "heads"] = heads;
  }

  /// Throws `OptionError`.
  [[nodiscard]] BackboneFileOptions options() const { return backbone_file_options(family, heads); }
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
  std::string heads =
      "Heads of the attention with --arch auto, which files of weights do not say; 0: the usual "
      "number, one for 64 of the width, or 16 of ViT-H, g and G";
};

inline std::array<CLI::Option*, 2> add_published_options(CLI::App& app, PublishedSettings& s, const std::string& group,
                                                         const PublishedOptions& words = {}) {
  const std::array out{
      app.add_option("--" + words.prefix + "family", s.family, words.family)->check(known_family())->group(group),
      app.add_option("--" + words.prefix + "heads", s.heads, words.heads)
          ->check(CLI::Range(Index{0}, Index{1024}))
          ->capture_default_str()
          ->group(group)};
  if (words.of != nullptr) {
    for (CLI::Option* const option : out) option->needs(words.of);
    out[0]->option_text("NAME");
  }
  return out;
}

/// The sizes of the architecture of that name, or of the weights for "auto". Throws `OptionError`,
/// `FileError`.
[[nodiscard]] inline ViTConfig architecture_for(const std::string& arch, const std::string& weights,
                                                const PublishedSettings& s) {
  if (arch != architecture_of_file) return architecture(arch);
  if (weights == "random" || weights.empty())
    throw OptionError("arch", arch, "an architecture by name where no file of weights says it");
  return config_of_weights(weights, s.options());
}

/// The names of architectures and "auto", for checks of the command line.
[[nodiscard]] inline std::vector<std::string> architecture_choices() {
  std::vector<std::string> names = architecture_names();
  names.emplace_back(architecture_of_file);
  return names;
}

}  // namespace dssl::programs
