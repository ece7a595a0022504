// JSON read in place: what the headers and descriptions beside weights are written in, with bounds.
// Tests: tests/io/safetensors.cpp, tests/io/hugging_face_config.cpp.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::detail {

/// Steps through JSON text, value by value; a reader of one format derives from it. Nothing is kept of what is stepped
/// over, and nothing goes deeper than `deepest`. Every failure is a `CheckpointError` that names the byte.
class JsonReader {
 protected:
  /// `what`: what of the file is read, as messages begin ("header "); `first`: the byte of the file that the text begins at.
  JsonReader(std::string_view path, std::string_view text, std::string_view what, std::size_t first)
      : x_path(path), x_text(text), x_what(what), x_first(first) {}

  [[nodiscard]] std::string_view path() const { return x_path; }
  [[nodiscard]] bool starts_with(char c) const { return !x_text.empty() && x_text.front() == c; }

  /// Throws unless nothing but white space is left; `whole`: what came before.
  void end(std::string_view whole) {
    skip_space();
    if (x_at != x_text.size()) fail(join("nothing after ", whole));
  }

  [[noreturn]] void fail(std::string_view expected) const {
    throw CheckpointError(x_path, join(x_what, "is damaged at byte ", x_at + x_first, "; expected ", expected));
  }

  void skip_space() {
    while (x_at < x_text.size() && std::string_view(" \t\r\n").find(x_text[x_at]) != std::string_view::npos)
      ++x_at;
  }

  /// True, and steps over it, if the next character is `c`.
  [[nodiscard]] bool next_is(char c) {
    skip_space();
    if (x_at >= x_text.size() || x_text[x_at] != c) return false;
    ++x_at;
    return true;
  }

  void expect(char c) {
    if (!next_is(c)) fail(join("'", c, "'"));
  }

  /// Calls `member(key)` with the position just before each value.
  template <class Member>
  void object(const Member& member) {
    expect('{');
    if (next_is('}')) return;
    do {
      const std::string key = string();
      expect(':');
      member(key);
    } while (next_is(','));
    expect('}');
  }

  [[nodiscard]] std::uint32_t hex4() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++x_at) {
      const char c = x_at < x_text.size() ? x_text[x_at] : ' ';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("four hexadecimal digits");
      value = value * 16 + static_cast<std::uint32_t>(digit);
    }
    return value;
  }

  /// Appends the code point of a \u escape, whose "\u" has been read, as UTF-8.
  void unicode_escape(std::string& out) {
    std::uint32_t code = hex4();
    if (code >= 0xDC00 && code <= 0xDFFF) fail("the first half of a surrogate pair");
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (x_text.substr(x_at, 2) != "\\u") fail("the second half of a surrogate pair");
      x_at += 2;
      const std::uint32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("the second half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    const auto put = [&out](std::uint32_t byte) {
      out += static_cast<char>(static_cast<unsigned char>(byte));
    };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | (code >> 6));
      put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      put(0xE0 | (code >> 12));
      put(0x80 | ((code >> 6) & 0x3F));
      put(0x80 | (code & 0x3F));
    } else {
      put(0xF0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3F));
      put(0x80 | ((code >> 6) & 0x3F));
      put(0x80 | (code & 0x3F));
    }
  }

  [[nodiscard]] std::string string() {
    expect('"');
    std::string out;
    for (;;) {
      if (x_at >= x_text.size()) fail("the end of a string");
      const char c = x_text[x_at];
      if (static_cast<unsigned char>(c) < 0x20) fail("a string without control characters");
      ++x_at;
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (x_at >= x_text.size()) fail("the end of a string");
      const char escaped = x_text[x_at++];
      if (escaped == 'u') {
        unicode_escape(out);
        continue;
      }
      constexpr std::string_view letters = "\"\\/bfnrt";
      constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
      const std::size_t which = letters.find(escaped);
      if (which == std::string_view::npos) fail("a known escape in a string");
      out += meanings[which];
    }
  }

  /// An integer from 0 to 2^63 - 1, without sign, fraction, exponent or leading zeros.
  [[nodiscard]] Index natural() {
    skip_space();
    const std::size_t first = x_at;
    Index value = 0;
    while (x_at < x_text.size() && x_text[x_at] >= '0' && x_text[x_at] <= '9') {
      const Index digit = x_text[x_at] - '0';
      if (value > (std::numeric_limits<Index>::max() - digit) / 10) fail("a number below 2^63");
      value = value * 10 + digit;
      ++x_at;
    }
    if (x_at == first || (x_text[first] == '0' && x_at - first > 1)) fail("a whole number");
    return value;
  }

  /// The character that the next value begins with, 0 at the end.
  [[nodiscard]] char ahead() {
    skip_space();
    return x_at < x_text.size() ? x_text[x_at] : char{0};
  }

  /// A number that is finite as a double.
  [[nodiscard]] double number() {
    skip_space();
    const std::size_t first = x_at;
    const auto digits = [&] {
      const std::size_t begin = x_at;
      while (x_at < x_text.size() && x_text[x_at] >= '0' && x_text[x_at] <= '9') ++x_at;
      if (x_at == begin) fail("a number");
      return begin;
    };
    const auto step = [&](std::string_view one_of) {
      const bool there = x_at < x_text.size() && one_of.find(x_text[x_at]) != std::string_view::npos;
      if (there) ++x_at;
      return there;
    };
    static_cast<void>(step("-"));
    if (const std::size_t begin = digits(); x_text[begin] == '0' && x_at - begin > 1) fail("a number without leading zeros");
    if (step(".")) static_cast<void>(digits());
    if (step("eE")) {
      static_cast<void>(step("+-"));
      static_cast<void>(digits());
    }
    double value = 0;
    const auto [end, problem] = std::from_chars(x_text.data() + first, x_text.data() + x_at, value);
    if (problem != std::errc{} || !std::isfinite(value)) fail("a number that is finite");
    return value;
  }

  /// Steps over one of the words `true`, `false`, `null`.
  void word(std::string_view expected) {
    skip_space();
    if (x_text.substr(x_at, expected.size()) != expected) fail(join("'", expected, "'"));
    x_at += expected.size();
  }

  /// Steps over any value.
  void pass_over(int depth = 0) {
    if (depth > deepest) fail(join("at most ", deepest, " values within each other"));
    switch (ahead()) {
      case '{':
        return object([&](const std::string&) { pass_over(depth + 1); });
      case '[':
        expect('[');
        if (next_is(']')) return;
        do pass_over(depth + 1);
        while (next_is(','));
        return expect(']');
      case '"':
        static_cast<void>(string());
        return;
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        static_cast<void>(number());
    }
  }

 private:
  static constexpr int deepest = 64;

  std::string_view x_path, x_text, x_what;
  std::size_t x_first;
  std::size_t x_at = 0;
};

}  // namespace dssl::detail
