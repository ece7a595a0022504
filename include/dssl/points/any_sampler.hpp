// A point sampler that is chosen at run time.
// Tests: tests/points/scene_points.cpp, tests/train/trainer.cpp.
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/concepts.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/points/teacher_points.hpp>

namespace dssl {

/// Any sampler without its type, so that a program offers them all and compiles a recipe once: the points,
/// and the recipe in words, are those of the sampler itself. One call through a pointer for each pair of
/// views, one more an image.
class AnySampler {
 public:
  /// `RandomPoints<2>`, as published.
  AnySampler() : AnySampler(RandomPoints<2>()) {}
  template <PointSampler Sampler>
    requires(!std::same_as<Sampler, AnySampler>)
  AnySampler(Sampler sampler)  // NOLINT: taken wherever a program's sampler is
      : x_count(sampler.count()), x_words(sampler_words(sampler)), x_drawn(dssl::drawn_by_teacher(sampler)) {
    x_look = [shared = std::make_shared<const Sampler>(std::move(sampler))](const SampledScene& scene) {
      using Drawing = decltype(points_of_scene(*shared, scene));
      return Scene([shared, drawing = Drawing(points_of_scene(*shared, scene))](
                       std::span<Point> out, RandomStream& random, const ViewFrame& region) {
        drawing.sample(out, random, region);
      });
    };
  }
  /// The points of several, as `MixedPoints`. Throws `OptionError` where there is none.
  explicit AnySampler(std::vector<AnySampler> parts) : x_words("mixed (") {
    if (parts.empty()) throw OptionError("samplers", 0, "at least one");
    for (const AnySampler& part : parts) {
      x_words += join(x_count == 0 ? "" : ", ", part.words(), " ", part.count());
      for (TeacherDrawn drawn : part.drawn_by_teacher()) {
        drawn.first += x_count;
        x_drawn.push_back(drawn);
      }
      x_count += part.count();
    }
    x_words += ")";
    x_look = [parts = std::move(parts)](const SampledScene& scene) {
      std::vector<std::pair<std::size_t, Scene>> scenes;
      for (const AnySampler& part : parts)
        scenes.emplace_back(static_cast<std::size_t>(part.count()), part.look(scene));
      return Scene(
          [scenes = std::move(scenes)](std::span<Point> out, RandomStream& random, const ViewFrame& region) {
            for (const auto& [count, part] : scenes) {
              part.sample(out.first(count), random, region);
              out = out.subspan(count);
            }
          });
    };
  }

  [[nodiscard]] Index count() const noexcept { return x_count; }
  [[nodiscard]] const std::string& words() const noexcept { return x_words; }
  /// Those of its points that the step's teacher chooses; none where no part asks it.
  [[nodiscard]] const std::vector<TeacherDrawn>& drawn_by_teacher() const noexcept { return x_drawn; }

  /// What draws the points of one scene.
  class Scene {
   public:
    using Draw = std::function<void(std::span<Point>, RandomStream&, const ViewFrame&)>;
    explicit Scene(Draw draw) : x_draw(std::move(draw)) {}
    void sample(std::span<Point> out, RandomStream& random, const ViewFrame& region) const {
      x_draw(out, random, region);
    }

   private:
    Draw x_draw;
  };

  [[nodiscard]] Scene look(const SampledScene& scene) const { return x_look(scene); }

 private:
  Index x_count = 0;
  std::string x_words;
  std::vector<TeacherDrawn> x_drawn;
  std::function<Scene(const SampledScene&)> x_look;
};

}  // namespace dssl
