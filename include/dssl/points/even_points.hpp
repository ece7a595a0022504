// Any number of points that lie evenly over the overlap of two views, elsewhere in each pair.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// K points of a sequence of low discrepancy, moved as a whole by a random shift: point k is
/// (frac(u + k / g), frac(v + k / g^2)), with g the real root of g^3 = g + 1 and u, v uniform in [0, 1).
///
/// Any first part of the sequence is even, so that K need be no square, and each point alone is uniform in the overlap.
/// The shift is one a view pair. Source: M. Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences" (R2);
/// the shift: Cranley and Patterson, 1976. Test: tests/points/coverage.cpp.
template <Index K = 8>
class EvenPoints {
  static_assert(K >= 1, "EvenPoints<K> needs at least one point a view pair");

 public:
  static constexpr std::string_view name = "even";
  static constexpr Index default_count = K;

  /// K points a view pair, or another number given at run time.
  /// Throws `OptionError` unless `points` is at least 1.
  explicit EvenPoints(Index points = K) : x_count(points) {
    if (points < 1) throw OptionError("points", points, "at least 1 point a view pair");
  }

  [[nodiscard]] Index count() const noexcept { return x_count; }

  /// Relative points of one view pair: `out` (K). Two numbers of the stream, x first, for all K.
  /// Throws `ShapeError` unless `out` has `count()` elements.
  void sample(std::span<Point> out, RandomStream& random) const {
    require_shape(static_cast<Index>(out.size()) == x_count, "EvenPoints: room for ", out.size(),
                  " points; expected ", x_count);
    constexpr double g = 1.3247179572447460260;
    const auto fraction = [](double x) { return x - std::floor(x); };
    const double u = random.uniform();
    const double v = random.uniform();
    for (std::size_t k = 0; k < out.size(); ++k) {
      const auto step = static_cast<double>(k);
      out[k] = {fraction(u + step * (1.0 / g)), fraction(v + step * (1.0 / (g * g)))};
    }
  }

 private:
  Index x_count;
};

}  // namespace dssl
