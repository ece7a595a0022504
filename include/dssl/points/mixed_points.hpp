// Points of several samplers together.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <dssl/concepts.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/points/teacher_points.hpp>

namespace dssl {

/// The points of each sampler, in the order of `Samplers`: K is the sum of theirs. All draw from one stream, one after
/// the other. `MixedPoints<GridPoints<3>, RandomPoints<4>>` has 13 points. It looks at the scene where one of them does.
/// Tests: tests/points/coverage.cpp, tests/points/scene_points.cpp.
template <PointSampler... Samplers>
class MixedPoints {
  static_assert(sizeof...(Samplers) >= 1, "MixedPoints needs at least one sampler");

 public:
  static constexpr Index default_count = (Index{0} + ... + Samplers::default_count);

  /// Each sampler's own number of points.
  MixedPoints() = default;
  /// Samplers that are there already, with numbers given at run time.
  explicit MixedPoints(Samplers... samplers) : x_samplers(std::move(samplers)...) {}

  [[nodiscard]] Index count() const {
    return std::apply([](const auto&... each) { return (Index{0} + ... + Index{each.count()}); }, x_samplers);
  }
  /// "mixed (grid 9, random 4)".
  [[nodiscard]] std::string words() const {
    std::string out;
    const auto add = [&out](const auto& each) {
      out += join(out.empty() ? "" : ", ", sampler_words(each), " ", each.count());
    };
    std::apply([&](const auto&... each) { (add(each), ...); }, x_samplers);
    return join("mixed (", out, ")");
  }

  /// What one of them asks a teacher for.
  static constexpr TeacherAsked asks = (TeacherAsked{} | ... | teacher_asked_by<Samplers>);
  /// Those of the points that a teacher chooses, in order.
  [[nodiscard]] std::vector<TeacherDrawn> drawn_by_teacher() const
    requires(AsksTeacher<Samplers> || ...)
  {
    std::vector<TeacherDrawn> out;
    Index before = 0;
    const auto add = [&](const auto& each) {
      for (TeacherDrawn drawn : dssl::drawn_by_teacher(each)) {
        drawn.first += before;
        out.push_back(drawn);
      }
      before += each.count();
    };
    std::apply([&](const auto&... each) { (add(each), ...); }, x_samplers);
    return out;
  }

  /// Relative points of one view pair: `out` (K). Throws `ShapeError` unless `out` has `count()` elements.
  void sample(std::span<Point> out, RandomStream& random) const
    requires(SamplesOverlap<Samplers> && ...)
  {
    x_require_room(out);
    std::apply([&](const auto&... each) { (each.sample(x_next(out, each.count()), random), ...); }, x_samplers);
  }

  /// What draws the points of one scene, likewise; this object must outlive it.
  [[nodiscard]] auto look(const SampledScene& scene) const
    requires(LooksAtScene<Samplers> || ...)
  {
    const auto seen = [&](const auto&... each) {
      return x_Scene<decltype(points_of_scene(each, scene))...>(*this, {points_of_scene(each, scene)...});
    };
    return std::apply(seen, x_samplers);
  }

 private:
  template <class... Scenes>
  class x_Scene {
   public:
    x_Scene(const MixedPoints& mixed, std::tuple<Scenes...> scenes) : x_mixed(&mixed), x_scenes(std::move(scenes)) {}

    void sample(std::span<Point> out, RandomStream& random, const ViewFrame& region) const {
      x_mixed->x_require_room(out);
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        (std::get<I>(x_scenes).sample(x_next(out, std::get<I>(x_mixed->x_samplers).count()), random, region), ...);
      }(std::index_sequence_for<Scenes...>{});
    }

   private:
    const MixedPoints* x_mixed;
    std::tuple<Scenes...> x_scenes;
  };

  void x_require_room(std::span<const Point> out) const {
    require_shape(static_cast<Index>(out.size()) == count(), "MixedPoints: room for ", out.size(), " points; expected ",
                  count());
  }

  /// The first so many points, which are taken off `out`.
  static std::span<Point> x_next(std::span<Point>& out, Index count) {
    const std::span<Point> first = out.first(static_cast<std::size_t>(count));
    out = out.subspan(first.size());
    return first;
  }

  std::tuple<Samplers...> x_samplers;
};

}  // namespace dssl
