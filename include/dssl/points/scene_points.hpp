// The seam between a point sampler and the scene: those that look at it, and those that do not.
// Tests: tests/points/scene_points.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <dssl/concepts.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// What a sampler that looks at the scene is shown: the image that the views are cut out of, as it was read.
struct SampledScene {
  AnyImageView image;
  Index index = 0;  ///< of the image in its source; where one stands in for an unreadable one, its own
};

/// What draws the points of a scene for a sampler that does not look: the sampler, which must outlive it.
template <SamplesOverlap Sampler>
class UnseenScene {
 public:
  explicit UnseenScene(const Sampler& sampler) : x_sampler(&sampler) {}

  void sample(std::span<Point> out, RandomStream& random, const ViewFrame& /*region*/) const {
    x_sampler->sample(out, random);
  }

 private:
  const Sampler* x_sampler;
};

/// What draws the points of all pairs of views of one scene, by sample(out, random, region): what the sampler
/// made of the scene, or the sampler itself, for which nothing is done here. The sampler must outlive it.
template <PointSampler Sampler>
[[nodiscard]] auto points_of_scene(const Sampler& sampler, const SampledScene& scene) {
  if constexpr (LooksAtScene<Sampler>) {
    return sampler.look(scene);
  } else {
    return UnseenScene<Sampler>(sampler);
  }
}

/// How a sampler is told in the words of a recipe: its words(), its `name`, or "own".
template <PointSampler Sampler>
[[nodiscard]] std::string sampler_words(const Sampler& sampler) {
  if constexpr (requires { std::string(sampler.words()); }) {
    return sampler.words();
  } else if constexpr (requires { std::string_view(Sampler::name); }) {
    return std::string(std::string_view(Sampler::name));
  } else {
    return "own";
  }
}

}  // namespace dssl
