// Numbers of patches or pixels as colours: alone, over an image, and the scale that says what they mean.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/pictures/colour_map.hpp>
#include <dssl/pictures/lettering.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// The values that the two ends of the colours stand for.
struct ValueRange {
  double low = 0;
  double high = 1;

  /// Where a value lies between the ends, 0 to 1; 0 where the ends are one.
  [[nodiscard]] double place(double value) const { return high > low ? (value - low) / (high - low) : 0.0; }
  [[nodiscard]] bool operator==(const ValueRange&) const = default;
};

/// The least and the largest of values; those that are not numbers are passed over. 0 to 0 for none.
template <class T>
[[nodiscard]] ValueRange range_of(std::span<const T> values) {
  ValueRange out{0, 0};
  bool any = false;
  for (const T value : values) {
    const auto v = static_cast<double>(value);
    if (!std::isfinite(v)) continue;
    out = any ? ValueRange{std::min(out.low, v), std::max(out.high, v)} : ValueRange{v, v};
    any = true;
  }
  return out;
}

/// One number for each cell of `grid` as a picture of height x width pixels in `heat_colour`: enlarged first,
/// coloured then. A heat map of pixels has a grid of as many cells. Throws `ShapeError`. Test:
/// tests/pictures/pictures.cpp.
template <class T>
[[nodiscard]] Image<std::uint8_t> heat_map(std::span<const T> cells, GridSize grid, Index height, Index width,
                                           const ValueRange& range, Enlargement how = Enlargement::bilinear) {
  Image<std::uint8_t> out(height, width, 3);
  std::vector<T> values(static_cast<std::size_t>(height * width));
  enlarge(std::span<T>(values), cells, grid, height, width, how);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Colour colour = heat_colour(range.place(static_cast<double>(values[i])));
    std::copy(colour.begin(), colour.end(), out.pixels().begin() + static_cast<Index>(3 * i));
  }
  return out;
}

/// The same over an RGB image, whose colours are turned to grey so that they are not taken for the map's:
/// (1 - alpha) grey + alpha heat. alpha in [0, 1]. Throws `ShapeError`, `OptionError`. Test:
/// tests/pictures/pictures.cpp.
template <class T>
[[nodiscard]] Image<std::uint8_t> heat_overlay(const Image<std::uint8_t>& image, std::span<const T> cells,
                                               GridSize grid, const ValueRange& range,
                                               Enlargement how = Enlargement::bilinear, double alpha = 0.6) {
  require_shape(image.channels() == 3, "a heat map over an image of ", image.channels(),
                " channels; expected 3");
  if (!(alpha >= 0 && alpha <= 1)) throw OptionError("alpha", alpha, "0 to 1");
  Image<std::uint8_t> out = heat_map(cells, grid, image.height(), image.width(), range, how);
  for (std::size_t i = 0; i < out.pixels().size(); ++i) {
    const std::uint8_t* const rgb = image.pixels().data() + i / 3 * 3;
    const double grey = luma(rgb[0], rgb[1], rgb[2]);
    out.pixels()[i] = static_cast<std::uint8_t>((1 - alpha) * grey + alpha * out.pixels()[i] + 0.5);
  }
  return out;
}

/// What the colours of a heat map mean: a bar of `height` pixels, the largest value above, with the values of
/// both ends and the middle beside it, three digits each. Throws `ShapeError`. Test: tests/pictures/pictures.cpp.
[[nodiscard]] inline Image<std::uint8_t> colour_scale(Index height, const ValueRange& range,
                                                      Index scale = 1) {
  const std::array<double, 3> values{range.high, 0.5 * (range.low + range.high), range.low};
  std::array<std::string, 3> texts;
  Index text = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    std::array<char, 32> number{};
    std::snprintf(number.data(), number.size(), "%.3g", values[i]);
    texts[i] = number.data();
    text = std::max(text, text_width(texts[i], scale));
  }
  const Index bar = 8 * scale;
  Image<std::uint8_t> out(height, bar + 3 * scale + text, 3);
  std::fill(out.pixels().begin(), out.pixels().end(), std::uint8_t{255});
  for (Index y = 0; y < height; ++y) {
    const Colour colour =
        heat_colour(height > 1 ? 1 - static_cast<double>(y) / static_cast<double>(height - 1) : 0.5);
    for (Index x = 0; x < bar; ++x) std::copy(colour.begin(), colour.end(), &out(y, x, 0));
  }
  const Index line = text_height * scale;
  const std::array<Index, 3> rows{0, (height - line) / 2, height - line};
  for (std::size_t i = 0; i < 3; ++i) {
    // The middle has its number where it does not touch the others'.
    if (i == 1 && height < 4 * line) continue;
    draw_text(out, rows[i], bar + 2 * scale, texts[i], {16, 20, 24}, scale);
  }
  return out;
}

}  // namespace dssl
