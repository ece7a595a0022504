// Data sets in the layout of PASCAL VOC: images, index masks, and lists of names a split.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/list_file.hpp>
#include <dssl/data/mask_size.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/mask_file.hpp>

namespace dssl {

/// Folders of the layout, below the root, and how images are read.
struct VocOptions {
  std::string images = "JPEGImages";
  std::string masks = "SegmentationClass";
  std::string splits = "ImageSets/Segmentation";
  ReadOptions read = {};
};

/// The images and masks of one split: `<images>/<id>.jpg` (or another ending that an `ImageFolder` takes),
/// `<masks>/<id>.png`, ids in `<splits>/<split>.txt` by the rule of `read_list`, where the images are the files that ids stand for.
///
/// A mask is read by `read_mask`: the index stored in its PNG (palette or 8-bit grey), or what cannot mean anything
/// else; what an id means, and which ids are void, is the evaluation's choice. Test: tests/data/voc.cpp.
class VocFolder {
 public:
  /// Reads the list of the split. Throws `DataError` if it is missing (naming the splits there are), empty, or
  /// names no image that is there.
  VocFolder(std::string root, const std::string& split, VocOptions options = {})
      : x_root(std::move(root)), x_options(std::move(options)) {
    const std::string folder = x_root + "/" + x_options.splits;
    x_list = folder + "/" + split + ".txt";
    if (::access(x_list.c_str(), R_OK) != 0) {
      throw DataError(join(x_list, ": cannot read the split '", split, "'; ", available(folder)));
    }
    const auto find = [this](const std::string& id) { return detail::found_image(x_stem(id)); };
    for (ListEntry& entry : read_list(x_list, find)) x_ids.push_back(detail::without_ending(entry.name));
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_ids.size()); }

  /// Path of the list of the split.
  [[nodiscard]] const std::string& list_name() const { return x_list; }

  /// Path of image i.
  [[nodiscard]] std::string name(Index i) const {
    std::string found = detail::found_image(x_stem(id(i)));
    return found.empty() ? x_stem(id(i)) + ".jpg" : found;
  }

  /// Path of mask i.
  [[nodiscard]] std::string mask_name(Index i) const {
    return join(x_root, "/", x_options.masks, "/", x_ids[static_cast<std::size_t>(i)], ".png");
  }

  /// Id of image i as the split lists it.
  [[nodiscard]] const std::string& id(Index i) const { return x_ids[static_cast<std::size_t>(i)]; }

  /// Image i alone. Throws `ImageError`.
  [[nodiscard]] AnyImage load_image(Index i) const { return read_image(name(i), x_options.read); }

  /// Its sides, of its header (`read_image_extent`).
  [[nodiscard]] ImageExtent extent(Index i) const { return read_image_extent(name(i), x_options.read); }

  /// Image i and its mask.
  /// Throws `ImageError` if the image cannot be read, `LabelError` if its mask cannot, `DataError` naming both
  /// files if their sizes differ, and `read.orient` where that is why.
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage pair{load_image(i), read_mask(mask_name(i), x_options.read)};
    detail::require_same_size(pair.image, name(i), pair.mask, mask_name(i), x_options.read);
    return pair;
  }

 private:
  [[nodiscard]] std::string x_stem(const std::string& id) const {
    return join(x_root, "/", x_options.images, "/", id);
  }

  /// What to say of a missing split: the names that would have worked.
  [[nodiscard]] static std::string available(const std::string& folder) {
    detail::NameList names;
    const ImageFolderOptions lists{.nested = false, .extensions = {".txt"}, .read = {}};
    try {
      detail::FolderListing(names, folder, lists).list("");
    } catch (const DataError& error) {
      return join("the folder of splits is missing: ", error.what());
    }
    if (names.size() == 0) return "its folder holds no splits (.txt)";
    names.sort();
    std::string text = "available: ";
    for (std::size_t i = 0; i < names.size(); ++i) {
      text += join(i == 0 ? "" : ", ", names[i].substr(0, names[i].size() - 4));
    }
    return text;
  }

  std::string x_root, x_list;
  VocOptions x_options;
  std::vector<std::string> x_ids;
};

static_assert(SegmentationSource<VocFolder> && ImageSource<ImagesOf<VocFolder>>);

}  // namespace dssl
