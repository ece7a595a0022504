// Fields of CSV files.
#pragma once

#include <string>

namespace dssl::programs {

/// A field of a CSV file, in quotes where it holds what separates fields.
[[nodiscard]] inline std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

}  // namespace dssl::programs
