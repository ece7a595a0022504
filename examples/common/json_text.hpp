// JSON as text: what others wrote, which may go deeper than a program can, and what is written, whose names may be any bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::programs {

/// A value in text: on one line, or with `indent` spaces a level. Text within it that is not UTF-8, such as a file name, is
/// replaced where it cannot be told.
template <class Json>
[[nodiscard]] std::string json_text(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// A JSON value, or a discarded one where the text is none. Throws `FileError` where it is nested deeper than programs ever
/// write it: what shows a value goes down it by recursion. `where`: what of the file the text is, with a space behind it.
template <class Json = nlohmann::json>
[[nodiscard]] Json parse_json(std::string_view text, const std::string& path, std::string_view where = "") {
  constexpr Index deepest = 64;
  Index depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '[' || c == '{')) {
      if (++depth > deepest) throw FileError(path, join(where, "is nested deeper than ", deepest, " levels"));
    } else if (!quoted && (c == ']' || c == '}')) {
      --depth;
    }
  }
  return Json::parse(text, nullptr, false);
}

}  // namespace dssl::programs
