// Image files on disk: all of a folder, or those a text file lists.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <sys/stat.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/list_file.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/page_name.hpp>
#include <dssl/io/tiff_directories.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// Which files of a folder are images, and how they are read.
struct ImageFolderOptions {
  bool nested = true;  ///< looks into folders inside the folder too
  /// Endings in lower case; files match in any case.
  std::vector<std::string> extensions{detail::read_endings.begin(), detail::read_endings.end()};
  ReadOptions read = {};
  bool pages = true;  ///< each page of a TIFF is an image; off: the first alone
};

/// Pictures of a folder that were left aside as no codec here reads them: how many of each ending (in lower
/// case, with its dot), how many have the name of an image but are a "FIFO", "socket" or "device", and of TIFF files how many
/// pages are "TIFF pages after the first" or "TIFF thumbnails or masks", and of how many the rest is not known
/// (`ImageFolder::damaged`).
using LeftAside = std::map<std::string, Index>;

/// "4 .gif, 12 .tif"; empty where nothing was left aside.
[[nodiscard]] inline std::string left_aside_text(const LeftAside& left) {
  std::string text;
  for (const auto& [ending, count] : left) text += join(text.empty() ? "" : ", ", count, " ", ending);
  return text;
}

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

[[nodiscard]] constexpr char upper_case(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// The ending of a name in lower case where it is one of pictures that no codec here reads; empty for others.
[[nodiscard]] inline std::string unread_ending(std::string_view name) {
  constexpr std::array<std::string_view, 23> known{
      ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k",
      ".jp2", ".jxl",  ".nef", ".pam", ".pbm", ".raw", ".svg", ".tga", ".tif", ".tiff", ".webp"};
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return {};
  std::string ending(name.substr(dot));
  std::transform(ending.begin(), ending.end(), ending.begin(), lower_case);
  return std::find(known.begin(), known.end(), ending) != known.end() ? ending : std::string();
}

/// The file `stem`, or the one that a usual ending makes of it, or the page of a TIFF that it names in one of these ways
/// ("scan.tif, page 2", "scan, page 2"); empty where there is none. Whether the file has that page is seen when it is read.
[[nodiscard]] inline std::string found_image(const std::string& stem) {
  if (is_file(stem)) return stem;
  const ImagePlace parted = part_page(stem);
  if (parted.page > 0 && may_have_pages(parted.file) && is_file(std::string(parted.file))) return stem;
  for (const bool upper : {false, true}) {
    for (const std::string_view known : read_endings) {
      std::string ending(known);
      if (upper) std::transform(ending.begin(), ending.end(), ending.begin(), upper_case);
      std::string path = join(stem, ending);
      if (is_file(path)) return path;
    }
  }
  if (parted.page == 0) return {};
  const std::string file = found_image(std::string(parted.file));
  return may_have_pages(file) ? name_of_page(file, parted.page) : std::string();
}

/// The same, but `stem` where there is no such file: to be named in the error of whoever opens it.
[[nodiscard]] inline std::string image_path(std::string stem) {
  std::string found = found_image(stem);
  return found.empty() ? stem : found;
}

/// A name without the ending of an image that can be read: "scan" of "scan.tif", "scan, page 2" of its second page.
[[nodiscard]] inline std::string without_ending(std::string_view name) {
  const ImageFolderOptions known;
  const ImagePlace place = place_of_image(name);
  std::string_view file = place.file;
  if (has_extension(file, known.extensions)) file = file.substr(0, file.rfind('.'));
  return name_of_page(file, place.page);
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

/// Lists the image files below a folder, following links but entering no folder twice.
class FolderListing {
 public:
  FolderListing(NameList& names, std::string root, const ImageFolderOptions& options)
      : x_names(names), x_root(std::move(root)), x_options(options) {}

  /// Pictures of other endings that were met.
  [[nodiscard]] const LeftAside& left_aside() const { return x_left; }
  /// As `ImageFolder::damaged`.
  [[nodiscard]] const std::vector<std::string>& damaged() const { return x_damaged; }

  /// Puts the names into order, each file's further pages behind it.
  void sort() {
    x_names.sort();
    std::sort(x_damaged.begin(), x_damaged.end());
    if (x_pages.empty()) return;
    NameList all;
    for (std::size_t i = 0; i < x_names.size(); ++i) {
      const std::string_view file = x_names[i];
      all.add(file);
      const auto found = x_pages.find(file);
      if (found == x_pages.end()) continue;
      for (const Index page : found->second) all.add(name_of_page(file, page));
    }
    x_names = std::move(all);
  }

  /// Lists one folder, given by its path below the root ("" or "a/b/"). Throws `DataError`.
  void list(const std::string& below) {
    const std::string path = below.empty() ? x_root : x_root + "/" + below;
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) throw DataError(join(path, ": ", system_message(errno)));
    if (const std::string_view kind = other_kind(status.st_mode); kind != "folder")
      throw DataError(join(path, ": is a ", kind.empty() ? "file" : kind, "; expected a folder of images"));
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
      auto mode = static_cast<::mode_t>(DTTOIF(entry->d_type));
      if ((entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) && (x_options.nested || image)) {
        // What links lead nowhere is left to whoever reads it.
        mode = ::stat(join(path, "/", name).c_str(), &status) == 0 ? status.st_mode : S_IFREG;
      }
      if (S_ISDIR(mode)) {
        if (x_options.nested) inner.push_back(join(below, name, "/"));
      } else if (image && !S_ISREG(mode)) {
        ++x_left[std::string(other_kind(mode))];
      } else if (image) {
        x_names.add(below.empty() ? std::string(name) : below + std::string(name));
        x_find_pages(path, below, name);
      } else if (const std::string ending = unread_ending(name); !ending.empty()) {
        ++x_left[ending];
      }
    }
    for (const std::string& next : inner) list(next);
  }

 private:
  void x_find_pages([[maybe_unused]] const std::string& folder, [[maybe_unused]] const std::string& below,
                    [[maybe_unused]] std::string_view name) {
#ifdef DSSL_WITH_TIFF
    if (!may_have_pages(name)) return;
    const std::string path = join(folder, "/", name);
    TiffPages pages = further_tiff_pages(path);
    if (!pages.damage.empty()) x_damaged.push_back(join(path, ": ", pages.damage));
    const auto count = static_cast<Index>(pages.images.size());
    const auto leave = [this](const char* what, Index left) {
      if (left > 0) x_left[what] += left;
    };
    leave("TIFF thumbnails or masks", pages.aside);
    leave("TIFF files from a damaged directory on", pages.damage.empty() ? 0 : 1);
    if (!x_options.pages) {
      leave("TIFF pages after the first", count);
    } else if (count > 0) {
      x_pages.emplace(join(below, name), std::move(pages.images));
    }
#endif
  }

  NameList& x_names;
  std::string x_root;
  const ImageFolderOptions& x_options;
  LeftAside x_left;
  std::vector<std::string> x_damaged;
  std::map<std::string, std::vector<Index>, std::less<>> x_pages;  // behind the first, of files that have such
  std::set<std::pair<std::uint64_t, std::uint64_t>> x_entered;
};

}  // namespace detail

