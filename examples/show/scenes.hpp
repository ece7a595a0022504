// The images that dssl-show draws.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <dssl/views/image.hpp>

#include "show/settings.hpp"

namespace dssl::programs {

/// An image and the name it goes by on the sheet.
struct Scene {
  std::string name;
  AnyImage image;
};

/// All images that the settings name, with the backbone's channels. Throws `DataError`, `ImageError`.
[[nodiscard]] std::vector<Scene> open_scenes(const ShowSettings& settings);

/// The files that paths name: files as they are, of folders up to `count` images, spread over them. Throws
/// `DataError`.
[[nodiscard]] std::vector<std::string> image_files(const std::vector<std::string>& paths, Index count);

}  // namespace dssl::programs
