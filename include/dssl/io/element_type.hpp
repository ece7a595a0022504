// How numbers are stored in a file: the element types of safetensors and their names and sizes.
// Tests: tests/io/safetensors.cpp.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace dssl {

/// Type of a stored tensor's elements; little-endian in the file.
enum class ElementType : std::uint8_t { boolean, u8, i8, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64 };

namespace detail {

struct ElementTypeRow {
  ElementType type;
  std::string_view name;
  std::size_t bytes;
};

inline constexpr std::array<ElementTypeRow, 13> element_types{{{ElementType::boolean, "BOOL", 1},
                                                               {ElementType::u8, "U8", 1},
                                                               {ElementType::i8, "I8", 1},
                                                               {ElementType::u16, "U16", 2},
                                                               {ElementType::i16, "I16", 2},
                                                               {ElementType::f16, "F16", 2},
                                                               {ElementType::bf16, "BF16", 2},
                                                               {ElementType::u32, "U32", 4},
                                                               {ElementType::i32, "I32", 4},
                                                               {ElementType::f32, "F32", 4},
                                                               {ElementType::u64, "U64", 8},
                                                               {ElementType::i64, "I64", 8},
                                                               {ElementType::f64, "F64", 8}}};

}  // namespace detail

static_assert(std::endian::native == std::endian::little,
              "dssl reads and writes little-endian files in place");

/// Bytes an element takes: 1, 2, 4 or 8.
[[nodiscard]] constexpr std::size_t element_bytes(ElementType type) {
  return detail::element_types[static_cast<std::size_t>(type)].bytes;
}

/// Name in the safetensors header: "F32", "BF16", ...
[[nodiscard]] constexpr std::string_view element_name(ElementType type) {
  return detail::element_types[static_cast<std::size_t>(type)].name;
}

/// The names of all types: "BOOL, U8, ... or F64".
[[nodiscard]] inline std::string element_names() {
  std::string out;
  for (const auto& row : detail::element_types) {
    if (!out.empty()) out += &row == &detail::element_types.back() ? " or " : ", ";
    out += row.name;
  }
  return out;
}

/// Whether its values may be fractions.
[[nodiscard]] constexpr bool is_floating(ElementType type) {
  return type == ElementType::f16 || type == ElementType::bf16 || type == ElementType::f32 || type == ElementType::f64;
}

/// The type a safetensors header calls `name`; nothing if there is none.
[[nodiscard]] constexpr std::optional<ElementType> element_type_named(std::string_view name) {
  for (const auto& row : detail::element_types) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

/// The stored type of a C++ number; nothing for types that are not stored (bool, char, long double).
template <class T>
[[nodiscard]] consteval std::optional<ElementType> element_type_of() {
  if constexpr (std::is_same_v<T, float>) {
    return ElementType::f32;
  } else if constexpr (std::is_same_v<T, double>) {
    return ElementType::f64;
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char>) {
    constexpr bool with_sign = std::is_signed_v<T>;
    if constexpr (sizeof(T) == 1) return with_sign ? ElementType::i8 : ElementType::u8;
    if constexpr (sizeof(T) == 2) return with_sign ? ElementType::i16 : ElementType::u16;
    if constexpr (sizeof(T) == 4) return with_sign ? ElementType::i32 : ElementType::u32;
    if constexpr (sizeof(T) == 8) return with_sign ? ElementType::i64 : ElementType::u64;
  } else {
    return std::nullopt;
  }
}

/// Numbers that can be written to and read from a tensor file.
template <class T>
concept StoredNumber = element_type_of<T>()
.has_value();

/// Value of an IEEE half (1 sign, 5 exponent, 10 fraction bits); exact, NaN and infinities kept.
[[nodiscard]] constexpr float float_from_half(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000U} << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0x1FU) return std::bit_cast<float>(sign | 0x7F800000U | (fraction << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1.0p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (fraction << 13));
}

}  // namespace dssl
