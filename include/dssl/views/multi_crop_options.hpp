// The numbers of a multi-crop view generator, with the published values as defaults.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <dssl/core/camera.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/box_search.hpp>
#include <dssl/views/photometric_parts.hpp>

namespace dssl {

/// Extents of a view in pixels.
struct ViewSize {
  Index height = 224;
  Index width = 224;

  [[nodiscard]] constexpr bool operator==(const ViewSize&) const = default;
};

/// How many pixels of a view there are for one of the image, down and across, in the mean: 1 shows things as large as they are
/// recorded, 2 twice as large. None where both are 0.
struct ZoomRange {
  double low = 0;
  double high = 0;

  [[nodiscard]] constexpr bool known() const { return high != 0 || low != 0; }
  [[nodiscard]] constexpr bool operator==(const ZoomRange&) const = default;
};

/// The shares of an image of `height` x `width` pixels that views of this size show of it at these zooms: h w / (z^2 H W), at most
/// all of it; or `otherwise`, where there is no zoom. Test: tests/views/multi_crop.cpp.
[[nodiscard]] inline AreaRange area_shown(const AreaRange& otherwise, const ZoomRange& zoom, const ViewSize& size, Index height, Index width) {
  if (!zoom.known()) return otherwise;
  const double at_one = static_cast<double>(size.height) * static_cast<double>(size.width) / (static_cast<double>(height) * static_cast<double>(width));
  const auto share = [at_one](double z) { return std::min(1.0, at_one / (z * z)); };
  return {share(zoom.high), share(zoom.low)};
}

/// How views are cut out and changed; the defaults are those of the published DenseDINO run.
///
/// Source: docs/method.md, "Views and their geometry". Test: tests/views/multi_crop.cpp.
struct MultiCropOptions {
  Index locals = 4;  ///< local views beside the two global ones, at least 0
  ViewSize global_size{224, 224};
  ViewSize local_size{224, 224};
  AreaRange global_area{0.25, 1.0};  ///< share of the image a global view shows, in (0, 1]
  AreaRange local_area{0.25, 1.0};   ///< share of the image a local view shows, in (0, 1]
  /// Crops by pixels in place of shares, where they are known, each above 0: so that a defect of five pixels stays five, however
  /// large the image. The share shown is uniform between those of both ends.
  ZoomRange global_zoom{}, local_zoom{};
  AspectRange aspect{};              ///< width / height of a box

  double global_overlap = 0.02;  ///< the two global views share more than this part of the image, in [0, 1)
  double local_overlap = 0.01;   ///< a local view shares more than this with each global view, in [0, 1)
  int redraws = 100;  ///< boxes drawn again for want of overlap before the fallback (`overlapping_box`)

  double flip = 0.5;  ///< probability of a mirrored view

  /// Of `Warped` views, whose boxes are turned and seen at an angle; 0 where views are boxes of the image.
  double rotation = 0;     ///< degrees, uniform in [-r, r], at most 180
  double perspective = 0;  ///< each corner moves into the box by uniform shares of [0, p] of its half extents, at most 0.5
  double vertical_flip = 0;  ///< of such views too: probability of one that is upside down
  double quarter_turns = 0;  ///< probability of a turn by 90, 180 or 270 degrees, each as likely; 0.75: all four alike
  /// That took the images, of such views: they are corrected for its lens. None by default.
  Camera camera{};
  /// That took pairs of images, of `Paired` views: `camera` is then the first's. None by default.
  CameraPair pair{};

  double jitter = 0.8;      ///< probability of the four changes below, in random order
  double brightness = 0.4;  ///< factor uniform in [max(0, 1 - s), 1 + s]; so are the next two
  double contrast = 0.4;
  double saturation = 0.2;
  double hue = 0.1;   ///< turn uniform in [-s, s] of the colour circle, s at most 0.5
  double grey = 0.2;  ///< probability of a grey view

  double blur_first_global = 1.0;   ///< probability of a blur of view 0
  double blur_second_global = 0.1;  ///< of view 1
  double blur_local = 0.5;          ///< of a local view
  double blur_radius_low = 0.1;     ///< radius uniform between these, in pixels
  double blur_radius_high = 2.0;

  double solarise_second_global =
      0.2;  ///< probability of an inverted upper half of the range, on view 1 only

  /// What a camera does to the values of each view after that, in an order of its own; each kind at most once.
  std::vector<PhotometricPart> parts{};

  /// Mean and deviation of each channel on the scale 0..1. Both empty: (0.485, 0.456, 0.406) and
  /// (0.229, 0.224, 0.225) for three channels, 0.5 and 0.25 for any other number.
  std::vector<float> mean{};
  std::vector<float> deviation{};

