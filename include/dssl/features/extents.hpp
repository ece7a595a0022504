// Sizes of images as options and files say them.
// Tests: tests/defects/defect_bank.cpp, tests/programs/bad_input.sh.
#pragma once

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Height and width from "448" or "352x480". Throws `OptionError` naming the field.
[[nodiscard]] inline std::pair<Index, Index> extents_of(std::string_view field, std::string_view text) {
  const auto number = [&](std::string_view part) {
    Index value = 0;
    const auto [end, problem] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (problem != std::errc{} || end != part.data() + part.size() || value < 1 || value > 16384) {
      throw OptionError(field, text, "a number of pixels, or two joined by x such as 352x480");
    }
    return value;
  };
  const std::size_t cross = text.find('x');
  if (cross == std::string_view::npos) return {number(text), number(text)};
  return {number(text.substr(0, cross)), number(text.substr(cross + 1))};
}

}  // namespace dssl
