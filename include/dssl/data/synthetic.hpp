// Scenes made by rule: textured objects on textured ground, with the exact class of every pixel.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/synthetic_shape.hpp>
#include <dssl/data/synthetic_texture.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// What a generated image's pixels are stored as.
enum class ScenePixels : std::uint8_t { bits8, bits16, real };

/// What `SyntheticScenes` generates.
struct SyntheticOptions {
  std::uint64_t seed = 0;
  Index count = 1000;  ///< number of scenes; scene i is the same whatever the count
  Index height = 128;
  Index width = 128;
  Index channels = 3;  ///< 1: grey, 3: RGB, others: as many bands between red, green and blue
  Index classes = 7;   ///< class ids, the ground's 0 among them: 2 to 255
  Index objects_min = 2;
  Index objects_max = 4;
  ScenePixels pixels = ScenePixels::bits8;
  bool defects = false;       ///< draws small defects (scratches, spots, pits) into some scenes
  double defect_share = 0.5;  ///< share of the scenes that have defects, if they are drawn

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (count < 1) throw OptionError("count", count, "at least 1");
    if (height < 16 || height > 65500) throw OptionError("height", height, "16 to 65500");
    if (width < 16 || width > 65500) throw OptionError("width", width, "16 to 65500");
    if (channels < 1) throw OptionError("channels", channels, "at least 1");
    if (classes < 2 || classes > 255) throw OptionError("classes", classes, "2 to 255");
    if (objects_min < 0) throw OptionError("objects_min", objects_min, "0 or more");
    if (objects_max < objects_min) throw OptionError("objects_max", objects_max, "objects_min or more");
    if (!(defect_share >= 0 && defect_share <= 1)) throw OptionError("defect_share", defect_share, "0 to 1");
  }
};

/// A generated scene: the image, the class of each pixel, and 1 where a pixel is part of a defect; masks
/// (H,W,1).
struct Scene {
  AnyImage image;
  Image<std::uint8_t> mask;
  Image<std::uint8_t> defects;
};

namespace detail {

using SceneColour = std::array<float, 3>;

[[nodiscard]] inline SceneColour colour_from_hsv(double hue, double saturation, double value) {
  SceneColour colour;
  for (std::size_t c = 0; c < 3; ++c) {
    // Each channel is a trapezoid of the hue, a third of a turn apart.
    const double t =
        6 * (hue + 1.0 - static_cast<double>(c) / 3 - std::floor(hue + 1.0 - static_cast<double>(c) / 3));
    const double ramp = std::clamp(std::abs(t - 3) - 1, 0.0, 1.0);
    colour[c] = static_cast<float>(value * (1 - saturation * (1 - ramp)));
  }
  return colour;
}

/// Draws one scene into RGB floats.
class ScenePainter {
 public:
  ScenePainter(const SyntheticOptions& options, Index index)
      : x_options(options),
        x_layout(key(index, 0)),
        x_noise(x_layout),
        x_unit(static_cast<float>(std::min(options.height, options.width)) / 128.0F),
        x_colours(static_cast<std::size_t>(options.height * options.width)),
        x_mask(options.height, options.width, 1),
        x_defects(options.height, options.width, 1) {
    paint_ground();
    const auto more = static_cast<std::uint32_t>(options.objects_max - options.objects_min);
    const Index objects = options.objects_min + static_cast<Index>(x_layout.below(more + 1));
    for (Index i = 0; i < objects; ++i) paint_object();
    // Defects have a stream of their own: the scene under them is the one without.
    RandomStream random(key(index, 1));
    if (options.defects && random.bernoulli(options.defect_share)) {
      const std::uint32_t defects = 1 + random.below(3);
      for (std::uint32_t i = 0; i < defects; ++i) paint_defect(random);
    }
  }

  [[nodiscard]] Scene finish(Index index) {
    Scene scene;
    switch (x_options.pixels) {
      case ScenePixels::bits8:
        scene.image = quantise<std::uint8_t>(index);
        break;
      case ScenePixels::bits16:
        scene.image = quantise<std::uint16_t>(index);
        break;
      case ScenePixels::real:
        scene.image = quantise<float>(index);
        break;
    }
    scene.mask = std::move(x_mask);
    scene.defects = std::move(x_defects);
    return scene;
  }

 private:
  [[nodiscard]] RandomKey key(Index index, std::uint32_t stream) const {
    return {.seed = x_options.seed,
            .sample = static_cast<std::uint64_t>(index),
            .view = stream,
            .purpose = Purpose::synthetic};
  }

