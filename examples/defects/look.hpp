// Options of how images are looked at for defects: which patches count, windows, standardising, the image's score.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/defects/tiles.hpp>

namespace dssl::programs {

struct LookSettings {
  Index border = 0;
  bool standardise_features = false;
  bool standardise_images = false;
  Index flatten = 0;
  Index top = 1;
  double place = 0;
  bool tiles = false;
  double scale = 1;
  Index overlap = 32;

  [[nodiscard]] bool operator==(const LookSettings&) const = default;

  [[nodiscard]] PatchRules rules() const { return {.border = border, .standardise = standardise_features, .place = place}; }
  [[nodiscard]] std::optional<TileOptions> windows() const {
    return tiles ? std::optional(TileOptions{.scale = scale, .overlap = overlap}) : std::nullopt;
  }

  [[nodiscard]] nlohmann::ordered_json json() const {
    return {{"border", border}, {"standardise_features", standardise_features}, {"standardise_images", standardise_images},
            {"flatten", flatten}, {"top", top},       {"place", place},                               {"tiles", tiles},
            {"scale", scale},   {"overlap", overlap}};
  }

  /// Settings of before there were any of these have none of them. Throws `nlohmann::json::exception`.
  void adopt(const nlohmann::ordered_json& stored) {
    const LookSettings none;
    border = stored.value("border", none.border);
    standardise_features = stored.value("standardise_features", none.standardise_features);
    standardise_images = stored.value("standardise_images", none.standardise_images);
    flatten = stored.value("flatten", none.flatten);
    top = stored.value("top", none.top);
    place = stored.value("place", none.place);
    tiles = stored.value("tiles", none.tiles);
    scale = stored.value("scale", none.scale);
    overlap = stored.value("overlap", none.overlap);
  }
};

inline void add_look_options(CLI::App& app, LookSettings& s, const std::string& group) {
  app.add_option("--border", s.border, "Outer rows and columns of an image's patches that do not count")
      ->check(CLI::Range(Index{0}, Index{1024}))
      ->capture_default_str()
      ->group(group);
  app.add_flag("--standardise-features", s.standardise_features,
               "Each feature less its mean over the image's patches, over its deviation there")
      ->group(group);
  app.add_flag("--standardise-images", s.standardise_images,
               "Brightness and contrast of each image made alike first")
      ->group(group);
  app.add_option("--flatten", s.flatten,
                 "Or brightness and contrast about each pixel made alike, over so many pixels of the image to each side: uneven "
                 "light goes; 0: off")
      ->check(CLI::Range(Index{0}, Index{1} << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--top", s.top, "An image's score is the mean of so many largest distances of its patches")
      ->check(CLI::Range(Index{1}, Index{1} << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--place", s.place,
                 "Share of the image at which patches count as far apart as any two are by their features, so that a patch is "
                 "compared with those from about its own place; 0: place does not matter")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(group);
  app.add_flag("--tiles", s.tiles,
               "Images at their own resolution, covered by windows of --size that overlap, in place of resizing each to --size")
      ->group(group);
  app.add_option("--scale", s.scale, "Factor that every image is resized by before, with --tiles")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--overlap", s.overlap, "Pixels that neighbouring windows share, at least, with --tiles")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(group);
}

}  // namespace dssl::programs
