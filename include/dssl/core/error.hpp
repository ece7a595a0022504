// Typed exceptions: what went wrong, where, and with which value.
// Tests: tests/core/error.cpp.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include <dssl/core/compiled.hpp>
#include <dssl/core/text.hpp>

namespace dssl {

namespace detail {

/// `text` with control characters as escapes (\n, \x1b): messages quote names out of files, which must neither break
/// their line nor steer a terminal.
[[nodiscard]] DSSL_INLINE std::string one_line(std::string_view text);

}  // namespace detail

/// Base of everything dssl throws. The message is one line of plain English; control characters of names that it quotes
/// are escapes.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string_view message) : std::runtime_error(detail::one_line(message)) {}
};

/// A run-time option has a value it may not have.
class OptionError : public Error {
 public:
  /// Message: "option 'batch' is 0; expected at least 1".
  OptionError(std::string_view field, TextPart value, std::string_view expected)
      : Error(join("option '", field, "' is ", value, "; expected ", expected)), x_field(field) {}

  /// Name of the option, as it is spelled in the options struct.
  [[nodiscard]] const std::string& field() const noexcept { return x_field; }

 private:
  std::string x_field;
};

/// A file or folder cannot be opened, read, written, or does not hold what it should.
class FileError : public Error {
 public:
  /// Message: "photos/a.jpg: not a JPEG file".
  FileError(std::string_view path, std::string_view problem)
      : Error(join(path, ": ", problem)), x_path(path), x_begin(detail::one_line(path).size() + 2) {}

  [[nodiscard]] const std::string& path() const noexcept { return x_path; }
  /// The message without the path.
  [[nodiscard]] std::string_view problem() const noexcept { return std::string_view(what()).substr(x_begin); }

 private:
  std::string x_path;
  std::size_t x_begin;
};

/// An image cannot be decoded (truncated, corrupt, unsupported, of an impossible size).
/// Loaders catch this kind, report it and go on; every other `FileError` ends the run.
class ImageError : public FileError {
 public:
  using FileError::FileError;
};

/// The mask or label that belongs to an image cannot be used; the image itself can.
/// Loaders pass over the pair as over an unreadable image, and count it apart.
class LabelError : public ImageError {
 public:
  using ImageError::ImageError;
};

/// A data set as a whole cannot be used: empty, too many unreadable images, a mask that does not fit.
class DataError : public Error {
 public:
  using Error::Error;
};

/// A checkpoint or weights file is damaged, or belongs to another recipe.
class CheckpointError : public FileError {
 public:
  using FileError::FileError;
};

/// Tensors of sizes that do not go together reached an operation.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A value that should be finite is not; the message names the first bad tensor or loss term.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

/// Another rank of a run left it, was not heard of in time, or does not do what this one does; the message says which and
/// why.
class RankError : public Error {
 public:
  using Error::Error;
};

namespace detail {

[[noreturn]] DSSL_INLINE void throw_shape_error(std::initializer_list<TextPart> parts);

}  // namespace detail

/// Throws `ShapeError` with the joined parts unless `holds`.
template <class... Parts>
void require_shape(bool holds, const Parts&... parts) {
  if (!holds) detail::throw_shape_error({TextPart(parts)...});
}

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

DSSL_INLINE std::string one_line(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x20 && code != 0x7F) {
      out += c;
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else {
      out += "\\x";
      out += digits[code >> 4U];
      out += digits[code & 15U];
    }
  }
  return out;
}

DSSL_INLINE void throw_shape_error(std::initializer_list<TextPart> parts) { throw ShapeError(joined(parts)); }

}  // namespace detail
#endif

}  // namespace dssl
