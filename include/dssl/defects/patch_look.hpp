// How images are looked at for defects, as banks keep it and programs offer it.
// Tests: tests/defects/defect_bank.cpp, tests/programs/defects.sh.
#pragma once

#include <optional>

#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/features/tiles.hpp>

namespace dssl {

/// Which patches count, windows, standardising, and the image's score: numbers of `DefectProbeOptions` in one flat list.
struct PatchLook {
  Index border = 0;
  bool standardise_features = false;
  bool standardise_images = false;
  Index flatten = 0;
  Index top = 1;
  double place = 0;
  bool free_of_size = false;  ///< image scores without their `SizeTrend` over normal images that were held out
  bool tiles = false;
  double scale = 1;
  Index overlap = 32;
  bool foreground_masks = false;
  std::optional<double> foreground_above{}, foreground_below{};

  [[nodiscard]] bool operator==(const PatchLook&) const = default;

  [[nodiscard]] PatchRules rules() const {
    return {.border = border, .standardise = standardise_features, .place = place, .foreground = foreground()};
  }
  [[nodiscard]] Foreground foreground() const { return {.masks = foreground_masks, .above = foreground_above, .below = foreground_below}; }
  [[nodiscard]] std::optional<TileOptions> windows() const {
    return tiles ? std::optional(TileOptions{.scale = scale, .overlap = overlap}) : std::nullopt;
  }
  /// Calls `f(name, value)` for each, a value as a reference: of a number, a truth, or a number that may be absent.
  template <class Self, class F>
  static void for_each(Self& self, F&& f) {
    f("border", self.border);
    f("standardise_features", self.standardise_features);
    f("standardise_images", self.standardise_images);
    f("flatten", self.flatten);
    f("top", self.top);
    f("place", self.place);
    f("free_of_size", self.free_of_size);
    f("tiles", self.tiles);
    f("scale", self.scale);
    f("overlap", self.overlap);
    f("foreground_masks", self.foreground_masks);
    f("foreground_above", self.foreground_above);
    f("foreground_below", self.foreground_below);
  }
};

}  // namespace dssl