  [[nodiscard]] SceneColour& colour(Index y, Index x) {
    return x_colours[static_cast<std::size_t>(y * x_options.width + x)];
  }

  [[nodiscard]] double draw(double low, double high) { return x_layout.uniform(low, high); }

  static void mix(SceneColour& to, const SceneColour& from, float share) {
    for (std::size_t c = 0; c < 3; ++c) to[c] += share * (from[c] - to[c]);
  }

  /// Clouds of two colours, fine grain, sometimes faint bands, under light from one side.
  void paint_ground() {
    const double hue = draw(0, 1);
    const double saturation = draw(0.08, 0.5);
    const double value = draw(0.35, 0.85);
    const SceneColour dark = colour_from_hsv(hue, saturation, value * draw(0.6, 0.8));
    const SceneColour bright = colour_from_hsv(hue + draw(-0.1, 0.1), saturation * draw(0.6, 1.0), value);
    const auto cloud = static_cast<float>(draw(14, 40)) * x_unit;
    const auto grain = static_cast<float>(draw(1.5, 3.0)) * x_unit;
    const float grain_weight = static_cast<float>(draw(0.1, 0.3));
    const float band_weight = x_layout.bernoulli(0.35) ? static_cast<float>(draw(0.1, 0.25)) : 0.0F;
    const auto band = static_cast<float>(draw(10, 24)) * x_unit;
    const double band_angle = draw(0, 3.14159265);
    const auto band_x = static_cast<float>(std::cos(band_angle)) / band;
    const auto band_y = static_cast<float>(std::sin(band_angle)) / band;
    const double light_angle = draw(0, 6.28318531);
    const double light = draw(0.0, 0.3);
    const auto light_x =
        static_cast<float>(light * std::cos(light_angle)) / static_cast<float>(x_options.width);
    const auto light_y =
        static_cast<float>(light * std::sin(light_angle)) / static_cast<float>(x_options.height);
    const float light_0 = 1 - 0.5F * (light_x * static_cast<float>(x_options.width) +
                                      light_y * static_cast<float>(x_options.height));
    x_light = {light_0, light_x, light_y};
    for (Index y = 0; y < x_options.height; ++y) {
      for (Index x = 0; x < x_options.width; ++x) {
        const auto px = static_cast<float>(x);
        const auto py = static_cast<float>(y);
        float t = x_noise.octaves(px / cloud, py / cloud, 2);
        t += grain_weight * (x_noise.smooth(px / grain + 91.5F, py / grain + 7.5F) - 0.5F);
        if (band_weight > 0) {
          t += band_weight *
               (4 * to_whole(px * band_x + py * band_y + 1.5F * x_noise.smooth(px / cloud, py / cloud)) - 1);
        }
        SceneColour& at = colour(y, x);
        at = dark;
        mix(at, bright, std::clamp(t, 0.0F, 1.0F));
        for (float& c : at) c *= light_at(px, py);
      }
    }
  }

  [[nodiscard]] float light_at(float x, float y) const {
    return x_light[0] + x_light[1] * x + x_light[2] * y;
  }