/// All images of a folder, in the byte order of their paths below it; each page of a TIFF is one, in the file's order: "scan.tif",
/// "scan.tif, page 2", ... (`place_of_image`), pages counted as they lie in the file.
///
/// Only names are held in memory; files and folders whose names start with a dot are passed over. Pictures of
/// other endings than the options', FIFOs, sockets and devices are counted (`left_aside`), so that whoever opens the
/// folder can say so, and so are pages that say that they are a thumbnail or a mask. For pages each TIFF's directories are read
/// while a folder is listed, no pixels. They are a chain: where that is damaged the pages before are images, and what follows
/// is not known, which is counted and said (`damaged`). Test: tests/data/image_folder.cpp, tests/io/tiff_pages.cpp.
class ImageFolder {
 public:
  /// Lists the folder. Throws `DataError` naming it if it is missing, not a folder, or holds no image.
  explicit ImageFolder(std::string path, ImageFolderOptions options = {})
      : x_path(std::move(path)), x_options(std::move(options)) {
    detail::FolderListing listing(x_names, x_path, x_options);
    listing.list("");
    x_left = listing.left_aside();
    if (x_names.size() == 0) {
      std::string endings;
      for (const std::string& e : x_options.extensions) endings += (endings.empty() ? "" : ", ") + e;
      throw DataError(join(x_path, ": the folder holds no images (", endings, ")",
                           x_left.empty() ? "" : "; of kinds that cannot be read: ", left_aside_text(x_left)));
    }
    listing.sort();
    x_damaged = listing.damaged();
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_names.size()); }

  /// Path of image i: the folder's path, then its place below it.
  [[nodiscard]] std::string name(Index i) const {
    return join(x_path, "/", x_names[static_cast<std::size_t>(i)]);
  }

  /// Reads image i. Throws `ImageError`.
  [[nodiscard]] AnyImage load(Index i) const { return read_image(name(i), x_options.read); }
  /// Its sides, of its header (`read_image_extent`).
  [[nodiscard]] ImageExtent extent(Index i) const { return read_image_extent(name(i), x_options.read); }

  /// Pictures in the folder that are not among its images, by ending.
  [[nodiscard]] const LeftAside& left_aside() const { return x_left; }
  /// A line for each TIFF of which not all pages are known: "scan.tif: is a TIFF whose directories are damaged after page 2; ...".
  [[nodiscard]] const std::vector<std::string>& damaged() const { return x_damaged; }

 private:
  std::string x_path;
  ImageFolderOptions x_options;
  detail::NameList x_names;
  LeftAside x_left;
  std::vector<std::string> x_damaged;
};

