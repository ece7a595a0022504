// Text files that list things, as any editor saves them: one reader for all lists of the house.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include <dssl/core/error.hpp>
#include <dssl/io/mapped_file.hpp>

namespace dssl {

/// A line of a list: a name, and the label behind it where there is one.
struct ListEntry {
  std::string name;
  std::string label;      ///< empty where the line has none
  std::string path;       ///< the file that the name stands for; empty where there is none
  std::size_t line = 0;   ///< its number in the file, from 1
};

namespace detail {

inline void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0U | code >> 6U);
    put(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    put(0xE0U | code >> 12U);
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  } else {
    put(0xF0U | code >> 18U);
    put(0x80U | (code >> 12U & 0x3FU));
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  }
}

/// Text of UTF-16 as UTF-8; halves of a pair that stand alone become U+FFFD.
[[nodiscard]] inline std::string utf8_of_utf16(std::span<const std::byte> bytes, bool big_endian) {
  std::string out;
  const auto unit = [&](std::size_t i) {
    const auto first = std::to_integer<std::uint32_t>(bytes[i]);
    const auto second = std::to_integer<std::uint32_t>(bytes[i + 1]);
    return big_endian ? first << 8U | second : second << 8U | first;
  };
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    std::uint32_t code = unit(i);
    if (code >= 0xD800 && code < 0xE000) {
      const std::uint32_t low = code < 0xDC00 && i + 3 < bytes.size() ? unit(i + 2) : 0;
      if (low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
        i += 2;
      } else {
        code = 0xFFFD;
      }
    }
    append_utf8(out, code);
  }
  return out;
}

/// The text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one. Throws `FileError`, also
/// for what is no text (a byte 0).
[[nodiscard]] inline std::string decoded_text(std::span<const std::byte> bytes, std::string_view path) {
  const auto begins = [&](std::string_view mark) {
    return bytes.size() >= mark.size() &&
           std::equal(mark.begin(), mark.end(), bytes.begin(),
                      [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
  };
  std::string text;
  if (begins("\xff\xfe")) {
    text = utf8_of_utf16(bytes.subspan(2), false);
  } else if (begins("\xfe\xff")) {
    text = utf8_of_utf16(bytes.subspan(2), true);
  } else {
    if (begins("\xef\xbb\xbf")) bytes = bytes.subspan(3);
    text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  const std::size_t zero = text.find('\0');
  if (zero != std::string::npos) {
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n') + 1;
    throw FileError(path, join("is no list: line ", line,
                               " holds a byte 0; expected text in UTF-8, or in UTF-16 with a byte order mark"));
  }
  return text;
}

struct NumberedLine {
  std::string text;
  std::size_t number;
};

/// The lines of a text file without blanks around them; empty lines and lines that start with # are left out.
/// Lines end with LF, CR LF or CR. Throws `FileError`.
[[nodiscard]] inline std::vector<NumberedLine> numbered_lines(const std::string& path) {
  const std::string text = decoded_text(dssl::read_bytes(path), path);
  std::vector<NumberedLine> lines;
  std::string_view rest(text);
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
    const std::string_view line = rest.substr(0, end);
    const bool both = rest.substr(end).starts_with("\r\n");
    rest.remove_prefix(std::min(end + (both ? 2 : 1), rest.size()));
    const std::size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos || line[first] == '#') continue;
    lines.push_back({std::string(line.substr(first, line.find_last_not_of(" \t") - first + 1)), number});
  }
  return lines;
}

/// Their texts alone.
[[nodiscard]] inline std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> out;
  for (NumberedLine& line : numbered_lines(path)) out.push_back(std::move(line.text));
  return out;
}

[[nodiscard]] inline bool is_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

