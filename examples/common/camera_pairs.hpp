// The numbers of pairs of pictures of two cameras, from the files that --between and --second-camera name.
#pragma once

#include <string>

#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/camera_file.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/lens.hpp>

namespace dssl::programs {

/// What is known of the pairs of two sources: the map `between` them, the calibration of the `second`'s camera (files; empty: none),
/// and the extents of the pictures, those of a camera's file or else of the first image that can be read. `first`: that of the
/// first source, or none. Throws `FileError`, `OptionError`, and `ImageError` where no image can be read.
[[nodiscard]] inline CameraPair camera_pair(const std::string& between, const std::string& second, const Camera& first,
                                            const SourceView& first_images, const SourceView& second_images) {
  CameraPair pair;
  if (!between.empty()) pair.between = read_homography(between);
  if (!second.empty()) pair.second = Lens(read_camera(second), "pair.second").camera();
  const auto extents = [](const Camera& camera, const SourceView& images, Index& rows, Index& columns) {
    if (camera.known()) {
      rows = camera.height;
      columns = camera.width;
      return;
    }
    for (Index i = 0;; ++i) {
      try {
        const HeldImage image = images.hold(i);
        rows = height(image.view());
        columns = width(image.view());
        return;
      } catch (const ImageError&) {
        if (i + 1 == images.size()) throw;
      }
    }
  };
  extents(first, first_images, pair.first_height, pair.first_width);
  extents(pair.second, second_images, pair.second_height, pair.second_width);
  require_pair(pair, "pair.");
  return pair;
}

}  // namespace dssl::programs
