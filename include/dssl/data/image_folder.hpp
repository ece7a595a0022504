// Image files on disk: all of a folder, or those a text file lists.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <sys/stat.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/mapped_file.hpp>

namespace dssl {

/// Which files of a folder are images, and how they are read.
struct ImageFolderOptions {
  bool nested = true;  ///< looks into folders inside the folder too
  /// Endings in lower case; files match in any case.
  std::vector<std::string> extensions = {".jpg", ".jpeg", ".png"};
  ReadOptions read = {};
};

namespace detail {

/// Many short names in one block of memory: a million file names take tens of megabytes, not hundreds.
class NameList {
 public:
  void add(std::string_view name) {
    x_places.push_back({x_text.size(), name.size()});
    x_text += name;
  }

  void sort() {
    std::sort(x_places.begin(), x_places.end(),
              [this](const Place& a, const Place& b) { return view(a) < view(b); });
  }

  [[nodiscard]] std::size_t size() const { return x_places.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const { return view(x_places[i]); }

 private:
  struct Place {
    std::size_t begin;
    std::size_t length;
  };

  [[nodiscard]] std::string_view view(const Place& place) const {
    return std::string_view(x_text).substr(place.begin, place.length);
  }

  std::string x_text;
  std::vector<Place> x_places;
};

[[nodiscard]] constexpr char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

[[nodiscard]] inline bool has_extension(std::string_view name, std::span<const std::string> extensions) {
  return std::any_of(extensions.begin(), extensions.end(), [name](const std::string& extension) {
    return name.size() > extension.size() &&
           std::equal(extension.begin(), extension.end(),
                      name.end() - static_cast<std::ptrdiff_t>(extension.size()),
                      [](char a, char b) { return a == lower_case(b); });
  });
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

/// Lists the image files below a folder, following links but entering no folder twice.
class FolderListing {
 public:
  FolderListing(NameList& names, std::string root, const ImageFolderOptions& options)
      : x_names(names), x_root(std::move(root)), x_options(options) {}

  /// Lists one folder, given by its path below the root ("" or "a/b/"). Throws `DataError`.
  void list(const std::string& below) {
    const std::string path = below.empty() ? x_root : x_root + "/" + below;
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) throw DataError(join(path, ": ", system_message(errno)));
    if (!S_ISDIR(status.st_mode)) throw DataError(join(path, ": is a file; expected a folder of images"));
    if (!x_entered
             .emplace(static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino))
             .second) {
      return;
    }
    const std::unique_ptr<DIR, CloseFolder> folder(::opendir(path.c_str()));
    if (!folder) throw DataError(join(path, ": cannot list the folder: ", system_message(errno)));
    std::vector<std::string> inner;
    for (;;) {
      errno = 0;
      const dirent* const entry = ::readdir(folder.get());
      if (entry == nullptr) {
        if (errno != 0) throw DataError(join(path, ": cannot list the folder: ", system_message(errno)));
        break;
      }
      const std::string_view name = entry->d_name;
      if (name.front() == '.') continue;
      const bool image = has_extension(name, x_options.extensions);
      // Most file systems tell the kind of entry in the listing; the others, and links, need a call each.
      bool is_folder = entry->d_type == DT_DIR;
      if ((entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) && (x_options.nested || image)) {
        is_folder = ::stat(join(path, "/", name).c_str(), &status) == 0 && S_ISDIR(status.st_mode);
      }
      if (is_folder) {
        if (x_options.nested) inner.push_back(join(below, name, "/"));
      } else if (image) {
        x_names.add(below.empty() ? std::string(name) : below + std::string(name));
      }
    }
    for (const std::string& next : inner) list(next);
  }

 private:
  NameList& x_names;
  std::string x_root;
  const ImageFolderOptions& x_options;
  std::set<std::pair<std::uint64_t, std::uint64_t>> x_entered;
};

/// The lines of a text file without white space around them; blank lines and lines that start with # are left
/// out.
[[nodiscard]] inline std::vector<std::string> read_lines(const std::string& path) {
  const std::vector<std::byte> bytes = read_bytes(path);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::string> lines;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos || line[first] == '#') continue;
    lines.emplace_back(line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
  }
  return lines;
}

}  // namespace detail

/// All images of a folder, in the byte order of their paths below it.
///
/// Only names are held in memory; files and folders whose names start with a dot are passed over.
/// Test: tests/data/image_folder.cpp.
class ImageFolder {
 public:
  /// Lists the folder. Throws `DataError` naming it if it is missing, not a folder, or holds no image.
  explicit ImageFolder(std::string path, ImageFolderOptions options = {})
      : x_path(std::move(path)), x_options(std::move(options)) {
    detail::FolderListing(x_names, x_path, x_options).list("");
    if (x_names.size() == 0) {
      std::string endings;
      for (const std::string& e : x_options.extensions) endings += (endings.empty() ? "" : ", ") + e;
      throw DataError(join(x_path, ": the folder holds no images (", endings, ")"));
    }
    x_names.sort();
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_names.size()); }

  /// Path of image i: the folder's path, then its place below it.
  [[nodiscard]] std::string name(Index i) const {
    return join(x_path, "/", x_names[static_cast<std::size_t>(i)]);
  }

  /// Reads image i. Throws `ImageError`.
  [[nodiscard]] AnyImage load(Index i) const { return read_image(name(i), x_options.read); }

 private:
  std::string x_path;
  ImageFolderOptions x_options;
  detail::NameList x_names;
};

/// The images that a text file lists: one path a line, relative to the folder of the list unless it starts
/// with '/'.
///
/// Order and repetitions are kept; blank lines and lines that start with # are left out.
class ImageList {
 public:
  /// Reads the list. Throws `DataError` naming it if it is missing or lists nothing.
  explicit ImageList(const std::string& path, ReadOptions options = {}) : x_options(options) {
    const std::size_t slash = path.rfind('/');
    if (slash != std::string::npos) x_folder = path.substr(0, slash + 1);
    std::vector<std::string> lines;
    try {
      lines = detail::read_lines(path);
    } catch (const FileError& error) {
      throw DataError(error.what());
    }
    if (lines.empty()) throw DataError(join(path, ": the list names no images"));
    for (const std::string& line : lines) x_names.add(line);
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_names.size()); }
  [[nodiscard]] std::string name(Index i) const {
    const std::string_view line = x_names[static_cast<std::size_t>(i)];
    return line.front() == '/' ? std::string(line) : x_folder + std::string(line);
  }
  [[nodiscard]] AnyImage load(Index i) const { return read_image(name(i), x_options); }

 private:
  std::string x_folder;
  ReadOptions x_options;
  detail::NameList x_names;
};

static_assert(ImageSource<ImageFolder> && ImageSource<ImageList>);

}  // namespace dssl
