// Maps of how much each place of an image is worth: files that belong to images by their names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/name_pairs.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_file.hpp>

namespace dssl {

/// The maps of weights of a set of images, in a folder of their own.
///
/// A map is an image's by `pair_by_name`, as masks are: `<name>.png`, `<name>_mask.png`, in folders like the
/// images'. It is a picture of any kind that `read_image` reads; a pixel's grey value (luma, of colours) is
/// its weight, on a scale of the map's own. It has its image's height and width, turned as the image is by
/// EXIF, or both divided by the same whole number. That an image has no map is counted and told by `text`: it
/// says nothing of the image. Safe for threads. Test: tests/data/weight_files.cpp.
class WeightFiles {
 public:
  /// Maps of images of these names, each its path below their folder without its ending. Throws `DataError`
  /// where the folder cannot be listed, no image has a map, or names leave a choice.
  WeightFiles(const std::vector<std::string>& images, const std::string& folder, const ReadOptions& read = {})
      : x_files(folder, {.read = x_grey(read), .pages = false}), x_map_of(images.size(), -1) {
    std::vector<std::string> names;
    for (Index i = 0; i < x_files.size(); ++i)
      names.push_back(detail::without_ending(x_files.name(i).substr(folder.size() + 1)));
    const NamePairs pairs = pair_by_name(images, names, "weight map");
    for (std::size_t i = 0; i < images.size(); ++i) {
      const auto& own = pairs.files[i];
      if (own.size() > 1) {
        throw DataError(join(images[i], ": has ", own.size(), " weight maps, ",
                             x_files.name(static_cast<Index>(own[0])), " and ",
                             x_files.name(static_cast<Index>(own[1])), "; expected one"));
      }
      if (!own.empty()) {
        x_map_of[i] = static_cast<std::int64_t>(own.front());
        ++x_found;
      } else if (x_first_without.empty()) {
        x_first_without = images[i];
      }
    }
    x_unused = static_cast<Index>(pairs.unused.size());
    if (x_unused > 0) x_first_unused = x_files.name(static_cast<Index>(pairs.unused.front()));
    if (x_found == 0) {
      throw DataError(join(folder, ": none of ", x_files.size(), " weight maps belongs to one of ",
                           images.size(), " images by its name; expected ",
                           images.empty() ? std::string("NAME") : images.front(), ".png for the first"));
    }
  }

  /// Of the images of a source; the folder that all their names share is theirs.
  template <NamedSamples Source>
  [[nodiscard]] static WeightFiles of(const Source& source, const std::string& folder,
                                      const ReadOptions& read = {}) {
    std::vector<std::string> names;
    for (Index i = 0; i < source.size(); ++i) names.push_back(source.name(i));
    const std::size_t shared = detail::shared_folder(names);
    for (std::string& name : names) name = detail::without_ending(std::string_view(name).substr(shared));
    return {names, folder, read};
  }

  /// Images, and those of them that have a map.
  [[nodiscard]] Index size() const { return static_cast<Index>(x_map_of.size()); }
  [[nodiscard]] Index found() const { return x_found; }

  /// "90 of 100 images have a weight map, 10 have none, the first a/b; 2 weight maps belong to no image, the
  /// first ...".
  [[nodiscard]] std::string text() const {
    std::string out =
        join(x_found, " of ", size(), size() == 1 ? " image has" : " images have", " a weight map");
    if (const Index none = size() - x_found; none > 0)
      out += join(", ", none, none == 1 ? " has" : " have", " none, the first ", x_first_without);
    if (x_unused > 0)
      out += join("; ", x_unused, x_unused == 1 ? " weight map belongs" : " weight maps belong",
                  " to no image, the first ", x_first_unused);
    return out;
  }

  /// The file of the map of image i; empty where it has none.
  [[nodiscard]] std::string name(Index i) const {
    const std::int64_t map = x_map_of[static_cast<std::size_t>(i)];
    return map < 0 ? std::string() : x_files.name(map);
  }

  /// The map of image i, (h,w,1), an image of `height` x `width` pixels; nothing where it has none. Throws
  /// `DataError` naming the file where it cannot be read (so are floats that are not finite), has another
  /// size, or a weight below 0.
  [[nodiscard]] std::optional<AnyImage> load(Index i, Index height, Index width) const {
    const std::int64_t number = x_map_of[static_cast<std::size_t>(i)];
    if (number < 0) return std::nullopt;
    AnyImage map = [&] {
      try {
        return x_files.load(number);
      } catch (const ImageError& error) {  // which loaders pass over: a run would go on without the map
        throw DataError(error.what());
      }
    }();
    const Index h = dssl::height(map), w = dssl::width(map);
    if (height % h != 0 || width % w != 0 || height / h != width / w) {
      throw DataError(join(name(i), ": is a weight map of ", h, " x ", w,
                           " pixels; expected those of its image, ", height, " x ", width,
                           ", or both divided by one whole number"));
    }
    if (const auto* floats = std::get_if<Image<float>>(&map)) {
      for (const float weight : floats->pixels()) {
        if (weight < 0) throw DataError(join(name(i), ": has a weight of ", weight, "; expected 0 or more"));
      }
    }
    return map;
  }

  /// Of the maps' names and sizes (`fingerprint_of`).
  [[nodiscard]] std::string fingerprint() const { return fingerprint_of(SourceView(x_files)).text(); }

 private:
  static ReadOptions x_grey(ReadOptions read) {
    read.channels = 1;
    read.keep_alpha = false;
    return read;
  }

  ImageFolder x_files;
  std::vector<std::int64_t> x_map_of;  // a file's number, or -1
  Index x_found = 0;
  Index x_unused = 0;
  std::string x_first_without;
  std::string x_first_unused;
};

}  // namespace dssl
