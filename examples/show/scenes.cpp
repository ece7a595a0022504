#include "show/scenes.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/name_pairs.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/page_name.hpp>

#include "common/program.hpp"
#include "common/read_options.hpp"

namespace dssl::programs {
namespace {

/// "scan" of "a/scan.tif", "scan, page 2" of its second page.
std::string stem_of(const std::string& path) {
  const ImagePlace place = place_of_image(path);
  return name_of_page(std::filesystem::path(place.file).stem().string(), place.page);
}

}  // namespace

std::vector<NamedFile> image_files(const std::vector<std::string>& paths, Index count) {
  std::vector<NamedFile> out;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      out.push_back({path, stem_of(path), false});
      continue;
    }
    const ImageFolder folder(path);
    const Index taken = count > 0 ? std::min(count, folder.size()) : folder.size();
    for (Index i = 0; i < taken; ++i) {
      const std::string file = folder.name(i * folder.size() / taken);
      out.push_back({file, dssl::detail::without_ending(std::string_view(file).substr(path.size() + 1)), true});
    }
  }
  return out;
}

std::vector<std::string> files_of_scenes(const std::vector<Scene>& scenes, const std::vector<std::string>& images,
                                         const std::vector<std::string>& paths, std::string_view what) {
  const std::vector<NamedFile> files = image_files(paths, 0);
  const auto is_folder = [](const std::string& path) { return path == "synthetic" || std::filesystem::is_directory(path); };
  const bool single = std::none_of(images.begin(), images.end(), is_folder) &&
                      std::none_of(paths.begin(), paths.end(), is_folder) && files.size() == scenes.size();
  std::vector<std::string> ids, stems;
  for (const Scene& scene : scenes) ids.push_back(scene.id);
  for (const NamedFile& file : files) stems.push_back(file.id);
  std::vector<std::string> out;
  Index without = 0;
  std::string first;
  try {
    const NamePairs pairs = pair_by_name(ids, stems, what);
    for (std::size_t i = 0; i < scenes.size(); ++i) {
      if (pairs.files[i].size() == 1) {
        out.push_back(files[pairs.files[i].front()].path);
      } else if (without++ == 0) {
        first = scenes[i].id;
      }
    }
  } catch (const DataError&) {
    if (!single) throw;
    without = static_cast<Index>(scenes.size());
  }
  if (without == 0) return out;
  // Synthetic scenes have no names of their own.
  const bool nameless = images.size() == 1 && images.front() == "synthetic" && files.size() == scenes.size();
  if ((single && without == static_cast<Index>(scenes.size())) || nameless) {
    out.clear();
    for (const NamedFile& file : files) out.push_back(file.path);
    std::printf("no %.*s is named after its image: paired in their order\n", static_cast<int>(what.size()), what.data());
    return out;
  }
  throw DataError(join(without, " of ", scenes.size(), " images have no ", what, " of their name among ", files.size(),
                       ", the first ", first, "; expected ", first, ".png or ", first, "_mask.png"));
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
    for (Index i = 0; i < settings.count; ++i) out.push_back({join("scene ", i), scenes.load(i).image, join("scene ", i)});
    return out;
  }
  Index listed = 0, unreadable = 0;
  std::string first;
  for (const NamedFile& file : image_files(settings.images, settings.count)) {
    listed += file.listed ? 1 : 0;
    try {
      out.push_back({stem_of(file.path),
                     read_image(file.path, with_channels_of(settings.read, settings.channels)), file.id});
    } catch (const Error& error) {
      if (!file.listed) throw;
      if (unreadable++ == 0) first = error.what();
    }
  }
  if (unreadable > 0 && out.empty()) throw DataError(join("none of ", unreadable, " images can be read, the first ", first));
  if (unreadable > 0) {
    print_error("dssl-show", join("warning: ", unreadable, " of ", listed,
                                  " images of folders cannot be read and are not shown, the first ", first));
  }
  return out;
}

}  // namespace dssl::programs
