// Texts out of parts: messages, and names and numbers in files.
// Tests: tests/core/text.cpp.
#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include <dssl/core/compiled.hpp>

namespace dssl {

/// What `join` takes: a string, a character, a number, or a truth as 1 or 0. Keeps no copy of a string.
///
/// One type for all of them, so that one function makes every text and is compiled once: messages are everywhere, and a
/// stream for each list of types is what a compiler would spend its time on.
class TextPart {
 public:
  constexpr TextPart(std::string_view text) noexcept : x_text(text), x_kind(Kind::text) {}
  constexpr TextPart(const std::string& text) noexcept : TextPart(std::string_view(text)) {}
  constexpr TextPart(std::nullptr_t) = delete;
  constexpr TextPart(const char* text) noexcept : TextPart(std::string_view(text)) {}
  constexpr TextPart(double value) noexcept : x_real(value), x_kind(Kind::real) {}
  constexpr TextPart(char value) noexcept : x_integer(value), x_kind(Kind::character) {}
  template <std::same_as<bool> Truth>  // and nothing that converts to one, as pointers do
  constexpr TextPart(Truth value) noexcept : TextPart(static_cast<int>(value)) {}
  template <std::integral I>
    requires(sizeof(I) > 1)  // smaller ones: say whether a character or a number is meant
  constexpr TextPart(I value) noexcept
      : x_integer(static_cast<std::int64_t>(value)), x_kind(std::is_signed_v<I> ? Kind::integer : Kind::natural) {}

  /// Behind `text`: a `double` with six digits at most, as a stream writes it, whatever the program's locale.
  DSSL_INLINE void append_to(std::string& text) const;

 private:
  enum class Kind : std::uint8_t { text, real, character, integer, natural };

  union {
    std::string_view x_text;
    double x_real;
    std::int64_t x_integer;  // a natural number's bits too
  };
  Kind x_kind;
};

namespace detail {

[[nodiscard]] DSSL_INLINE std::string joined(std::initializer_list<TextPart> parts);

}  // namespace detail

/// Its arguments after one another. Test: tests/core/text.cpp.
template <class... Parts>
[[nodiscard]] std::string join(const Parts&... parts) {
  return detail::joined({TextPart(parts)...});
}

/// The shortest decimal number that is read as this very value again, whatever the program's locale.
[[nodiscard]] DSSL_INLINE std::string exact_text(double value);
[[nodiscard]] DSSL_INLINE std::string exact_text(float value);
/// The same with the mantissa in base 16, as "%a" prints it: "0x1.8p+0" is 1.5.
[[nodiscard]] DSSL_INLINE std::string hex_text(double value);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void TextPart::append_to(std::string& text) const {
  char digits[40];
  char* end = digits;
  switch (x_kind) {
    case Kind::text:
      text += x_text;
      return;
    case Kind::character:
      text += static_cast<char>(x_integer);
      return;
    case Kind::real:
      end = std::to_chars(digits, digits + sizeof digits, x_real, std::chars_format::general, 6).ptr;
      break;
    case Kind::integer:
      end = std::to_chars(digits, digits + sizeof digits, x_integer).ptr;
      break;
    case Kind::natural:
      end = std::to_chars(digits, digits + sizeof digits, static_cast<std::uint64_t>(x_integer)).ptr;
      break;
  }
  text.append(digits, end);
}

namespace detail {

DSSL_INLINE std::string joined(std::initializer_list<TextPart> parts) {
  std::string out;
  for (const TextPart& part : parts) part.append_to(out);
  return out;
}

template <class Real, class... Format>
std::string digits_of(Real value, Format... format) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof text, value, format...).ptr};
}

}  // namespace detail

DSSL_INLINE std::string exact_text(double value) { return detail::digits_of(value); }
DSSL_INLINE std::string exact_text(float value) { return detail::digits_of(value); }
DSSL_INLINE std::string hex_text(double value) {
  std::string text = detail::digits_of(value, std::chars_format::hex);
  if (std::isfinite(value)) text.insert(text[0] == '-' ? 1 : 0, "0x");
  return text;
}
#endif

}  // namespace dssl
