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

/// The number of files that each of the paths names: 1 for a file, for a folder that of all its images.
/// Throws `DataError`.
[[nodiscard]] std::vector<Index> file_counts(const std::vector<std::string>& paths);

/// The files that paths name: files as they are, of folders up to `count` images, spread over them. Throws
/// `DataError`.
[[nodiscard]] std::vector<std::string> image_files(const std::vector<std::string>& paths, Index count);

}  // namespace dssl::programs
