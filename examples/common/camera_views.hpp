// What a camera does to views, as command lines name it: --views, --parts, --vertical-flip, --quarter-turns.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include <dssl/core/error.hpp>
#include <dssl/views/multi_crop_options.hpp>
#include <dssl/views/photometric_parts.hpp>
#include <dssl/views/view_presets.hpp>

namespace dssl::programs {

struct CameraViews {
  std::string preset{}, parts{};
  double vertical_flip = -1, quarter_turns = -1;  // -1: the preset's

  /// Throws `OptionError` that names the first option that was given, if any was.
  void require_none(const std::string& expected) const {
    if (!preset.empty()) throw OptionError("views", preset, expected);
    if (!parts.empty()) throw OptionError("parts", parts, expected);
    if (vertical_flip != -1) throw OptionError("vertical_flip", vertical_flip, expected);
    if (quarter_turns != -1) throw OptionError("quarter_turns", quarter_turns, expected);
  }
  /// Throws `OptionError`.
  void set(MultiCropOptions& views) const {
    if (!preset.empty()) views = with_preset(views, preset);
    views.parts = merged(views.parts, photometric_parts_of(parts));
    if (vertical_flip != -1) views.vertical_flip = vertical_flip;
    if (quarter_turns != -1) views.quarter_turns = quarter_turns;
  }
};

/// Adds the options, their help beginning with `of`.
inline void add_camera_views(CLI::App& app, CameraViews& views, const std::string& group,
                             const std::string& of = {}) {
  std::string presets, parts;
  for (const ViewPreset& preset : view_presets) presets += join(presets.empty() ? "" : ", ", preset.name);
  for (const PhotometricName& part : photometric_names) {
    parts += join(parts.empty() ? "" : "; ", part.name, " up to ", part.most, " (", part.unit, ")");
  }
  app.add_option(
         "--views", views.preset,
         join(of, "Views as of a kind of camera or scene: ", presets, "; default: as the recipe has them"))
      ->option_text("PRESET")
      ->group(group);
  app.add_option("--parts", views.parts,
                 join(of,
                      "What a camera does to each view, in an order drawn for it, beside what --views names "
                      "or in its place: "
                      "NAME=STRENGTH, with @PROBABILITY where not every view has it, joined by commas; 0 "
                      "takes one out. ",
                      parts, "; default: none"))
      ->option_text("LIST")
      ->group(group);
  app.add_option("--vertical-flip", views.vertical_flip,
                 join(of, "Probability of a view upside down; -1: 0, or as --views says"))
      ->group(group)
      ->capture_default_str();
  app.add_option(
         "--quarter-turns", views.quarter_turns,
         join(of, "Probability of a view turned by one, two or three quarters; -1: 0, or as --views says"))
      ->group(group)
      ->capture_default_str();
}

}  // namespace dssl::programs
