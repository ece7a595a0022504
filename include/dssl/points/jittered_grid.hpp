// One point at random in each cell of a grid over the overlap of two views.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// One point uniform in each of k x k cells of the overlap, K = k * k: point i * k + j is ((i + u) / k, (j + v) / k)
/// with u and v uniform in [0, 1), so y runs fastest, as in `GridPoints`.
///
/// Covers the overlap as a grid does, and over the epochs every place of it as random points do: each point is uniform
/// in its cell, so a mean over the K points has the expectation of `RandomPoints` and never more variance.
/// Test: tests/points/coverage.cpp.
template <Index Side = 3>
class JitteredGrid {
  static_assert(Side >= 1, "JitteredGrid<k> needs at least one cell a side");

 public:
  static constexpr std::string_view name = "jittered";
  static constexpr Index default_count = Side * Side;

  /// k cells a side, or another number given at run time.
  /// Throws `OptionError` unless `side` is 1 to 4096.
  explicit JitteredGrid(Index side = Side) : x_side(side) {
    if (side < 1 || side > 4096) throw OptionError("side", side, "1 to 4096 cells a side");
  }

  [[nodiscard]] Index count() const noexcept { return x_side * x_side; }

  /// Relative points of one view pair: `out` (K). Two numbers of the stream a point, x first.
  /// Throws `ShapeError` unless `out` has `count()` elements.
  void sample(std::span<Point> out, RandomStream& random) const {
    require_shape(static_cast<Index>(out.size()) == count(), "JitteredGrid: room for ", out.size(),
                  " points; expected ", count());
    const auto side = static_cast<double>(x_side);
    std::size_t at = 0;
    for (Index i = 0; i < x_side; ++i) {
      for (Index j = 0; j < x_side; ++j, ++at) {
        out[at].x = (static_cast<double>(i) + random.uniform()) / side;
        out[at].y = (static_cast<double>(j) + random.uniform()) / side;
      }
    }
  }

 private:
  Index x_side;
};

}  // namespace dssl
