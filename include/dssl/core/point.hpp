// A point of a view.
#pragma once

namespace dssl {

/// A point in the coordinates of a view: x to the right, y down, [-1, 1] from edge to edge.
struct Point {
  double x = 0;
  double y = 0;

  [[nodiscard]] constexpr bool operator==(const Point&) const = default;
};

}  // namespace dssl
