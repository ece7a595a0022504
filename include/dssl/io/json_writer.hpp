// Values as JSON has them: what headers, configurations and settings beside weights are written with.
// Tests: tests/io/safetensors.cpp, tests/io/hugging_face_config.cpp.
#pragma once

#include <string>
#include <string_view>

namespace dssl::detail {

/// `text` as a JSON string with its quotes; bytes from 0x80 on are passed through.
[[nodiscard]] inline std::string json_string(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20) {
      out += "\\u00";
      out += digits[code >> 4];
      out += digits[code & 15U];
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// A number's text as one of JSON that is read for no whole one: "100" becomes "100.0".
[[nodiscard]] inline std::string as_fraction(std::string text) {
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace dssl::detail
