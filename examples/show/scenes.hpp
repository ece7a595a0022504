// The images that dssl-show draws.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/views/image.hpp>

#include "show/settings.hpp"

namespace dssl::programs {

/// An image and the name it goes by on the sheet.
struct Scene {
  std::string name;
  AnyImage image;
  std::string id;  ///< its path below the folder that was named, without its ending
};

/// A file that a path names, and what it is called there.
struct NamedFile {
  std::string path;
  std::string id;  ///< below the folder, without its ending; of a single file its name
  bool listed;     ///< found in a folder, not named itself
};

/// All images that the settings name, with the backbone's channels. Images of folders that cannot be read are passed
/// over, which one line on stderr counts; one that was named itself is an error. Throws `DataError`, `ImageError`,
/// `FileError`. Test: tests/programs/show.sh.
[[nodiscard]] std::vector<Scene> open_scenes(const ShowSettings& settings);

/// The files that paths name: files as they are, of folders up to `count` images, spread over them, or with 0 all.
/// Throws `DataError`.
[[nodiscard]] std::vector<NamedFile> image_files(const std::vector<std::string>& paths, Index count);

/// The file among those that `paths` name for each scene, by name (`pair_by_name`); where single files were named on
/// both sides, as many, and no name fits, in their order. `what`: of the files, for messages. Throws `DataError`.
[[nodiscard]] std::vector<std::string> files_of_scenes(const std::vector<Scene>& scenes,
                                                       const std::vector<std::string>& images,
                                                       const std::vector<std::string>& paths, std::string_view what);

}  // namespace dssl::programs
