// A point of a view, or of an overlap of views: the type that views, points and tokens share.
#pragma once

namespace dssl {

/// A position (x to the right, y downwards). In a view both run over [-1, 1] from edge to edge;
/// relative to an overlap of views both run over [0, 1]. Where it is used says which.
struct Point {
  double x = 0;
  double y = 0;

  [[nodiscard]] constexpr bool operator==(const Point&) const = default;
};

}  // namespace dssl
