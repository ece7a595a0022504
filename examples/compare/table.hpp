// A comparison to read, and as JSON.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "compare/measure.hpp"
#include "compare/settings.hpp"

namespace dssl::programs {

/// What was measured in a few lines, and the table, in Markdown.
[[nodiscard]] std::string comparison_text(const CompareSettings& s, const Comparison& c);

/// The same with all numbers: {"settings", "machine", "parameters", "reference", "others_load", "rows"}.
[[nodiscard]] nlohmann::ordered_json comparison_json(const CompareSettings& s, const Comparison& c);

}  // namespace dssl::programs
