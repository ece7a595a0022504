// Options of how images are looked at for defects: which patches count, windows, standardising, the image's score.
#pragma once

#include <optional>
#include <string>
#include <type_traits>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/patch_look.hpp>

namespace dssl::programs {

using LookSettings = PatchLook;

[[nodiscard]] inline nlohmann::ordered_json look_json(const LookSettings& look) {
  nlohmann::ordered_json out;
  LookSettings::for_each(look, [&]<class V>(const char* name, const V& value) {
    if constexpr (std::is_same_v<V, std::optional<double>>) out[name] = value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
    else out[name] = value;
  });
  return out;
}

/// `foreground`: where masks of it lie.
inline void add_look_options(CLI::App& app, LookSettings& s, std::string& foreground, const std::string& group) {
  app.add_option("--border", s.border, "Outer rows and columns of an image's patches that do not count")
      ->check(CLI::Range(Index{0}, Index{1024}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--foreground", foreground,
                 "Mask of what of every image counts, or folder of one for each, as --masks: what is not 0. Of patches those count of "
                 "which at least half does")
      ->each([&s](const std::string& given) { s.foreground_masks = !given.empty(); })
      ->group(group);
  app.add_option("--foreground-above", s.foreground_above,
                 "Pixels whose mean over channels is at most this, 0 to 255, do not count, as far as they are connected with the "
                 "image's edge: a dark background")
      ->check(CLI::Range(0.0, 255.0))
      ->group(group);
  app.add_option("--foreground-below", s.foreground_below, "Likewise at least this: a bright background")
      ->check(CLI::Range(0.0, 255.0))
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
  app.add_flag("--free-of-size", s.free_of_size,
               "An image's score less what the number of its patches adds to scores, by a fit over the normal images that the "
               "threshold is taken from: a larger image has more chances of a high patch")
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
