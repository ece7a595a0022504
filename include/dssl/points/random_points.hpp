// Points drawn uniformly in the overlap of two views.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// K independent points, uniform in [0, 1)^2 of the overlap.
///
/// Source: docs/method.md, "Points". Test: tests/points/samplers.cpp.
template <Index K = 2>
class RandomPoints {
  static_assert(K >= 1, "RandomPoints<K> needs at least one point a view pair");

 public:
  static constexpr std::string_view name = "random";
  static constexpr Index default_count = K;

  /// K points a view pair, or another number given at run time.
  /// Throws `OptionError` unless `points` is at least 1.
  explicit RandomPoints(Index points = K) : x_count(points) {
    if (points < 1) throw OptionError("points", points, "at least 1 point a view pair");
  }

  [[nodiscard]] Index count() const noexcept { return x_count; }

  /// Relative points of one view pair: `out` (K). Two numbers of the stream a point, x first.
  /// Throws `ShapeError` unless `out` has `count()` elements.
  void sample(std::span<Point> out, RandomStream& random) const {
    require_shape(static_cast<Index>(out.size()) == x_count, "RandomPoints: room for ", out.size(),
                  " points; expected ", x_count);
    for (Point& p : out) {
      p.x = random.uniform();
      p.y = random.uniform();
    }
  }

 private:
  Index x_count;
};

}  // namespace dssl
