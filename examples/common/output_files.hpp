// What a program writes, held against what it reads, before it does anything.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/page_name.hpp>
#include <dssl/io/pixel_scale.hpp>

namespace dssl::programs {

/// The files that a program is going to write. It names all that it reads to them before the work, so that nothing is
/// lost by an `--out` that is an input, under whatever name, and no picture gets into a folder whose pictures it reads.
///
/// Each failure is a `FileError` that names the output, the input, and the option that the input was given by.
/// Test: tests/programs/outputs.sh.
class OutputFiles {
 public:
  /// Throws where something lies at one of the paths that is no regular file, or that stdout or stderr go to.
  explicit OutputFiles(std::vector<std::string> paths) : x_paths(std::move(paths)) {
    for (const std::string& path : x_paths) {
      static_cast<void>(dssl::detail::place_to_write(path));
      struct stat status {};
      if (::stat(path.c_str(), &status) == 0) x_there.push_back({key_of(status), path});
    }
    std::sort(x_there.begin(), x_there.end());
    for (const auto& [file, name] : {std::pair(STDOUT_FILENO, "output"), {STDERR_FILENO, "error output"}}) {
      struct stat status {};
      if (::fstat(file, &status) != 0) continue;
      if (const std::string* const output = x_output_at(status))
        throw FileError(*output, join("is where the standard ", name, " goes; expected another file to write"));
    }
  }

  [[nodiscard]] const std::vector<std::string>& paths() const { return x_paths; }

  /// Throws unless each can be written: what `require_writable` finds.
  void require_writable() const {
    for (const std::string& path : x_paths) dssl::require_writable(path);
  }

  /// A file that is read; one that is not there is nobody's.
  void require_other_than(std::string_view option, const std::string& path) const {
    struct stat status {};
    if (x_there.empty() || ::stat(path.c_str(), &status) != 0) return;
    if (const std::string* const output = x_output_at(status)) {
      throw FileError(*output, join("is read too, ", *output == path ? "" : "as " + path + " ", "by ", option,
                                    "; expected another file to write"));
    }
  }

  /// Weights that are read, a file or a folder of Transformers: the file in it, and the configurations beside. Throws as
  /// `open_tensor_file` for a folder without one file of weights.
  void require_other_than_weights(std::string_view option, const std::string& path) const {
    if (x_there.empty()) return;
    const std::string file = dssl::detail::weights_in(path);
    require_other_than(option, file);
    require_other_than(option, HuggingFaceConfig::path_beside(file));
    require_other_than(option, preprocessor_beside(file));
  }

  /// All files of a source: of `size()` the `name(i)`.
  template <class Source>
  void require_other_than_all(std::string_view option, const Source& source) const {
    if (x_there.empty()) return;  // what is yet to come is no input
    for (Index i = 0; i < source.size(); ++i) {
      const std::string name = source.name(i);
      require_other_than(option, std::string(place_of_image(name).file));
    }
  }

  /// What options name, each a file or a folder whose pictures are read.
  void require_other_than_given(std::string_view option, const std::vector<std::string>& paths) const {
    for (const std::string& path : paths) {
      if (std::error_code ignored; std::filesystem::is_directory(path, ignored)) {
        require_outside(option, path);
      } else {
        require_other_than(option, path);
      }
    }
  }

  /// A folder whose pictures are read: throws for a picture in it, which the next run would read.
  void require_outside(std::string_view option, const std::string& folder) const {
    if (folder.empty()) return;
    const std::filesystem::path root = real(folder);
    const ImageFolderOptions pictures;
    std::string last;
    bool inside = false;
    for (const std::string& path : x_paths) {
      if (!dssl::detail::has_extension(path, pictures.extensions)) continue;
      if (const std::string in = dssl::detail::folder_of(path); in != last) {
        const std::filesystem::path below = real(in).lexically_relative(root);
        // Folders that begin with a dot are passed over where folders are read, and ".." leads out of this one.
        inside = below == "." || std::none_of(below.begin(), below.end(), [](const auto& part) {
          return part.native().starts_with('.');
        });
        last = in;
      }
      if (!inside) continue;
      throw FileError(path, join("would be one of the pictures of ", folder, ", which ", option,
                                 " reads; expected a place outside of that folder"));
    }
  }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;

  static Key key_of(const struct stat& status) {
    return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
  }

  /// Without links, and complete, also of what is not there yet.
  static std::filesystem::path real(const std::string& path) {
    std::error_code problem;
    std::filesystem::path out = std::filesystem::weakly_canonical(std::filesystem::absolute(path), problem);
    return problem ? std::filesystem::path(path) : out;
  }

  [[nodiscard]] const std::string* x_output_at(const struct stat& status) const {
    const Key key = key_of(status);
    const auto found = std::lower_bound(x_there.begin(), x_there.end(), key,
                                        [](const auto& output, const Key& wanted) { return output.first < wanted; });
    return found != x_there.end() && found->first == key ? &found->second : nullptr;
  }

  std::vector<std::string> x_paths;
  std::vector<std::pair<Key, std::string>> x_there;  // those that are files already
};

}  // namespace dssl::programs