  void paint_object() {
    const auto label = 1 + x_layout.below(static_cast<std::uint32_t>(x_options.classes - 1));
    // A class is a texture, most often a shape, and half of the time a hue. Later rounds of classes use the
    // same kinds of texture with longer patterns and other shapes.
    const std::size_t kind = (label - 1) % texture_kinds;
    const std::size_t round = (label - 1) / texture_kinds;
    constexpr std::array<float, texture_kinds> periods{8, 10, 12, 11, 9, 10};
    Texture texture;
    texture.kind = static_cast<TextureKind>(kind);
    texture.period = periods[kind] * x_unit * std::pow(1.6F, static_cast<float>(round)) *
                     static_cast<float>(draw(0.85, 1.2));
    texture.duty = static_cast<float>(draw(0.85, 1.15));
    const bool own_shape = x_layout.bernoulli(0.7);
    const auto other_shape = x_layout.below(shape_kinds);
    const std::size_t outline = own_shape ? (label - 1 + round) % shape_kinds : other_shape;
    Shape shape = random_shape(static_cast<ShapeKind>(outline), x_layout);
    shape.radius = x_unit * static_cast<float>(draw(22, 40));
    shape.centre_x = static_cast<float>(draw(0.1, 0.9)) * static_cast<float>(x_options.width);
    shape.centre_y = static_cast<float>(draw(0.1, 0.9)) * static_cast<float>(x_options.height);

    const double own_hue = 0.381966 * static_cast<double>(label) + draw(-0.05, 0.05);
    const double any_hue = draw(0, 1);
    const double hue = x_layout.bernoulli(0.5) ? own_hue : any_hue;
    const double value = draw(0.65, 1.0);
    const SceneColour bright = colour_from_hsv(hue, draw(0.25, 0.75), value);
    const SceneColour dark =
        colour_from_hsv(hue + draw(-0.12, 0.12), draw(0.3, 0.9), value * draw(0.3, 0.55));

    const float shadow = 3 * x_unit;
    const float reach = shape.radius + 2 * shadow + 1;
    const Index first_y = std::max<Index>(0, static_cast<Index>(shape.centre_y - reach));
    const Index last_y = std::min<Index>(x_options.height - 1, static_cast<Index>(shape.centre_y + reach));
    const Index first_x = std::max<Index>(0, static_cast<Index>(shape.centre_x - reach));
    const Index last_x = std::min<Index>(x_options.width - 1, static_cast<Index>(shape.centre_x + reach));
    for (Index y = first_y; y <= last_y; ++y) {
      for (Index x = first_x; x <= last_x; ++x) {
        const auto px = static_cast<float>(x);
        const auto py = static_cast<float>(y);
        float own_x = 0;
        float own_y = 0;
        shape.to_own(own_x, own_y, py, px);
        const float distance = shape.distance(own_x, own_y);
        SceneColour& at = colour(y, x);
        if (distance > -0.5F) {
          float shadow_x = 0;
          float shadow_y = 0;
          shape.to_own(shadow_x, shadow_y, py - shadow, px - shadow);
          const float dark_share =
              std::clamp(0.5F - shape.distance(shadow_x, shadow_y) / (2 * shadow), 0.0F, 1.0F);
          for (float& c : at) c *= 1 - 0.45F * dark_share;
        }
        if (distance < 0.5F) {
          SceneColour surface = dark;
          mix(surface, bright, texture(x_noise, own_x, own_y));
          // Rounded edges: less light the nearer to the outline.
          const float shade =
              light_at(px, py) * (0.72F + 0.28F * std::clamp(-distance / (0.3F * shape.radius), 0.0F, 1.0F));
          for (float& c : surface) c *= shade;
          mix(at, surface, soft_step(-distance));
          if (distance <= 0) x_mask(y, x, 0) = static_cast<std::uint8_t>(label);
        }
      }
    }
  }

  /// A scratch (thin line), a spot (dark or bright) or a pit (dark with a bright rim), a few pixels in size.
  void paint_defect(RandomStream& random) {
    const std::uint32_t kind = random.below(3);
    const bool bright = random.bernoulli(0.5);
    const auto centre_x =
        static_cast<float>(random.uniform(0.05, 0.95)) * static_cast<float>(x_options.width);
    const auto centre_y =
        static_cast<float>(random.uniform(0.05, 0.95)) * static_cast<float>(x_options.height);
    const double angle = random.uniform(0, 3.14159265);
    const auto along_x = static_cast<float>(std::cos(angle));
    const auto along_y = static_cast<float>(std::sin(angle));
    const float half_length = kind == 0 ? x_unit * static_cast<float>(random.uniform(4, 10)) : 0.0F;
    const float half_width =
        x_unit * static_cast<float>(kind == 0 ? random.uniform(0.6, 1.1) : random.uniform(1.5, 3.5));
    const float reach = half_length + half_width + 2;
    const Index first_y = std::max<Index>(0, static_cast<Index>(centre_y - reach));
    const Index last_y = std::min<Index>(x_options.height - 1, static_cast<Index>(centre_y + reach));
    const Index first_x = std::max<Index>(0, static_cast<Index>(centre_x - reach));
    const Index last_x = std::min<Index>(x_options.width - 1, static_cast<Index>(centre_x + reach));
    for (Index y = first_y; y <= last_y; ++y) {
      for (Index x = first_x; x <= last_x; ++x) {
        const float dx = static_cast<float>(x) - centre_x;
        const float dy = static_cast<float>(y) - centre_y;
        const float along = std::clamp(dx * along_x + dy * along_y, -half_length, half_length);
        const float away_x = dx - along * along_x;
        const float away_y = dy - along * along_y;
        const float distance = std::sqrt(away_x * away_x + away_y * away_y) - half_width;
        if (distance >= 0.5F) continue;
        const bool light = kind == 2 ? distance > -0.35F * half_width : bright;
        const SceneColour stain = light ? SceneColour{0.95F, 0.95F, 0.92F} : SceneColour{0.05F, 0.04F, 0.04F};
        mix(colour(y, x), stain, 0.85F * soft_step(-distance));
        if (distance <= 0) x_defects(y, x, 0) = 1;
      }
    }
  }

