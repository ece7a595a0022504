// Lines, boxes and discs in RGB pictures.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/pictures/colour_map.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// Mixes a colour into every pixel whose middle lies within reach of a shape: by the share of the pixel it
/// covers, taken as 0.5 + reach - distance. `distance(x, y)` is that of a position in pixels.
template <class Distance>
void draw_shape(Image<std::uint8_t>& picture, ScenePoint first, ScenePoint last, double reach, Colour colour,
                const Distance& distance) {
  require_shape(picture.channels() == 3, "drawing in a picture of ", picture.channels(),
                " channels; expected 3");
  const auto bound = [&](double value, Index extent) {
    return std::clamp<Index>(static_cast<Index>(std::clamp(value, -1.0, static_cast<double>(extent) + 1)), 0,
                             extent);
  };
  const Index y_end = bound(last.y + reach + 2, picture.height());
  const Index x_end = bound(last.x + reach + 2, picture.width());
  const Index x_begin = bound(first.x - reach - 1, picture.width());
  for (Index y = bound(first.y - reach - 1, picture.height()); y < y_end; ++y) {
    for (Index x = x_begin; x < x_end; ++x) {
      const double away = distance(static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5);
      const double share = std::clamp(0.5 + reach - away, 0.0, 1.0);
      if (share == 0) continue;
      for (std::size_t c = 0; c < 3; ++c) {
        std::uint8_t& pixel = picture(y, x, static_cast<Index>(c));
        pixel = static_cast<std::uint8_t>((1 - share) * pixel + share * colour[c] + 0.5);
      }
    }
  }
}

}  // namespace detail

/// Draws a straight line, `thickness` pixels thick with round ends; positions in pixels, pixel i spans [i, i
/// + 1]. Edges are smooth; what lies outside the picture is cut off. Throws `ShapeError`. Test:
/// tests/pictures/pictures.cpp.
inline void draw_line(Image<std::uint8_t>& picture, ScenePoint from, ScenePoint to, Colour colour,
                      double thickness = 1) {
  const double dx = to.x - from.x;
  const double dy = to.y - from.y;
  const double squared = dx * dx + dy * dy;
  detail::draw_shape(
      picture, {std::min(from.x, to.x), std::min(from.y, to.y)},
      {std::max(from.x, to.x), std::max(from.y, to.y)}, 0.5 * thickness, colour, [&](double x, double y) {
        const double along =
            squared > 0 ? std::clamp(((x - from.x) * dx + (y - from.y) * dy) / squared, 0.0, 1.0) : 0.0;
        return std::hypot(x - from.x - along * dx, y - from.y - along * dy);
      });
}

/// Draws a filled disc. As `draw_line`.
inline void draw_disc(Image<std::uint8_t>& picture, ScenePoint middle, double radius, Colour colour) {
  detail::draw_shape(picture, middle, middle, radius, colour,
                     [&](double x, double y) { return std::hypot(x - middle.x, y - middle.y); });
}

/// Draws a point: a disc with a dark rim, seen on any ground. As `draw_line`.
inline void draw_point(Image<std::uint8_t>& picture, ScenePoint middle, double radius, Colour colour) {
  draw_disc(picture, middle, radius + std::max(1.0, 0.35 * radius), {16, 20, 24});
  draw_disc(picture, middle, radius, colour);
}

/// Draws the outline of a box of whole pixels: its outermost `thickness` rows and columns. As `draw_line`.
inline void draw_box(Image<std::uint8_t>& picture, const Box& box, Colour colour, Index thickness = 1) {
  require_shape(picture.channels() == 3, "drawing in a picture of ", picture.channels(),
                " channels; expected 3");
  const Index y_end = std::min(box.y + box.height, picture.height());
  const Index x_end = std::min(box.x + box.width, picture.width());
  for (Index y = std::max<Index>(box.y, 0); y < y_end; ++y) {
    for (Index x = std::max<Index>(box.x, 0); x < x_end; ++x) {
      const Index to_edge =
          std::min({y - box.y, box.y + box.height - 1 - y, x - box.x, box.x + box.width - 1 - x});
      if (to_edge < thickness) std::copy(colour.begin(), colour.end(), &picture(y, x, 0));
    }
  }
}

}  // namespace dssl
