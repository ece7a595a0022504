// Numbers as text that is read as the very same number again: for files, messages and texts that are compared.
// Tests: tests/core/error.cpp.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <string>

namespace dssl {

/// The shortest decimal number that is read as this very one of its type again, whatever the program's locale: 0.1F is "0.1",
/// as a double it is "0.10000000149011612". No number and infinities are "nan" and "inf".
template <std::floating_point Number>
[[nodiscard]] std::string exact_number(Number value) {
  std::array<char, 64> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

}  // namespace dssl