  /// Whether views are more than boxes of the image.
  [[nodiscard]] bool warped() const { return turned() || camera.known() || pair.known(); }
  /// Whether boxes are turned, seen at an angle, or upside down.
  [[nodiscard]] bool turned() const {
    return rotation != 0 || perspective != 0 || vertical_flip != 0 || quarter_turns != 0;
  }
  [[nodiscard]] bool operator==(const MultiCropOptions&) const = default;
};

/// The options of DINO: global views of (0.4, 1) at 224 pixels, eight local views of (0.05, 0.4) at 96.
[[nodiscard]] inline MultiCropOptions dino_multi_crop_options() {
  MultiCropOptions options;
  options.locals = 8;
  options.local_size = {96, 96};
  options.global_area = {0.4, 1.0};
  options.local_area = {0.05, 0.4};
  return options;
}

/// Throws `OptionError` where views of one picture are to be those of two cameras.
inline void require_one_camera(const MultiCropOptions& options) {
  if (options.pair.known()) throw OptionError("pair", text_of(options.pair), "none where images are no pairs: with_views<Paired<...>> has views of these");
}

/// Throws `OptionError` where views that are boxes of the image are to be turned, seen at an angle, corrected for a lens, or those
/// of two cameras.
inline void require_boxes(const MultiCropOptions& options) {
  const auto require = [](double value, const char* field) {
    if (value != 0) throw OptionError(field, value, "0 where views are boxes of the image: with_views<Warped<...>> has others");
  };
  require_one_camera(options);
  require(options.rotation, "rotation");
  require(options.perspective, "perspective");
  require(options.vertical_flip, "vertical_flip");
  require(options.quarter_turns, "quarter_turns");
  if (options.camera.known())
    throw OptionError("camera", text_of(options.camera), "none where views are boxes of the image: with_views<Warped<...>> has others");
}

/// Throws `OptionError` naming the first field that has a value it may not have, after `prefix`.
DSSL_INLINE void validate(const MultiCropOptions& options, const std::string& prefix = {});

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void validate(const MultiCropOptions& options, const std::string& prefix) {
  const auto require = [&prefix](bool holds, const char* field, const auto& value, const char* expected) {
    if (!holds) throw OptionError(prefix + field, value, expected);
  };
  const auto probability = [&](double value, const char* field) {
    require(value >= 0.0 && value <= 1.0, field, value, "a probability in [0, 1]");
  };
  const auto strength = [&](double value, const char* field, double most) {
    require(value >= 0.0 && value <= most, field, value,
            most == 0.5 ? "a value in [0, 0.5]" : "a finite value of at least 0");
  };
  const auto size = [&](const ViewSize& value, const std::string& field) {
    require(value.height >= 1, (field + ".height").c_str(), value.height, "at least 1");
    require(value.width >= 1, (field + ".width").c_str(), value.width, "at least 1");
  };
  const auto area = [&](const AreaRange& value, const std::string& field) {
    require(value.low > 0.0 && value.low <= 1.0, (field + ".low").c_str(), value.low, "a share in (0, 1]");
    require(value.high >= value.low && value.high <= 1.0, (field + ".high").c_str(), value.high,
            "a share from the low end to 1");
  };
  constexpr double finite = 1e30;
  require(options.locals >= 0 && options.locals <= 32766, "locals", options.locals, "0 to 32766");
  size(options.global_size, "global_size");
  size(options.local_size, "local_size");
  area(options.global_area, "global_area");
  area(options.local_area, "local_area");
  const auto zoom = [&](const ZoomRange& value, const std::string& field) {
    if (value == ZoomRange{}) return;
    require(value.low >= 1e-3 && value.low <= 1e3, (field + ".low").c_str(), value.low, "0.001 to 1000, or both ends 0");
    require(value.high >= value.low && value.high <= 1e3, (field + ".high").c_str(), value.high, "the low end to 1000");
  };
  zoom(options.global_zoom, "global_zoom");
  zoom(options.local_zoom, "local_zoom");
  require(options.aspect.low > 0.0 && options.aspect.low <= finite, "aspect.low", options.aspect.low,
          "a positive ratio");
  require(options.aspect.high >= options.aspect.low && options.aspect.high <= finite, "aspect.high",
          options.aspect.high, "a finite ratio of at least the low end");
  require(options.global_overlap >= 0.0 && options.global_overlap < 1.0, "global_overlap",
          options.global_overlap, "a share in [0, 1)");
  require(options.local_overlap >= 0.0 && options.local_overlap < 1.0, "local_overlap", options.local_overlap,
          "a share in [0, 1)");
  require(options.redraws >= 0, "redraws", options.redraws, "at least 0");
  probability(options.flip, "flip");
  require(options.rotation >= 0.0 && options.rotation <= 180.0, "rotation", options.rotation, "0 to 180 degrees");
  require(options.perspective >= 0.0 && options.perspective <= 0.5, "perspective", options.perspective, "a share in [0, 0.5]");
  probability(options.vertical_flip, "vertical_flip");
  probability(options.quarter_turns, "quarter_turns");
  require_camera(options.camera, prefix + "camera.");
  require_pair(options.pair, prefix + "pair.");
  probability(options.jitter, "jitter");
  strength(options.brightness, "brightness", finite);
  strength(options.contrast, "contrast", finite);
  strength(options.saturation, "saturation", finite);
  strength(options.hue, "hue", 0.5);
  probability(options.grey, "grey");
  probability(options.blur_first_global, "blur_first_global");
  probability(options.blur_second_global, "blur_second_global");
  probability(options.blur_local, "blur_local");
  require(options.blur_radius_low >= 0.0 && options.blur_radius_low <= 1000.0, "blur_radius_low",
          options.blur_radius_low, "0 to 1000 pixels");
  require(options.blur_radius_high >= options.blur_radius_low && options.blur_radius_high <= 1000.0,
          "blur_radius_high", options.blur_radius_high, "the low end to 1000 pixels");
  probability(options.solarise_second_global, "solarise_second_global");
  validate(options.parts, prefix);
  require(options.deviation.size() == options.mean.size(), "deviation", options.deviation.size(),
          "as many values as 'mean' has");
  for (std::size_t c = 0; c < options.mean.size(); ++c) {
    require(std::isfinite(options.mean[c]), "mean", options.mean[c], "finite values");
    require(options.deviation[c] > 0.0F && std::isfinite(options.deviation[c]), "deviation",
            options.deviation[c], "positive values");
  }
}
#endif

}  // namespace dssl
