// Views upside down and turned by quarters: every pixel stays one.
// Tests: tests/views/warped_views.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <dssl/core/compiled.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/homography.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// A view's square turned in itself: upside down or not, then by so many quarters.
struct QuarterTurn {
  bool upside_down = false;
  int quarters = 0;  ///< 0 to 3, clockwise to the eye

  [[nodiscard]] constexpr bool upright() const { return !upside_down && quarters == 0; }
  /// Whether height and width change places.
  [[nodiscard]] constexpr bool lying() const { return quarters % 2 != 0; }
  /// Where a point of the turned square lies in the square as it was: x and y, or their negatives, or each
  /// other's.
  [[nodiscard]] Homography plane() const {
    constexpr std::array<std::array<double, 4>, 4> back{
        {{1, 0, 0, 1}, {0, 1, -1, 0}, {-1, 0, 0, -1}, {0, -1, 1, 0}}};
    const auto& m = back[static_cast<std::size_t>(quarters)];
    const double down = upside_down ? -1 : 1;
    return Homography({m[0], m[1], 0, down * m[2], down * m[3], 0, 0, 0, 1});
  }
  [[nodiscard]] bool operator==(const QuarterTurn&) const = default;
};

/// `from` (C,h,w) turned: out (C,h,w), or (C,w,h) where it lies then.
template <WorkType W>
void turn(PlanarImage<W>& out, const PlanarImage<W>& from, const QuarterTurn& by) {
  const Index height = by.lying() ? from.width() : from.height(),
              width = by.lying() ? from.height() : from.width();
  out.reshape(from.channels(), height, width);
  // Pixel (y, x) comes from pixel first + y down + x right.
  const Index rows = from.width();
  const auto at = [&](bool bottom, bool right) {
    return (bottom ? (from.height() - 1) * rows : 0) + (right ? from.width() - 1 : 0);
  };
  Index first = 0, down = 0, right = 0;
  switch (by.quarters) {
    case 1:
      first = at(true, false), down = 1, right = -rows;
      break;
    case 2:
      first = at(true, true), down = -rows, right = -1;
      break;
    case 3:
      first = at(false, true), down = -1, right = rows;
      break;
    default:
      first = 0, down = rows, right = 1;
  }
  if (by.upside_down) {  // rows from the other end
    const Index row = first / rows;
    first += (from.height() - 1 - 2 * row) * rows;
    (by.lying() ? right : down) *= -1;
  }
  for (Index c = 0; c < from.channels(); ++c) {
    for (Index y = 0; y < height; ++y) {
      const W* read = from.plane(c) + first + y * down;
      W* const to = out.row(c, y);
      for (Index x = 0; x < width; ++x) to[x] = read[x * right];
    }
  }
}

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them
DSSL_INSTANCE void dssl::turn(PlanarImage<std::uint8_t>&, const PlanarImage<std::uint8_t>&,
                              const QuarterTurn&);
DSSL_INSTANCE void dssl::turn(PlanarImage<float>&, const PlanarImage<float>&, const QuarterTurn&);
#endif
