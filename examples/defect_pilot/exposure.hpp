// Images as another exposure, or an older camera, would have taken them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/data/source.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/pasted_defect.hpp>
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

/// What an image is, whatever is on it: what a score may follow without seeing a defect.
struct ImageFacts {
  double area = 0;        ///< pixels
  double brightness = 0;  ///< mean of its values, of the full scale
};

[[nodiscard]] inline ImageFacts facts_of(const AnyImage& image) {
  return std::visit(
      [](const auto& from) {
        using P = typename std::decay_t<decltype(from)>::value_type;
        double sum = 0;
        for (const P v : from.pixels()) sum += static_cast<double>(v) / static_cast<double>(full_scale<P>);
        return ImageFacts{static_cast<double>(from.height() * from.width()), sum / static_cast<double>(from.pixels().size())};
      },
      image);
}

/// Which of inspected images, how they are taken, and whether defects are pasted on them.
struct PilotView {
  const Inspected& images;
  Exposure how{.name = "as taken"};
  std::vector<Index> chosen{};  ///< their numbers; empty: all
  Index pasted = 0;             ///< defects that are pasted on each, an image each; 0: they stay as they are
  std::uint64_t seed = 0;       ///< of the pasted ones
};

/// Inspected images of another exposure, with their masks, or with pasted defects and theirs. Each brings a mask of its
/// foreground where there is a rule of it: that of the image as taken, so that other light changes what is seen and not what counts.
class PilotImages {
 public:
  PilotImages(const PilotView& view, const Foreground& foreground)
      : x_view(view), x_foreground(foreground), x_facts(std::make_shared<std::vector<ImageFacts>>(static_cast<std::size_t>(size()))) {}
  [[nodiscard]] Index size() const {
    return (x_view.chosen.empty() ? x_view.images.size() : static_cast<Index>(x_view.chosen.size())) * x_each();
  }
  [[nodiscard]] std::string name(Index i) const {
    return join(x_view.images.name(number(i)), x_view.pasted > 0 ? ", with a pasted defect" : "");
  }
  /// Of image i in the inspected ones.
  [[nodiscard]] Index number(Index i) const {
    return x_view.chosen.empty() ? i / x_each() : x_view.chosen[static_cast<std::size_t>(i / x_each())];
  }
  [[nodiscard]] bool defect(Index i) const { return x_view.pasted > 0 || x_view.images.truth(number(i)) == Truth::defect; }
  /// Once the image was loaded.
  [[nodiscard]] const ImageFacts& facts(Index i) const { return (*x_facts)[static_cast<std::size_t>(i)]; }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = x_view.images.load(number(i));
    // Each image is loaded by one thread, and looked at after it was handed over.
    (*x_facts)[static_cast<std::size_t>(i)] = facts_of(out.image);
    Image<std::uint8_t> counts = x_foreground.of(out, name(i));
    if (x_view.pasted > 0) {
      out = paste_defect(out.image, pasted_kind(i / x_each(), i % x_each()), static_cast<std::uint64_t>(i), {.seed = x_view.seed}, counts);
    }
    out.foreground = std::move(counts);
    out.image = exposed(out.image, x_view.how, static_cast<std::uint64_t>(number(i)));
    return out;
  }

 private:
  [[nodiscard]] Index x_each() const { return std::max<Index>(1, x_view.pasted); }

  PilotView x_view;
  Foreground x_foreground;
  std::shared_ptr<std::vector<ImageFacts>> x_facts;
};

}  // namespace dssl::programs
