// Points on a regular grid over the overlap of two views.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// The centres of k x k cells of the overlap, K = k * k: point i * k + j is ((i + 1/2) / k, (j + 1/2) / k),
/// so y runs fastest. Draws no random numbers.
///
/// Source: docs/method.md, "Points". Test: geometry.safetensors (tests/points/samplers.cpp).
template <Index Side = 3>
class GridPoints {
  static_assert(Side >= 1, "GridPoints<k> needs at least one cell a side");

 public:
  static constexpr std::string_view name = "grid";
  static constexpr Index default_count = Side * Side;

  /// k cells a side, or another number given at run time.
  /// Throws `OptionError` unless `side` is 1 to 4096.
  explicit GridPoints(Index side = Side) : x_side(side) {
    if (side < 1 || side > 4096) throw OptionError("side", side, "1 to 4096 cells a side");
  }

  [[nodiscard]] Index count() const noexcept { return x_side * x_side; }

  /// Relative points of one view pair: `out` (K).
  /// Throws `ShapeError` unless `out` has `count()` elements.
  void sample(std::span<Point> out, RandomStream& /*random*/) const {
    require_shape(static_cast<Index>(out.size()) == count(), "GridPoints: room for ", out.size(),
                  " points; expected ", count());
    const auto side = static_cast<double>(x_side);
    std::size_t at = 0;
    for (Index i = 0; i < x_side; ++i) {
      for (Index j = 0; j < x_side; ++j) {
        out[at++] = {(static_cast<double>(i) + 0.5) / side, (static_cast<double>(j) + 0.5) / side};
      }
    }
  }

 private:
  Index x_side;
};

}  // namespace dssl
