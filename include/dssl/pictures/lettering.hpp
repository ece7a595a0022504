// Short captions in pictures: letters five pixels high.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/pictures/colour_map.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// A letter: five rows of `width` bits, the leftmost pixel highest.
struct Glyph {
  char letter;
  std::uint8_t width;
  std::array<std::uint8_t, 5> rows;
};

inline constexpr std::array<Glyph, 53> glyphs{{
    {' ', 2, {0, 0, 0, 0, 0}},
    {'0', 3, {0b111, 0b101, 0b101, 0b101, 0b111}},
    {'1', 3, {0b010, 0b110, 0b010, 0b010, 0b111}},
    {'2', 3, {0b111, 0b001, 0b111, 0b100, 0b111}},
    {'3', 3, {0b111, 0b001, 0b111, 0b001, 0b111}},
    {'4', 3, {0b101, 0b101, 0b111, 0b001, 0b001}},
    {'5', 3, {0b111, 0b100, 0b111, 0b001, 0b111}},
    {'6', 3, {0b111, 0b100, 0b111, 0b101, 0b111}},
    {'7', 3, {0b111, 0b001, 0b001, 0b010, 0b010}},
    {'8', 3, {0b111, 0b101, 0b111, 0b101, 0b111}},
    {'9', 3, {0b111, 0b101, 0b111, 0b001, 0b111}},
    {'A', 3, {0b010, 0b101, 0b111, 0b101, 0b101}},
    {'B', 3, {0b110, 0b101, 0b110, 0b101, 0b110}},
    {'C', 3, {0b011, 0b100, 0b100, 0b100, 0b011}},
    {'D', 3, {0b110, 0b101, 0b101, 0b101, 0b110}},
    {'E', 3, {0b111, 0b100, 0b110, 0b100, 0b111}},
    {'F', 3, {0b111, 0b100, 0b110, 0b100, 0b100}},
    {'G', 4, {0b0111, 0b1000, 0b1011, 0b1001, 0b0111}},
    {'H', 3, {0b101, 0b101, 0b111, 0b101, 0b101}},
    {'I', 3, {0b111, 0b010, 0b010, 0b010, 0b111}},
    {'J', 3, {0b001, 0b001, 0b001, 0b101, 0b010}},
    {'K', 4, {0b1001, 0b1010, 0b1100, 0b1010, 0b1001}},
    {'L', 3, {0b100, 0b100, 0b100, 0b100, 0b111}},
    {'M', 5, {0b10001, 0b11011, 0b10101, 0b10001, 0b10001}},
    {'N', 4, {0b1001, 0b1101, 0b1011, 0b1001, 0b1001}},
    {'O', 4, {0b0110, 0b1001, 0b1001, 0b1001, 0b0110}},
    {'P', 3, {0b110, 0b101, 0b110, 0b100, 0b100}},
    {'Q', 4, {0b0110, 0b1001, 0b1001, 0b1011, 0b0111}},
    {'R', 3, {0b110, 0b101, 0b110, 0b101, 0b101}},
    {'S', 3, {0b011, 0b100, 0b010, 0b001, 0b110}},
    {'T', 3, {0b111, 0b010, 0b010, 0b010, 0b010}},
    {'U', 3, {0b101, 0b101, 0b101, 0b101, 0b111}},
    {'V', 3, {0b101, 0b101, 0b101, 0b101, 0b010}},
    {'W', 5, {0b10001, 0b10001, 0b10101, 0b11011, 0b10001}},
    {'X', 3, {0b101, 0b101, 0b010, 0b101, 0b101}},
    {'Y', 3, {0b101, 0b101, 0b010, 0b010, 0b010}},
    {'Z', 3, {0b111, 0b001, 0b010, 0b100, 0b111}},
    {'.', 1, {0, 0, 0, 0, 1}},
    {',', 2, {0, 0, 0, 0b01, 0b10}},
    {':', 1, {0, 1, 0, 1, 0}},
    {'-', 2, {0, 0, 0b11, 0, 0}},
    {'+', 3, {0, 0b010, 0b111, 0b010, 0}},
    {'=', 3, {0, 0b111, 0, 0b111, 0}},
    {'/', 3, {0b001, 0b001, 0b010, 0b100, 0b100}},
    {'%', 3, {0b101, 0b001, 0b010, 0b100, 0b101}},
    {'(', 2, {0b01, 0b10, 0b10, 0b10, 0b01}},
    {')', 2, {0b10, 0b01, 0b01, 0b01, 0b10}},
    {'_', 3, {0, 0, 0, 0, 0b111}},
    {'\'', 1, {1, 1, 0, 0, 0}},
    {'*', 3, {0, 0b101, 0b010, 0b101, 0}},
    {'<', 3, {0b001, 0b010, 0b100, 0b010, 0b001}},
    {'>', 3, {0b100, 0b010, 0b001, 0b010, 0b100}},
    {'?', 3, {0b111, 0b001, 0b011, 0b000, 0b010}},
}};

[[nodiscard]] constexpr const Glyph& glyph_of(char letter) {
  if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  for (const Glyph& glyph : glyphs) {
    if (glyph.letter == letter) return glyph;
  }
  return glyphs.back();
}

}  // namespace detail

/// Rows of a line of text at scale 1.
inline constexpr Index text_height = 5;

/// Columns of a line of text. Small letters are drawn as capitals, unknown ones as '?'.
[[nodiscard]] constexpr Index text_width(std::string_view text, Index scale = 1) {
  Index width = text.empty() ? 0 : -1;
  for (const char letter : text) width += detail::glyph_of(letter).width + 1;
  return width * scale;
}

/// Draws a line of text with its upper left corner at row y, column x of an RGB picture; each of a letter's
/// pixels is `scale` pixels a side. What lies outside the picture is cut off. Throws `ShapeError`.
/// Test: tests/pictures/pictures.cpp.
inline void draw_text(Image<std::uint8_t>& picture, Index y, Index x, std::string_view text, Colour colour,
                      Index scale = 1) {
  require_shape(picture.channels() == 3 && scale >= 1, "text in a picture of ", picture.channels(),
                " channels at scale ", scale, "; expected 3 and at least 1");
  for (const char letter : text) {
    const detail::Glyph& glyph = detail::glyph_of(letter);
    for (Index i = 0; i < scale * text_height; ++i) {
      for (Index j = 0; j < scale * glyph.width; ++j) {
        const unsigned row = glyph.rows[static_cast<std::size_t>(i / scale)];
        const bool set = (row >> static_cast<unsigned>(glyph.width - 1 - j / scale) & 1U) != 0;
        const bool inside = y + i >= 0 && y + i < picture.height() && x + j >= 0 && x + j < picture.width();
        if (set && inside) std::copy(colour.begin(), colour.end(), &picture(y + i, x + j, 0));
      }
    }
    x += (glyph.width + 1) * scale;
  }
}

}  // namespace dssl
