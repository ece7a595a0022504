// Names of image files by their endings, and of the pages of a file: "scan.tif, page 2".
// Tests: tests/io/tiff_pages.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A file, and one of its pages, from 1.
struct ImagePlace {
  std::string_view file;  ///< a part of the name that it was read of
  Index page = 1;
};

namespace detail {

inline constexpr std::string_view before_page = ", page ";

/// A name that ends with ", page N", N of 1 to 999999999, parted there; any other with page 0.
[[nodiscard]] inline ImagePlace part_page(std::string_view name) {
  const std::size_t at = name.rfind(before_page);
  if (at == std::string_view::npos || at == 0) return {name, 0};
  const std::string_view digits = name.substr(at + before_page.size());
  constexpr std::size_t most_digits = 9;
  Index page = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), page);
  const bool number = problem == std::errc() && end == digits.data() + digits.size() && digits.size() <= most_digits;
  if (!number || page < 1 || digits.front() == '0') return {name, 0};
  return {name.substr(0, at), page};
}

[[nodiscard]] constexpr char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Whether a name has one of the endings, which are in lower case, in any case.
template <class Endings>
[[nodiscard]] bool has_extension(std::string_view name, const Endings& endings) {
  return std::any_of(endings.begin(), endings.end(), [name](std::string_view ending) {
    return name.size() > ending.size() &&
           std::equal(ending.begin(), ending.end(), name.end() - static_cast<std::ptrdiff_t>(ending.size()),
                      [](char a, char b) { return a == lower_case(b); });
  });
}

/// Whether a name has an ending of files that hold several pages.
[[nodiscard]] inline bool may_have_pages(std::string_view file) {
  return has_extension(file, std::array<std::string_view, 2>{".tif", ".tiff"});
}

}  // namespace detail

/// The name of a page: the file's own of the first, "scan.tif, page 2" of the second.
[[nodiscard]] inline std::string name_of_page(std::string_view file, Index page) {
  return page == 1 ? std::string(file) : join(file, detail::before_page, page);
}

/// What the name of an image stands for: page N of the file before ", page N" where that has the ending of a TIFF (.tif,
/// .tiff, in any case), else the file of that name. Looks at no file. Test: tests/io/tiff_pages.cpp.
[[nodiscard]] inline ImagePlace place_of_image(std::string_view name) {
  const ImagePlace parted = detail::part_page(name);
  if (parted.page > 0 && detail::may_have_pages(parted.file)) return parted;
  return {name, 1};
}

}  // namespace dssl
