// Points where the scene has edges and texture.
#pragma once

#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/points/weighted_points.hpp>

namespace dssl {

/// K points a pair of views, each drawn alone with a density that is the scene's gradient energy there
/// (`gradient_energy`), in cells of at most a 32nd of its height and width; uniform where it is flat.
///
/// The energy is that of the image as it was read, before any change of a view's colours. No publication is
/// its reference. Cost: a pass over the image's pixels, once an image. Test: tests/points/scene_points.cpp.
template <Index K = 2>
class SalientPoints {
  static_assert(K >= 1, "SalientPoints<K> needs at least one point a view pair");

 public:
  static constexpr std::string_view name = "salient";
  static constexpr Index default_count = K;

  /// K points a view pair, or another number given at run time.
  /// Throws `OptionError` unless `points` is at least 1.
  explicit SalientPoints(Index points = K) : x_count(points) {
    if (points < 1) throw OptionError("points", points, "at least 1 point a view pair");
  }

  [[nodiscard]] Index count() const noexcept { return x_count; }

  [[nodiscard]] PointWeights look(const SampledScene& scene) const { return gradient_energy(scene.image); }

 private:
  Index x_count;
};

}  // namespace dssl
