// The views of SwAV: multi-crop with small views that show little of the image.
// Tests: tests/views/two_views.cpp.
#pragma once

#include <utility>

#include <dssl/views/multi_crop.hpp>
#include <dssl/views/multi_crop_options.hpp>

namespace dssl {

/// SwAV's views: two of 0.14 to 1 of the image, six small ones of 0.05 to 0.14, colours as strong as SimCLR's,
/// half of all views blurred, none solarised. Source: the public swav's
/// src/multicropdataset.py and its published arguments.
[[nodiscard]] inline MultiCropOptions swav_view_options() {
  MultiCropOptions options;
  options.locals = 6;
  options.local_size = {96, 96};
  options.global_area = {0.14, 1.0};
  options.local_area = {0.05, 0.14};
  options.global_overlap = options.local_overlap = 0;
  options.brightness = options.contrast = options.saturation = 0.8;
  options.hue = 0.2;
  options.blur_first_global = options.blur_second_global = options.blur_local = 0.5;
  options.solarise_second_global = 0;
  return options;
}

/// `MultiCrop` whose numbers begin with SwAV's.
class SwavViews : public MultiCrop<> {
 public:
  static MultiCropOptions published() { return swav_view_options(); }
  explicit SwavViews(MultiCropOptions options = published()) : MultiCrop<>(std::move(options)) {}
};

}  // namespace dssl
