// Images as another exposure, or an older camera, would have taken them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/blur.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>

#include "defects/inspected.hpp"

namespace dssl::programs {

/// A way to take an image: value = gain x + noise of a normal distribution, cut at black and white, after a
/// blur.
struct Exposure {
  std::string name;
  double gain = 1;
  double noise = 0;  ///< deviation, of the full scale
  double blur = 0;   ///< pixels
};

/// What the pilot tries.
[[nodiscard]] inline std::vector<Exposure> exposures() {
  return {{.name = "as taken"},
          {.name = "half the light", .gain = 0.5},
          {.name = "light less 20 %", .gain = 0.8},
          {.name = "light more 25 %", .gain = 1.25},
          {.name = "twice the light", .gain = 2},
          {.name = "old camera: noise of 3 %", .noise = 0.03},
          {.name = "old lens: blur of 1.5 pixels", .blur = 1.5}};
}

/// The image of another exposure; the noise is the same for the same sample.
[[nodiscard]] inline AnyImage exposed(const AnyImage& image, const Exposure& how, std::uint64_t sample) {
  return std::visit(
      [&](const auto& from) -> AnyImage {
        using P = typename std::decay_t<decltype(from)>::value_type;
        PlanarImage<float> planes;
        planes.reshape(from.channels(), from.height(), from.width());
        const auto full = static_cast<double>(full_scale<P>);
        const auto pixels = static_cast<std::size_t>(from.height() * from.width());
        const auto channels = static_cast<std::size_t>(from.channels());
        for (std::size_t i = 0; i < pixels * channels; ++i) {
          planes.plane(static_cast<Index>(i % channels))[i / channels] =
              static_cast<float>(static_cast<double>(from.pixels()[i]) / full);
        }
        BlurWorkspace<float> workspace;
        gaussian_blur(planes, how.blur, workspace);
        RandomStream random({.seed = 1, .sample = sample, .view = 10, .purpose = Purpose::probe});
        auto out = from;
        for (std::size_t i = 0; i < pixels * channels; ++i) {
          const auto value =
              static_cast<double>(planes.plane(static_cast<Index>(i % channels))[i / channels]);
          const double noise = how.noise > 0 ? how.noise * random.normal() : 0.0;
          const double level = full * std::clamp(how.gain * value + noise, 0.0, 1.0);
          out.pixels()[i] =
              std::is_same_v<P, float> ? static_cast<P>(level) : static_cast<P>(std::lround(level));
        }
        return out;
      },
      image);
}

/// Inspected images of another exposure, with their masks.
class ExposedImages {
 public:
  ExposedImages(const Inspected& images, Exposure how) : x_images(images), x_how(std::move(how)) {}
  [[nodiscard]] Index size() const { return x_images.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_images.name(i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = x_images.load(i);
    out.image = exposed(out.image, x_how, static_cast<std::uint64_t>(i));
    return out;
  }

 private:
  const Inspected& x_images;
  Exposure x_how;
};

}  // namespace dssl::programs
