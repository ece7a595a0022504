// Views for pictures of a kind: what old, line-scan and mobile cameras do to them, and what industrial scenes
// allow. Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/views/multi_crop_options.hpp>
#include <dssl/views/photometric_parts.hpp>

namespace dssl {

/// What a preset sets of a generator's options; the rest stays as it was.
struct ViewPreset {
  std::string_view name;
  std::string_view parts{};  ///< as `photometric_parts_of` reads them
  double grey = -1;          ///< probability of a grey view; -1: as it was
  bool industrial = false;   ///< without hue, every second view upside down, all quarter turns alike
};

/// Strengths are chosen to look like such pictures at views of 100 to 300 pixels; they are measured on
/// nothing yet.
inline constexpr std::array<ViewPreset, 4> view_presets{{
    {.name = "old_camera",
     .parts = "exposure=1@0.5,gamma=0.5@0.5,white_balance=0.3@0.5,vignetting=0.6@0.7,shot_noise=0.08@0.7,"
              "read_noise=0.04@0.7,"
              "fixed_pattern=0.05@0.5,row_banding=0.02@0.5,hot_pixels=0.001@0.5,defocus=1.5@0.5,jpeg=70@0.5,"
              "quantise=3@0.3",
     .grey = 0.5},
    {.name = "line_scan",
     .parts =
         "exposure=0.7@0.5,gamma=0.3@0.5,shot_noise=0.04@0.7,read_noise=0.02@0.7,column_pattern=0.06@0.7,"
         "row_banding=0.03@0.7,motion_blur=5@0.5,quantise=2@0.3",
     .grey = 0.5},
    {.name = "mobile",
     .parts = "exposure=1@0.5,gamma=0.4@0.5,white_balance=0.5@0.5,grey_world=1@0.3,vignetting=0.3@0.5,shot_"
              "noise=0.06@0.5,"
              "read_noise=0.02@0.5,defocus=2@0.3,motion_blur=8@0.3,jpeg=60@0.7"},
    {.name = "industrial", .industrial = true},
}};

/// `options` with what a preset sets. Throws `OptionError` about "preset" for a name that is none.
[[nodiscard]] DSSL_INLINE MultiCropOptions with_preset(MultiCropOptions options, std::string_view name);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE MultiCropOptions with_preset(MultiCropOptions options, std::string_view name) {
  const auto found = std::ranges::find(view_presets, name, &ViewPreset::name);
  if (found == view_presets.end()) {
    std::string names;
    for (const ViewPreset& preset : view_presets) names += join(names.empty() ? "" : ", ", preset.name);
    throw OptionError("preset", name, names);
  }
  options.parts = merged(options.parts, photometric_parts_of(found->parts));
  if (found->grey >= 0) options.grey = found->grey;
  if (found->industrial) {
    options.hue = 0;
    options.vertical_flip = 0.5;
    options.quarter_turns = 0.75;
  }
  return options;
}
#endif

}  // namespace dssl
