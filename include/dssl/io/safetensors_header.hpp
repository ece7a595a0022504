// The header of a safetensors file: its restricted JSON, parsed strictly and checked against the file.
// Tests: tests/io/safetensors.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

namespace detail {

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // as listed in the file
  std::map<std::string, std::string> metadata;
};

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

/// Reads the one JSON object a safetensors header consists of. Throws `CheckpointError` naming the byte.
class SafetensorsHeaderParser {
 public:
  SafetensorsHeaderParser(std::string_view path, std::string_view text) : x_path(path), x_text(text) {}

  [[nodiscard]] SafetensorsHeader parse() {
    SafetensorsHeader header;
    std::set<std::string> names;
    // The format forbids white space before the object; it pads with spaces after it.
    if (x_text.empty() || x_text.front() != '{') fail("a header that starts with '{'");
    object([&](const std::string& name) {
      if (!names.insert(name).second)
        throw CheckpointError(x_path, join("tensor '", name, "' is listed twice"));
      if (name == "__metadata__") {
        object([&](const std::string& key) {
          const bool added = header.metadata.emplace(key, string()).second;
          if (!added) throw CheckpointError(x_path, join("metadata '", key, "' is listed twice"));
        });
      } else {
        header.tensors.push_back(tensor(name));
      }
    });
    skip_space();
    if (x_at != x_text.size()) fail("nothing after the header's object");
    return header;
  }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    throw CheckpointError(x_path, join("header is damaged at byte ", x_at + 8, "; expected ", expected));
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

  [[nodiscard]] std::vector<Index> naturals() {
    std::vector<Index> values;
    expect('[');
    if (next_is(']')) return values;
    do values.push_back(natural());
    while (next_is(','));
    expect(']');
    return values;
  }

  [[nodiscard]] StoredTensor tensor(const std::string& name) {
    StoredTensor tensor;
    tensor.name = name;
    bool has_type = false;
    bool has_shape = false;
    bool has_offsets = false;
    const auto once = [&](bool& seen, const std::string& field) {
      if (seen) throw CheckpointError(x_path, join("tensor '", name, "' has two fields '", field, "'"));
      seen = true;
    };
    object([&](const std::string& field) {
      if (field == "dtype") {
        once(has_type, field);
        const std::string type = string();
        const auto known = element_type_named(type);
        if (!known) {
          throw CheckpointError(x_path, join("tensor '", name, "' has unknown dtype '", type, "'; expected ", element_names()));
        }
        tensor.type = *known;
      } else if (field == "shape") {
        once(has_shape, field);
        tensor.shape = naturals();
      } else if (field == "data_offsets") {
        once(has_offsets, field);
        const std::vector<Index> offsets = naturals();
        if (offsets.size() != 2 || offsets[0] > offsets[1]) {
          throw CheckpointError(x_path, join("tensor '", name, "' has data_offsets ", shape_text(offsets),
                                             "; expected [begin, end] with begin <= end"));
        }
        tensor.begin = static_cast<std::size_t>(offsets[0]);
        tensor.end = static_cast<std::size_t>(offsets[1]);
      } else {
        throw CheckpointError(x_path, join("tensor '", name, "' has unknown field '", field, "'"));
      }
    });
    if (!has_type || !has_shape || !has_offsets) {
      throw CheckpointError(x_path, join("tensor '", name, "' lacks ",
                                         !has_type    ? "dtype"
                                         : !has_shape ? "shape"
                                                      : "data_offsets"));
    }
    return tensor;
  }

  std::string_view x_path;
  std::string_view x_text;
  std::size_t x_at = 0;
};

/// Checks that the tensors fill `data_bytes` without gap or overlap and agree with their shapes.
/// Throws `CheckpointError` naming the tensor.
inline void check_tensors(const std::vector<StoredTensor>& tensors, std::string_view path,
                          std::size_t data_bytes) {
  std::vector<const StoredTensor*> by_offset;
  for (const StoredTensor& tensor : tensors) {
    // Bytes by shape; a product that overflows can fit no file. That of the extents beside a zero may not either:
    // `size()` multiplies them all.
    std::size_t bytes = element_bytes(tensor.type);
    bool overflows = false;
    const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
    for (const Index extent : tensor.shape) {
      const auto factor = std::max<std::size_t>(1, static_cast<std::size_t>(extent));
      overflows = overflows || bytes > std::numeric_limits<std::size_t>::max() / 2 / factor;
      if (!overflows) bytes *= factor;
    }
    if (empty) bytes = 0;
    if (overflows || bytes != tensor.end - tensor.begin) {
      throw CheckpointError(
          path, join("tensor '", tensor.name, "' of ", element_name(tensor.type), " ",
                     shape_text(tensor.shape), " takes ", tensor.end - tensor.begin, " bytes; expected ",
                     overflows ? "a size that fits in memory" : std::to_string(bytes)));
    }
    if (tensor.end > data_bytes) {
      throw CheckpointError(path, join("truncated: tensor '", tensor.name, "' ends at byte ", tensor.end,
                                       " of the data, which has ", data_bytes));
    }
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const StoredTensor* a, const StoredTensor* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  std::size_t filled = 0;
  for (const StoredTensor* tensor : by_offset) {
    if (tensor->begin != filled) {
      throw CheckpointError(
          path, join("tensor '", tensor->name, "' starts at byte ", tensor->begin, " of the data and ",
                     tensor->begin < filled ? "overlaps" : "leaves a gap after",
                     " the tensor before it, which ends at ", filled));
    }
    filled = tensor->end;
  }
  if (filled != data_bytes) {
    throw CheckpointError(path,
                          join("the tensors end at byte ", filled, " of the data, which has ", data_bytes));
  }
}

}  // namespace detail
}  // namespace dssl
