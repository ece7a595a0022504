// The options of a program as they stand in docs/options.md, from what its parser knows of them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include <dssl/core/error.hpp>

namespace dssl::programs {

/// The one argument that makes a program print `options_page` and end: for scripts/options.sh, not for users.
inline constexpr std::string_view options_page_flag = "--options-page";

namespace detail {

/// A cell of a table in Markdown.
[[nodiscard]] inline std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '*' || c == '_') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

[[nodiscard]] inline std::string as_code(const std::string& text) { return "`" + text + "`"; }

/// "`--size`", or all names of an option that has several; "`images`" of what is given by its place.
[[nodiscard]] inline std::string names_cell(const CLI::Option& option) {
  std::string out;
  for (const std::string& name : option.get_lnames()) out += (out.empty() ? "" : ", ") + as_code("--" + name);
  return out.empty() ? as_code(option.get_name(true)) : out;
}

/// Which values an option takes, where its checks say so: "a, b, c" or "1 to 9"; else nothing.
[[nodiscard]] inline std::string values_cell(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (type.find("POSITIVE") != std::string::npos) return "above 0";
  if (type.find("NONNEGATIVE") != std::string::npos) return "0 or more";
  const bool set = type.ends_with('}');
  const std::size_t begin = set ? type.find('{') : type.find(" in [");
  if (begin == std::string::npos || !(set || type.ends_with(']'))) return {};
  std::string out;
  for (const char c : type.substr(set ? begin + 1 : begin + 5)) {
    if (c == ',') out += ", ";
    if (c != ',' && c != '}' && c != ']') out += c;
  }
  if (const std::size_t dash = out.find(" - "); !set && dash != std::string::npos) out.replace(dash, 3, " to ");
  return out;
}

/// What holds where an option is not given. A value comes from the field that the option sets; where that is empty, the
/// meaning may say in words what is done, at its end: "...; default: all images" or "... (default: all images)".
[[nodiscard]] inline std::string default_cell(const CLI::Option& option, std::string& meaning) {
  if (option.get_required()) return "required";
  for (const std::string_view begin : {"; default: ", " (default: "}) {
    const std::size_t at = meaning.rfind(begin);
    if (at == std::string::npos) continue;
    std::string words = meaning.substr(at + begin.size());
    if (begin.starts_with(" (") && words.ends_with(')')) words.pop_back();
    meaning.resize(at);
    return cell(words);
  }
  if (option.get_items_expected_max() == 0) return "off";  // a flag
  std::string value = option.get_default_str();
  if (value.starts_with('[') && value.ends_with(']')) value = value.substr(1, value.size() - 2);  // of a list
  return value.empty() ? "none" : as_code(value);
}

}  // namespace detail

/// A heading, what the program does, and a table of options for each of their groups. Throws `Error` for an option
/// without a meaning. Test: docs.options.
[[nodiscard]] inline std::string options_page(const CLI::App& app) {
  const auto options = app.get_options([](const CLI::Option* option) {
    return !option->get_group().empty() && !option->check_lname("help") && !option->check_lname("version");
  });
  std::string out = join("## ", app.get_name(), "\n\n", detail::cell(app.get_description()), "\n");
  for (const std::string& group : app.get_groups()) {
    std::string rows;
    for (const CLI::Option* option : options) {
      if (option->get_group() != group) continue;
      std::string meaning = option->get_description();
      if (meaning.empty()) throw Error(join("option ", option->get_name(), " has no meaning in its help text"));
      const std::string otherwise = detail::default_cell(*option, meaning);
      rows += join("| ", detail::names_cell(*option), " | ", otherwise, " | ", detail::cell(detail::values_cell(*option)), " | ",
                   detail::cell(meaning), " |\n");
    }
    if (rows.empty()) continue;
    if (group != "Options") out += join("\n", detail::cell(group), ":\n");
    out += join("\n| option | default | values | meaning |\n|---|---|---|---|\n", rows);
  }
  return out;
}

}  // namespace dssl::programs
