#include "show/scenes.hpp"

#include <algorithm>
#include <filesystem>

#include <dssl/core/error.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/io/image_file.hpp>

namespace dssl::programs {

std::vector<Index> file_counts(const std::vector<std::string>& paths) {
  std::vector<Index> out;
  for (const std::string& path : paths)
    out.push_back(std::filesystem::is_directory(path) ? ImageFolder(path).size() : Index{1});
  return out;
}

std::vector<std::string> image_files(const std::vector<std::string>& paths, Index count) {
  std::vector<std::string> out;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      out.push_back(path);
      continue;
    }
    const ImageFolder folder(path);
    const Index taken = std::min(count, folder.size());
    for (Index i = 0; i < taken; ++i) out.push_back(folder.name(i * folder.size() / taken));
  }
  return out;
}

std::vector<Scene> open_scenes(const ShowSettings& settings) {
  std::vector<Scene> out;
  if (settings.images.size() == 1 && settings.images.front() == "synthetic") {
    const auto [height, width] = settings.input_size();
    const SyntheticScenes scenes(SyntheticOptions{.seed = settings.seed,
                                                  .count = settings.count,
                                                  .height = height,
                                                  .width = width,
                                                  .channels = settings.channels});
    for (Index i = 0; i < settings.count; ++i) out.push_back({join("scene ", i), scenes.load(i).image});
    return out;
  }
  for (const std::string& file : image_files(settings.images, settings.count)) {
    out.push_back(
        {std::filesystem::path(file).stem().string(), read_image(file, {.channels = settings.channels})});
  }
  return out;
}

}  // namespace dssl::programs
