// What a feature extractor is made for, and what it gives of one image.
// Tests: tests/features/features.cpp, tests/features/image_features.cpp.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/views/multi_crop.hpp>

namespace dssl {

/// Sizes a feature extractor is made for.
struct FeatureOptions {
  Index height = 224;  ///< of the images in pixels; a multiple of the backbone's patch
  Index width = 224;
  Index batch = 1;                                     ///< images at a time, at most
  Index channels = 0;                                  ///< 0: the backbone's own number
  GroupSet reads{.class_token = true, .patch = true};  ///< which tokens are read; no references
  /// Blocks whose tokens are read, side by side in this order, from 0; negative ones count from the end (-1
  /// is the last). Empty: the last alone.
  std::vector<Index> blocks{};
  bool norm = true;    ///< the backbone's last norm is applied to the tokens of each block
  bool flips = false;  ///< tokens are the mean of those of the image and of its mirror image, mirrored back
  /// How `features(image)` makes an input of an image: resized by this, normalised by mean and deviation (a value a
  /// channel, on the scale 0..1). Both empty: those of training, (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) for
  /// three channels, 0.5 and 0.25 for any other number.
  Interpolation interpolation = Interpolation::bicubic;
  std::vector<float> mean{};
  std::vector<float> deviation{};

  /// For a backbone of that patch, with the number of channels known. Throws `OptionError` naming the field.
  void validate(Index patch) const {
    const auto check_extent = [&](const char* field, Index value) {
      if (value < patch || value % patch != 0) {
        throw OptionError(field, value, join("a multiple of the patch, ", patch, " pixels"));
      }
    };
    check_extent("height", height);
    check_extent("width", width);
    if (batch < 1) throw OptionError("batch", batch, "at least 1");
    if (channels < 1) throw OptionError("channels", channels, "at least 1");
    if (reads.reference)
      throw OptionError("reads", "reference tokens", "class token, patches or both");
    if (!reads.class_token && !reads.patch) {
      throw OptionError("reads", "nothing", "class token, patches or both");
    }
    if (!mean.empty() && static_cast<Index>(mean.size()) != channels) {
      throw OptionError("mean", join(mean.size(), " values"), join("one a channel, ", channels));
    }
    if (deviation.size() != mean.size()) {
      throw OptionError("deviation", join(deviation.size(), " values"), "as many as 'mean'");
    }
    for (const float d : deviation) {
      if (!(d > 0)) throw OptionError("deviation", d, "positive values");
    }
  }
};

/// The tokens of one image, in host memory.
template <class T>
struct ImageFeatures {
  GridSize grid{};             ///< patches down and across
  std::vector<T> class_token;  ///< (W); empty where it is not read
  std::vector<T> patches;      ///< (N,W), row after row of the grid; empty where they are not read

  /// (W) of the patch in row y, column x.
  [[nodiscard]] std::span<const T> patch(Index y, Index x) const {
    const std::size_t width = patches.size() / static_cast<std::size_t>(grid.size());
    return std::span<const T>(patches).subspan(static_cast<std::size_t>(y * grid.width + x) * width, width);
  }
};

}  // namespace dssl