[[nodiscard]] inline bool is_folder(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// Without blanks at both ends, and without a comment: what starts with # behind a blank or at the start.
[[nodiscard]] inline std::string label_of(std::string_view rest) {
  for (std::size_t at = rest.find('#'); at != std::string_view::npos; at = rest.find('#', at + 1)) {
    if (at == 0 || rest[at - 1] == ' ' || rest[at - 1] == '\t') {
      rest = rest.substr(0, at);
      break;
    }
  }
  const std::size_t first = rest.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(rest.substr(first, rest.find_last_not_of(" \t") - first + 1));
}

/// One line by the rule of `read_list`.
template <class Find>
[[nodiscard]] ListEntry list_entry(const NumberedLine& numbered, const Find& find) {
  const std::string_view line = numbered.text;
  const auto entry = [&](std::string name, std::string_view rest, std::string path) {
    return ListEntry{std::move(name), label_of(rest), std::move(path), numbered.number};
  };
  // The longest beginning that is a file: names hold blanks, and a # too. One that no path is as long as is not asked
  // for: a line of very many words would take hours.
  constexpr std::size_t longest_path = 4096;
  const std::size_t longest = line.size() <= longest_path ? line.size() : line.find_last_of(" \t", longest_path);
  for (std::size_t end = longest; end != std::string_view::npos && end > 0; end = line.find_last_of(" \t", end - 1)) {
    const std::string_view name = line.substr(0, line.find_last_not_of(" \t", end - 1) + 1);
    if (name.empty()) break;
    if (std::string path = find(std::string(name)); !path.empty())
      return entry(std::string(name), line.substr(end), std::move(path));
  }
  if (line.front() == '"' || line.front() == '\'') {
    if (const std::size_t close = line.find(line.front(), 1); close != std::string_view::npos && close > 1) {
      const std::string name(line.substr(1, close - 1));
      return entry(name, line.substr(close + 1), find(name));
    }
  }
  // No file, then: up to a tab, or else the first blank.
  const std::size_t tab = line.find('\t');
  const std::size_t end = std::min(tab != std::string_view::npos ? tab : line.find(' '), line.size());
  std::string name = label_of(line.substr(0, end));
  if (name.find('\\') != std::string::npos) {
    std::string turned = name;
    std::replace(turned.begin(), turned.end(), '\\', '/');
    if (std::string path = find(turned); !path.empty()) return entry(turned, line.substr(end), std::move(path));
  }
  return entry(std::move(name), line.substr(end), {});
}

}  // namespace detail

/// The entries of a list: a line "name" or "name label" each.
///
/// The name is the longest beginning of the line, up to a blank or the line's end, for which `find(name)` gives
/// a path and not an empty string: names may hold blanks. A name may stand in quotes, and end at a tab; where no
/// beginning is a file it ends at the first blank, and a name whose file is found with / for \ is taken so.
/// What follows is the label. A comment is a line that starts with #, or what follows a # behind a blank; empty
/// lines are left out; lines end with LF, CR LF or CR; text is UTF-8 with or without a byte order mark, or UTF-16
/// with one. Throws `DataError` naming the list where it cannot be read, names nothing, or none of its names is
/// a file. Test: tests/data/list_file.cpp.
template <class Find>
[[nodiscard]] std::vector<ListEntry> read_list(const std::string& path, const Find& find) {
  std::vector<detail::NumberedLine> lines;
  try {
    lines = detail::numbered_lines(path);
  } catch (const FileError& error) {
    throw DataError(error.what());
  }
  if (lines.empty()) throw DataError(join(path, ": the list names no images"));
  std::vector<ListEntry> out;
  out.reserve(lines.size());
  bool any = false;
  for (const detail::NumberedLine& line : lines) {
    out.push_back(detail::list_entry(line, find));
    any = any || !out.back().path.empty();
  }
  if (!any) {
    constexpr std::size_t longest_shown = 200;
    const std::string& first = lines.front().text;
    throw DataError(join(path, ": none of its ", lines.size(), lines.size() == 1 ? " line" : " lines",
                         " names a file; the first is '", first.substr(0, longest_shown),
                         first.size() > longest_shown ? "..." : "", "' (line ", lines.front().number, ")"));
  }
  return out;
}

}  // namespace dssl
