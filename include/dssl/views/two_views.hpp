// The two views of methods that compare a pair: BYOL, SimCLR, MoCo and their kin.
// Tests: tests/views/two_views.cpp.
#pragma once

#include <string_view>
#include <utility>

#include <dssl/views/multi_crop.hpp>
#include <dssl/views/multi_crop_options.hpp>

namespace dssl {

/// BYOL's pair, which Barlow Twins and MoCo v3 share: both views show 0.08 to 1 of the image; the first is always blurred,
/// the second rarely, and a fifth of the second ones are solarised. Source: Grill et al. 2020, table 6.
[[nodiscard]] inline MultiCropOptions byol_view_options() {
  MultiCropOptions options;
  options.locals = 0;
  options.global_area = {0.08, 1.0};
  options.global_overlap = 0;
  return options;
}

/// SimCLR's pair: both views alike, colours changed twice as much, half of them blurred. Source: Chen et al. 2020,
/// appendix A, strength 1.
[[nodiscard]] inline MultiCropOptions simclr_view_options() {
  MultiCropOptions options = byol_view_options();
  options.brightness = options.contrast = options.saturation = 0.8;
  options.hue = 0.2;
  options.blur_first_global = options.blur_second_global = 0.5;
  options.solarise_second_global = 0;
  return options;
}

/// The pair of MoCo v2 and SimSiam: both views alike, of 0.2 to 1 of the image. Source: the public moco's main_moco.py.
[[nodiscard]] inline MultiCropOptions moco_view_options() {
  MultiCropOptions options = byol_view_options();
  options.global_area = {0.2, 1.0};
  options.saturation = 0.4;
  options.blur_first_global = options.blur_second_global = 0.5;
  options.solarise_second_global = 0;
  return options;
}

/// The two global views of `MultiCrop` and no local ones, whatever `MultiCropOptions::locals` says: for objectives that
/// read no others, as every view costs a pass.
class TwoViews : public MultiCrop<> {
 public:
  static constexpr std::string_view name = "two-views";

  /// What a trainer's options begin with.
  static MultiCropOptions published() { return byol_view_options(); }

  /// Throws `OptionError` naming the field that has a value it may not have.
  explicit TwoViews(MultiCropOptions options = published()) : MultiCrop<>(x_without_locals(std::move(options))) {}

 private:
  static MultiCropOptions x_without_locals(MultiCropOptions options) {
    validate(options);
    options.locals = 0;
    return options;
  }
};

/// Two views whose numbers begin with SimCLR's.
class SimClrViews : public TwoViews {
 public:
  static MultiCropOptions published() { return simclr_view_options(); }
  explicit SimClrViews(MultiCropOptions options = published()) : TwoViews(std::move(options)) {}
};

/// Two views whose numbers begin with those of MoCo v2 and SimSiam.
class MocoViews : public TwoViews {
 public:
  static MultiCropOptions published() { return moco_view_options(); }
  explicit MocoViews(MultiCropOptions options = published()) : TwoViews(std::move(options)) {}
};

}  // namespace dssl
