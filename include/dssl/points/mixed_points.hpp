// Points of several samplers together.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// The points of each sampler, in the order of `Samplers`: K is the sum of theirs. All draw from one stream, one after
/// the other. `MixedPoints<GridPoints<3>, RandomPoints<4>>` has 13 points. Test: tests/points/coverage.cpp.
template <class... Samplers>
class MixedPoints {
  static_assert(sizeof...(Samplers) >= 1, "MixedPoints needs at least one sampler");

 public:
  static constexpr std::string_view name = "mixed";
  static constexpr Index default_count = (Index{0} + ... + Samplers::default_count);

  /// Each sampler's own number of points.
  MixedPoints() = default;
  /// Samplers that are there already, with numbers given at run time.
  explicit MixedPoints(Samplers... samplers) : x_samplers(std::move(samplers)...) {}

  [[nodiscard]] Index count() const {
    return std::apply([](const auto&... each) { return (Index{0} + ... + Index{each.count()}); }, x_samplers);
  }

  /// Relative points of one view pair: `out` (K). Throws `ShapeError` unless `out` has `count()` elements.
  void sample(std::span<Point> out, RandomStream& random) const {
    require_shape(static_cast<Index>(out.size()) == count(), "MixedPoints: room for ", out.size(), " points; expected ",
                  count());
    const auto next = [&](const auto& each) {
      const auto size = static_cast<std::size_t>(each.count());
      each.sample(out.first(size), random);
      out = out.subspan(size);
    };
    std::apply([&](const auto&... each) { (next(each), ...); }, x_samplers);
  }

 private:
  std::tuple<Samplers...> x_samplers;
};

}  // namespace dssl
