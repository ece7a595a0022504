// What is given to a program as a number: read in one way by all of them, and quoted in short where it is wrong.
#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include <CLI/CLI.hpp>

#include <dssl/core/error.hpp>

namespace dssl::programs {

/// A message with the words that are longer than a line of its own cut: "3333... (300 characters)". Blanks, signs and
/// slashes end words, so that paths and lists stay whole.
[[nodiscard]] inline std::string with_short_words(std::string_view message) {
  constexpr std::size_t longest = 80, shown = 40;
  std::string out;
  while (!message.empty()) {
    const std::string_view word = message.substr(0, message.find_first_of(" ,;:/'\""));
    if (word.size() > longest) {
      out += join(word.substr(0, shown), "... (", word.size(), " characters)");
    } else {
      out += word;
    }
    message.remove_prefix(word.size());
    if (message.empty()) break;
    out += message.front();
    message.remove_prefix(1);
  }
  return out;
}

namespace detail {

/// `text` as a whole number of type Number, in decimal digits whatever it begins with; the digits of that number. Throws
/// `CLI::ConversionError`.
template <std::integral Number>
[[nodiscard]] std::string whole_number(const std::string& option, const std::string& text) {
  const auto refuse = [&](std::string_view expected) {
    // Not a validation error: to those the parser puts words of its own.
    throw CLI::ConversionError(join(option, " is ", text, "; expected ", expected), CLI::ExitCodes::ConversionError);
  };
  if (std::unsigned_integral<Number> && text.starts_with('-')) refuse("0 or more");
  Number value{};
  const std::string_view digits = std::string_view(text).substr(text.starts_with('+') ? 1 : 0);
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size() || problem == std::errc::invalid_argument) refuse("a whole number");
  if (problem == std::errc::result_out_of_range) {
    refuse(join("a whole number from ", std::numeric_limits<Number>::min(), " to ", std::numeric_limits<Number>::max()));
  }
  return std::to_string(value);
}

/// `text` where it is a finite number that a double can hold. Throws `CLI::ConversionError`.
[[nodiscard]] inline std::string finite_number(const std::string& option, const std::string& text) {
  double value = 0;
  const std::string_view digits = std::string_view(text).substr(text.starts_with('+') ? 1 : 0);
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = end == digits.data() + digits.size() && problem != std::errc::invalid_argument;
  if (!whole || problem == std::errc::result_out_of_range || !(std::abs(value) <= std::numeric_limits<double>::max())) {
    throw CLI::ConversionError(join(option, " is ", text, "; expected ", whole ? "a finite number" : "a number"),
                               CLI::ExitCodes::ConversionError);
  }
  return std::string(digits);
}

}  // namespace detail

/// Lets every option that takes numbers read them by one rule, before its own checks: whole numbers are decimal (010 is
/// ten) and within 64 bits, those without a sign are not below 0, others are finite.
///
/// The parser alone takes the largest number for one that is larger, reads 010 as octal, and takes inf and nan.
inline void check_numbers(CLI::App& app) {
  for (CLI::Option* const option : app.get_options()) {
    const std::string type = option->get_type_name();
    const std::string name = option->get_name();
    using Read = std::string (*)(const std::string&, const std::string&);
    const Read read = type.starts_with("INT")     ? Read(&detail::whole_number<std::int64_t>)
                      : type.starts_with("UINT")  ? Read(&detail::whole_number<std::uint64_t>)
                      : type.starts_with("FLOAT") ? Read(&detail::finite_number)
                                                  : Read(nullptr);
    if (read != nullptr) option->transform([read, name](const std::string& text) { return read(name, text); });
  }
}

}  // namespace dssl::programs
