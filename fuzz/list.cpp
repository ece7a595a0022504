// Lists: images by name and label, and the pairing of what lists name.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <dssl/data/image_files.hpp>
#include <dssl/data/name_pairs.hpp>

#include "fuzz.hpp"

using namespace dssl;

namespace {

/// A folder with files that lists can name.
const std::string& folder() {
  static const std::string path = [] {
    for (const char* const name : {"a.png", "b.jpg", "b c.png", "d#1.png", "s/e.jpeg", "\xc3\xa4.png"})
      test::write_text(fuzz::scratch() / ("images/" + std::string(name)), std::string_view("no image"));
    return fuzz::scratch() / "images";
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path = fuzz::file_of("list.txt", fuzz::bytes_of(data, size));
  fuzz::parses<DataError>([&] {
    const ImageFiles files(path, {.folder = folder()});
    fuzz::require(files.size() >= 1, "a list that is read names something");
    bool any = false;
    for (Index i = 0; i < files.size(); ++i) {
      fuzz::require(!files.id(i).empty() && !files.label(i).empty(), "every image has an id and a label");
      any = any || dssl::detail::is_file(files.name(i));
    }
    fuzz::require(any, "some line names a file");
  });
  fuzz::parses<FileError>([&] {
    std::vector<std::string> first;
    std::vector<std::string> second;
    std::size_t last = 0;
    for (const detail::NumberedLine& line : detail::numbered_lines(path)) {
      fuzz::require(line.number > last && !line.text.empty() && line.text.front() != '#', "lines are numbered upwards");
      fuzz::require(line.text.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos, "a line is one line");
      last = line.number;
      (first.size() <= second.size() ? first : second).push_back(line.text);
    }
    fuzz::parses<DataError>([&] {
      const NamePairs pairs = pair_by_name(first, second, "mask");
      std::vector<std::size_t> used = pairs.unused;
      for (const auto& of_image : pairs.files) used.insert(used.end(), of_image.begin(), of_image.end());
      std::sort(used.begin(), used.end());
      fuzz::require(used.size() == second.size(), "every file is somebody's or nobody's");
      for (std::size_t f = 0; f < used.size(); ++f) fuzz::require(used[f] == f, "no file is two images'");
    });
  });
  return 0;
}