/// The images that a text file lists, by the rule of `read_list`: one path a line, with or without ending,
/// relative to the folder of the list unless it starts with '/'. A label behind it is passed over.
///
/// Order and repetitions are kept. Of a TIFF a line names the first page, and "scan.tif, page 2" or "scan, page 2" another.
class ImageList {
 public:
  /// Reads the list. Throws `DataError` naming it if it is missing, or names nothing, or no file.
  explicit ImageList(const std::string& path, ReadOptions options = {}) : x_options(options) {
    const std::size_t slash = path.rfind('/');
    if (slash != std::string::npos) x_folder = path.substr(0, slash + 1);
    const auto below = [&](const std::string& name) { return name.front() == '/' ? name : x_folder + name; };
    for (const ListEntry& entry :
         read_list(path, [&](const std::string& name) { return detail::found_image(below(name)); })) {
      const std::string_view file = entry.path;
      // Without the folder that all share: a million names take tens of megabytes.
      x_names.add(file.empty() ? std::string_view(entry.name)
                  : !x_folder.empty() && file.starts_with(x_folder) && entry.name.front() != '/'
                      ? file.substr(x_folder.size())
                      : file);
    }
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_names.size()); }
  [[nodiscard]] std::string name(Index i) const {
    const std::string_view line = x_names[static_cast<std::size_t>(i)];
    return line.front() == '/' ? std::string(line) : x_folder + std::string(line);
  }
  [[nodiscard]] AnyImage load(Index i) const { return read_image(name(i), x_options); }
  [[nodiscard]] ImageExtent extent(Index i) const { return read_image_extent(name(i), x_options); }

 private:
  std::string x_folder;
  ReadOptions x_options;
  detail::NameList x_names;
};

static_assert(ImageSource<ImageFolder> && ImageSource<ImageList>);

}  // namespace dssl
