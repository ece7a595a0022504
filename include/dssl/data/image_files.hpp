// Image files with a name and a label each: of folders, or of lists.
#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/list_file.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// `text` with each "{}" replaced by `id`.
[[nodiscard]] inline std::string filled_in(std::string_view text, std::string_view id) {
  std::string out;
  for (std::size_t at = text.find("{}"); at != std::string_view::npos; at = text.find("{}")) {
    out += join(text.substr(0, at), id);
    text.remove_prefix(at + 2);
  }
  return out += text;
}

/// What follows the last '/' of a path, without it.
[[nodiscard]] inline std::string_view last_part(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path.substr(path.rfind('/') + 1);
}

}  // namespace detail

/// Where listed images lie, and how images are read.
struct ImageFilesOptions {
  std::string folder{};     ///< that listed names are relative to; empty: the folder of the list
  std::string file = "{}";  ///< a listed image's file: "{}" stands for the name in the list
  ReadOptions read{};
  bool pages = true;  ///< of TIFF files in folders each page is an image; off: the first alone
};

/// The images of folders and lists, one after the other, each with an id and a label.
///
/// Of a folder: all images below it in the byte order of their paths; the id is the path below the folder
/// without its ending, the label the first folder of that path, or the folder's own name for images that lie
/// in it directly. Of a text file: an image a line, "name" or "name label" by the rule of `read_list`, with or
/// without ending; the id is the name without ending, the label the list's name where the line has none. Only
/// names are held in memory. Pages of a TIFF are images as in `ImageFolder` and `ImageList`, with ids such as "scan, page 2".
/// Test: tests/data/image_files.cpp, tests/io/tiff_pages.cpp.
class ImageFiles {
 public:
  /// Throws `DataError` naming what is missing, or holds no images.
  explicit ImageFiles(const std::string& path, const ImageFilesOptions& options = {})
      : ImageFiles(std::vector<std::string>{path}, options) {}

  explicit ImageFiles(const std::vector<std::string>& paths, const ImageFilesOptions& options = {})
      : x_read(options.read) {
    if (paths.empty()) throw DataError("no folder and no list of images was given");
    for (const std::string& path : paths) x_add(path, options);
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_files.size()); }
  /// Path of image i.
  [[nodiscard]] std::string name(Index i) const { return detail::image_path(x_at(i).path); }
  [[nodiscard]] const std::string& id(Index i) const { return x_at(i).id; }
  [[nodiscard]] const std::string& label(Index i) const { return x_at(i).label; }
  /// Reads image i. Throws `ImageError`.
  [[nodiscard]] AnyImage load(Index i) const { return read_image(name(i), x_read); }
  /// Its sides, of its header (`read_image_extent`).
  [[nodiscard]] ImageExtent extent(Index i) const { return read_image_extent(name(i), x_read); }

  /// Pictures in the folders that are not among the images, by ending.
  [[nodiscard]] const LeftAside& left_aside() const { return x_left; }
  /// Of the folders, as `ImageFolder::damaged`.
  [[nodiscard]] const std::vector<std::string>& damaged() const { return x_damaged; }

  /// Images first .. first + count - 1 alone, in their order. Throws `DataError` where there are none.
  [[nodiscard]] ImageFiles part(Index first, Index count) const {
    if (first < 0 || count < 1 || first + count > size()) {
      throw DataError(join("images ", first, " to ", first + count - 1, " of ", size(), " were asked for"));
    }
    ImageFiles out(*this);
    out.x_files.assign(x_files.begin() + first, x_files.begin() + first + count);
    return out;
  }

  /// The images of these numbers alone, in their order. Throws `DataError` where there are none.
  [[nodiscard]] ImageFiles some(std::span<const Index> chosen) const {
    if (chosen.empty()) throw DataError(join("none of ", size(), " images was asked for"));
    ImageFiles out(*this);
    out.x_files.clear();
    for (const Index i : chosen) out.x_files.push_back(x_at(i));
    return out;
  }

 private:
  struct File {
    std::string path;  // with or without ending
    std::string id;
    std::string label;
  };

  [[nodiscard]] const File& x_at(Index i) const { return x_files[static_cast<std::size_t>(i)]; }

  void x_add(const std::string& path, const ImageFilesOptions& options) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) throw DataError(join(path, ": ", detail::system_message(errno)));
    if (S_ISDIR(status.st_mode)) {
      x_add_folder(path, options);
    } else {
      x_add_list(path, options);
    }
  }

  void x_add_folder(const std::string& path, const ImageFilesOptions& options) {
    const ImageFolder folder(path, {.pages = options.pages});
    for (const auto& [ending, count] : folder.left_aside()) x_left[ending] += count;
    x_damaged.insert(x_damaged.end(), folder.damaged().begin(), folder.damaged().end());
    for (Index i = 0; i < folder.size(); ++i) {
      const std::string file = folder.name(i);
      const std::string_view below = std::string_view(file).substr(path.size() + 1);
      const std::size_t slash = below.find('/');
      x_files.push_back(
          {file, detail::without_ending(below),
           std::string(slash == std::string_view::npos ? detail::last_part(path) : below.substr(0, slash))});
    }
  }

  void x_add_list(const std::string& path, const ImageFilesOptions& options) {
    const std::size_t slash = path.rfind('/');
    const std::string beside = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    const std::string folder = options.folder.empty() ? beside : options.folder + "/";
    std::string list(detail::last_part(path));
    list = list.substr(0, list.rfind('.'));
    const auto file_of = [&](const std::string& name) {
      const std::string file = detail::filled_in(options.file, name);
      return name.front() == '/' ? file : folder + file;
    };
    const auto entries =
        read_list(path, [&](const std::string& name) { return detail::found_image(file_of(name)); });
    for (const ListEntry& entry : entries) {
      x_files.push_back({file_of(entry.name), detail::without_ending(entry.name), entry.label.empty() ? list : entry.label});
    }
  }

  ReadOptions x_read;
  std::vector<File> x_files;
  LeftAside x_left;
  std::vector<std::string> x_damaged;
};

static_assert(ImageSource<ImageFiles>);

}  // namespace dssl
