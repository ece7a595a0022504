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

/// Where a view lies in its scene: the scene's positions of the view's upper left and lower right corners, in a unit that
/// all views of an image share. The left corner of a mirrored view lies on the right.
struct ViewFrame {
  Point first{};
  Point last{};

  [[nodiscard]] constexpr bool operator==(const ViewFrame&) const = default;
};

}  // namespace dssl
