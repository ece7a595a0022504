// Reference tokens as programs read them: what a file of weights says of its own, and the map that is asked for.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/features/feature_options.hpp>
#include <dssl/io/backbone_names.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/weights.hpp>

#include "common/relations.hpp"

namespace dssl::programs {

/// What the reference tokens of weights are made of, beside positions.
struct ReferenceFacts {
  bool learned = false;
  bool content = false;
};

/// Those of a file, or of "random". Throws `CheckpointError` unless reference tokens mean something to these weights.
[[nodiscard]] inline ReferenceFacts references_of(const std::string& path) {
  if (path == "random") return {};
  const auto opened = open_tensor_file(path);
  const TensorFile& file = *opened;
  const auto text = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  const std::string recipe = text("recipe");
  // A checkpoint has the recipe in words there, weights its name.
  const bool words = recipe.find("tokens: ") != std::string::npos;
  // Other families' weights never had any; files of DenseDINO's own code say no recipe.
  const bool has_references = recipe.empty() ? family_of(file) == WeightFamily::densedino
                              : words        ? recipe.find("tokens: reference tokens") != std::string::npos
                                             : recipe.starts_with("densedino") || recipe == "densesimclr";
  if (!has_references) {
    throw CheckpointError(path, "was trained without reference tokens; expected weights of recipe densedino, densedino-local, densedino-contrast or densesimclr");
  }
  const std::string relation = text("relation");
  if (!relation.empty() && !names_relation(relation, "private")) {
    throw CheckpointError(path, join("was trained with relation ", relation,
                                     "; reference tokens are shown under the relation private alone"));
  }
  return {.learned = file.contains(backbone_prefix(file) + "ref_learn_token"),
          .content = !text("content").empty() || recipe.find(", content ") != std::string::npos};
}

/// Which tokens make the map of an image.
struct MapSettings {
  std::string read = "patches";
  std::string points = "1x";
  bool lists = false;             ///< points of a list are taken too, which make no map of an image
  std::string option = "points";  ///< its name, where the program has another of that name

  [[nodiscard]] bool references() const { return read == "references"; }
  /// What they are called.
  [[nodiscard]] const char* tokens() const { return references() ? "references" : "patches"; }
  /// References a patch, down and across; 0 where patches are read, or points of a list. Throws `OptionError`.
  [[nodiscard]] Index per_patch() const { return references() ? x_places().per_patch : 0; }
  /// Takes what `per_patch` said.
  void set_per_patch(Index n) {
    read = n > 0 ? "references" : "patches";
    points = join(std::max<Index>(n, 1), "x");
  }

  /// Throws `OptionError` for points that no references stand at.
  void validate() const {
    if (!references() && points != MapSettings{}.points) throw OptionError(option, points, "--read references with it");
  }

  /// What a feature extractor is made with for these weights. Throws `OptionError`, `CheckpointError`.
  [[nodiscard]] ReferenceMap map(const std::string& weights) const {
    validate();
    if (!references()) return {};
    ReferenceMap out = x_places();
    const ReferenceFacts facts = references_of(weights);
    out.learned = facts.learned;
    out.content = facts.content;
    return out;
  }

  void add_to(nlohmann::ordered_json& json) const {
    if (references()) json["references"] = points;
  }

 private:
  [[nodiscard]] ReferenceMap x_places() const {
    const auto refuse = [&]() -> ReferenceMap {
      throw OptionError(option, points, lists ? "1x to 64x, or points x:y from -1 to 1, joined by commas"
                                                : "1x to 64x: a map of the image is a grid; dssl-features takes lists of points");
    };
    const auto number = [&](std::string_view text, auto& value) {
      const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
      return problem == std::errc{} && end == text.data() + text.size() && !text.empty();
    };
    ReferenceMap out;
    if (points.ends_with('x')) {
      if (!number(std::string_view(points).substr(0, points.size() - 1), out.per_patch)) return refuse();
      if (out.per_patch < 1 || out.per_patch > 64) return refuse();
      return out;
    }
    if (!lists) return refuse();
    for (std::string_view rest = points; !rest.empty();) {
      const std::string_view one = rest.substr(0, rest.find(','));
      const std::size_t colon = one.find(':');
      Point point{};
      if (colon == std::string_view::npos || !number(one.substr(0, colon), point.x) || !number(one.substr(colon + 1), point.y)) {
        return refuse();
      }
      if (!(point.x >= -1 && point.x <= 1 && point.y >= -1 && point.y <= 1)) return refuse();
      out.points.push_back(point);
      if (one.size() + 1 == rest.size()) return refuse();  // ends in a comma
      rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    }
    return out.points.empty() ? refuse() : out;
  }
};

/// Adds both options, with their help.
inline void add_map_options(CLI::App& app, MapSettings& s, const std::string& group) {
  app.add_option("--read", s.read,
                 "What the map of an image is made of: patches, or references, tokens that stand at any points (weights of "
                 "densedino, densedino-local, densedino-contrast or densesimclr)")
      ->check(CLI::IsMember({"patches", "references"}))
      ->capture_default_str()
      ->group(group);
  std::string name = "--" + s.option;
  std::ranges::replace(name, '_', '-');
  app.add_option(name, s.points,
                 join("Where references stand: Nx for N x N a patch (1x: at its centre)",
                      s.lists ? ", or points x:y of the input from -1 to 1, joined by commas, as -0.5:0.25,0:0" : ""))
      ->capture_default_str()
      ->group(group);
}

}  // namespace dssl::programs