  /// The colours as an image: bands mixed, a little sensor noise, rounded to T.
  template <PixelType T>
  [[nodiscard]] Image<T> quantise(Index index) const {
    const Index bands = x_options.channels;
    Image<T> image(x_options.height, x_options.width, bands);
    const std::vector<SceneColour> weights = band_weights();
    RandomStream random(key(index, 2));
    std::uint32_t bits = 0;
    int left = 0;
    std::size_t at = 0;
    const std::span<T> pixels = image.pixels();
    for (const SceneColour& c : x_colours) {
      for (const SceneColour& w : weights) {
        if (left == 0) {
          bits = random.bits();
          left = 4;
        }
        // One byte of noise: uniform over 5 levels of 255.
        const float noise = (static_cast<float>(bits & 0xFFU) / 255.0F - 0.5F) * (5.0F / 255.0F);
        bits >>= 8;
        --left;
        const float value = std::clamp(c[0] * w[0] + c[1] * w[1] + c[2] * w[2] + noise, 0.0F, 1.0F);
        if constexpr (std::is_same_v<T, float>) {
          pixels[at++] = value;
        } else {
          pixels[at++] = static_cast<T>(value * full_scale<T> + 0.5F);
        }
      }
    }
    return image;
  }

  [[nodiscard]] std::vector<SceneColour> band_weights() const {
    if (x_options.channels == 1) return {{0.299F, 0.587F, 0.114F}};
    std::vector<SceneColour> weights;
    for (Index band = 0; band < x_options.channels; ++band) {
      // From red at the first band over green to blue at the last.
      const float place = 2 * static_cast<float>(band) / static_cast<float>(x_options.channels - 1);
      SceneColour w;
      for (std::size_t c = 0; c < 3; ++c) w[c] = std::max(0.0F, 1 - std::abs(place - static_cast<float>(c)));
      weights.push_back(w);
    }
    return weights;
  }

  const SyntheticOptions& x_options;
  RandomStream x_layout;
  NoiseField x_noise;
  float x_unit;  // pixels that stand for one pixel of a scene of 128
  std::array<float, 3> x_light{};
  std::vector<SceneColour> x_colours;
  Image<std::uint8_t> x_mask;
  Image<std::uint8_t> x_defects;
};

}  // namespace detail

/// Generated scenes: several textured objects on textured ground, with exact masks; nothing is read or
/// stored.
///
/// The class of an object decides its texture, mostly its shape and sometimes its hue: colour alone does not
/// tell classes apart. Scene i depends on (seed, i) alone, on any thread; classes look alike under every
/// seed, so that scenes of one seed can train and those of another test. A pixel has the class of the topmost
/// object that covers its centre, or 0. Test: tests/data/synthetic.cpp.
class SyntheticScenes {
 public:
  /// Throws `OptionError`.
  explicit SyntheticScenes(const SyntheticOptions& options = {}) : x_options(options) {
    x_options.validate();
  }

  [[nodiscard]] const SyntheticOptions& options() const { return x_options; }
  [[nodiscard]] Index size() const { return x_options.count; }
  [[nodiscard]] std::string name(Index i) const { return join("scene ", i, " of seed ", x_options.seed); }

  /// Of its pixels.
  [[nodiscard]] Index bytes(Index /*i*/) const {
    const Index value = x_options.pixels == ScenePixels::bits8 ? 1 : x_options.pixels == ScenePixels::bits16 ? 2 : 4;
    return x_options.height * x_options.width * x_options.channels * value;
  }
  [[nodiscard]] ImageExtent extent(Index /*i*/) const { return {x_options.height, x_options.width}; }

  /// Scene i with both masks; i may be any number from 0 on.
  [[nodiscard]] Scene scene(Index i) const;

  /// Scene i as image and class mask.
  [[nodiscard]] LabelledImage load(Index i) const {
    Scene made = scene(i);
    return {std::move(made.image), std::move(made.mask)};
  }

 private:
  SyntheticOptions x_options;
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE Scene SyntheticScenes::scene(Index i) const { return detail::ScenePainter(x_options, i).finish(i); }
#endif

static_assert(SegmentationSource<SyntheticScenes> && ImageSource<ImagesOf<SyntheticScenes>>);

}  // namespace dssl
