// Training samples at an image's own resolution: crops about labelled pixels and from anywhere, turned and mirrored.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/tiles.hpp>
#include <dssl/probe/tuning_samples.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/photometric.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/resample.hpp>

namespace dssl {

/// Which crops are cut, and what is done to them. Class 0 is the ground: no crop is centred on it.
struct NativeCropOptions {
  double scale = 1;          ///< every image is resized by this one factor first, as by `TileOptions::scale`; 1: as it is
  double balanced = 0.5;     ///< share of the samples whose crop lies about a labelled pixel that is not ground
  double off_centre = 0.25;  ///< how far that pixel may lie from the crop's middle, in extents of the crop
  bool flips = true;         ///< mirrored left to right, every other time
  bool turns = true;         ///< turned by 0 to 3 quarter turns
  double brightness = 0.1;   ///< added to all values, on the scale 0..1: from -brightness to brightness
  double contrast = 0.2;     ///< factor of all values about the crop's mean: from 1 - contrast to 1 + contrast

  /// Throws `OptionError` naming the field.
  void validate() const {
    const auto share = [](const char* field, double value, double most) {
      if (!(value >= 0 && value <= most)) throw OptionError(field, value, join("0 to ", most));
    };
    share("balanced", balanced, 1);
    share("off_centre", off_centre, 0.5);
    share("brightness", brightness, 1);
    share("contrast", contrast, 1);
    if (!(scale > 0 && std::isfinite(scale))) throw OptionError("scale", scale, "above 0");
  }
};

/// A picture resized by one factor, its mask read at the nearest pixel: what windows of `TileOptions::scale` are cut from.
/// At 1 the picture itself. Throws `ShapeError` for a mask of another size. Test: tests/probe/native_crops.cpp.
[[nodiscard]] inline LabelledImage scaled(LabelledImage picture, double scale, Interpolation kind) {
  const Index rows = picture.mask.height(), columns = picture.mask.width();
  require_shape(height(picture.image) == rows && width(picture.image) == columns, "an image of ", height(picture.image),
                " x ", width(picture.image), " pixels with a mask of ", rows, " x ", columns);
  if (scale == 1) return picture;
  const TileOptions tiles{.scale = scale};
  const Index h = tiles.resized(rows), w = tiles.resized(columns);
  Image<std::uint8_t> mask(h, w, 1);
  for (Index y = 0; y < h; ++y) {
    for (Index x = 0; x < w; ++x) mask(y, x, 0) = picture.mask((2 * y + 1) * rows / (2 * h), (2 * x + 1) * columns / (2 * w), 0);
  }
  return {std::visit([&](const auto& image) -> AnyImage { return resize(image, h, w, kind); }, picture.image), std::move(mask)};
}

/// A part of an image, pixel by pixel, and what is done to it: mirrored left to right, then turned clockwise.
struct NativeCrop {
  Index top = 0, left = 0;      ///< of the window in the image; below 0 where the image is smaller
  Index height = 0, width = 0;  ///< of the window; the crop's, exchanged where `turns` is odd
  bool flip = false;
  int turns = 0;     ///< quarter turns
  double gain = 1;   ///< about the mean of the crop's values
  double shift = 0;  ///< of the values on the scale 0..1

  /// Row and column of the image's pixel that pixel (y, x) of the crop shows; may lie outside the image.
  [[nodiscard]] std::pair<Index, Index> pixel(Index y, Index x) const {
    const auto [v, u] = turns == 1   ? std::pair{height - 1 - x, y}
                        : turns == 2 ? std::pair{height - 1 - y, width - 1 - x}
                        : turns == 3 ? std::pair{x, width - 1 - y}
                                     : std::pair{y, x};
    return {top + v, left + (flip ? width - 1 - u : u)};
  }
  [[nodiscard]] bool operator==(const NativeCrop&) const = default;
};

namespace detail {

/// A pixel of the mask, of a class that is not ground: the class drawn evenly among those that are there, then the
/// pixel.
[[nodiscard]] inline std::optional<std::pair<Index, Index>> drawn_pixel(const Image<std::uint8_t>& mask,
                                                                        const ClassMap& classes, RandomStream& random) {
  const auto counts_as = [&](std::uint8_t id) {
    const std::uint8_t own = classes.class_of(id);
    return own == ClassMap::ignored ? std::uint8_t{0} : own;
  };
  std::array<std::uint32_t, 256> pixels{};
  for (const std::uint8_t id : mask.pixels()) ++pixels[counts_as(id)];
  std::vector<std::uint8_t> there;
  for (std::size_t c = 1; c < pixels.size(); ++c) {
    if (pixels[c] > 0) there.push_back(static_cast<std::uint8_t>(c));
  }
  if (there.empty()) return std::nullopt;
  const std::uint8_t own = there[random.below(static_cast<std::uint32_t>(there.size()))];
  std::uint32_t left = random.below(pixels[own]);
  for (std::size_t i = 0;; ++i) {
    if (counts_as(mask.pixels()[i]) == own && left-- == 0)
      return std::pair{static_cast<Index>(i) / mask.width(), static_cast<Index>(i) % mask.width()};
  }
}

/// Where a window of `extent` begins on an axis of `pixels`: about pixel `about`, or anywhere; inside the axis, or
/// about all of it.
[[nodiscard]] inline Index drawn_begin(Index pixels, Index extent, std::optional<Index> about, double off_centre,
                                       RandomStream& random) {
  const double off = random.uniform(-off_centre, off_centre);  // drawn in any case: one number an axis
  const auto anywhere = static_cast<Index>(random.below(static_cast<std::uint32_t>(std::abs(pixels - extent) + 1)));
  if (pixels < extent) return -anywhere;
  if (!about) return anywhere;
  const Index begin = *about - extent / 2 + static_cast<Index>(std::lround(off * static_cast<double>(extent)));
  return std::clamp(std::clamp(begin, *about - extent + 1, *about), Index{0}, pixels - extent);
}

}  // namespace detail

/// Draws a crop of height x width pixels of an image from its mask; the same for the same key.
///
/// With `balanced` it shows a pixel of a class that is not ground, if the mask has one: each class that is there as
/// often as any other, near the middle. Otherwise, any place is as likely as any other. Where the image is smaller than
/// the crop, all of it is shown, somewhere in the crop. Test: tests/probe/native_crops.cpp.
[[nodiscard]] inline NativeCrop drawn_native_crop(const Image<std::uint8_t>& mask, const ClassMap& classes,
                                                  Index height, Index width, bool balanced,
                                                  const NativeCropOptions& options, const RandomKey& key) {
  RandomStream random(key);
  NativeCrop out;
  const auto turns = static_cast<int>(random.below(4));
  const bool flip = random.bernoulli(0.5);
  out.turns = options.turns ? turns : 0;
  out.flip = options.flips && flip;
  out.gain = 1 + options.contrast * random.uniform(-1, 1);
  out.shift = options.brightness * random.uniform(-1, 1);
  out.height = out.turns % 2 == 0 ? height : width;
  out.width = out.turns % 2 == 0 ? width : height;
  const auto about = balanced ? detail::drawn_pixel(mask, classes, random) : std::nullopt;
  const auto axis = [&](Index pixels, Index extent, std::optional<Index> at) {
    return detail::drawn_begin(pixels, extent, at, options.off_centre, random);
  };
  out.top = axis(mask.height(), out.height, about ? std::optional(about->first) : std::nullopt);
  out.left = axis(mask.width(), out.width, about ? std::optional(about->second) : std::nullopt);
  return out;
}

/// The crop as a network takes it, with the renderer's height, width, values and classes, and labels of label_height x
/// label_width.
///
///   v' = gain (v - m) + m + shift,   then (v' - mean) / deviation,   m the mean of the crop's values on the scale 0..1
///
/// Nothing is cut off. Beyond its ends the image is mirrored, and the labels there are void. Label (i, j) is that of
/// the pixel under the middle of cell (i, j). Throws `ShapeError` for a mask of another size or other channels than the
/// renderer's. Test: tests/probe/native_crops.cpp.
[[nodiscard]] inline LabelledInput render_native_crop(const InputRenderer& renderer, const LabelledImage& picture,
                                                      const NativeCrop& crop, Index label_height, Index label_width) {
  const InputOptions& o = renderer.options();
  const Index rows = picture.mask.height(), columns = picture.mask.width();
  require_shape(height(picture.image) == rows && width(picture.image) == columns, "an image of ", height(picture.image),
                " x ", width(picture.image), " pixels with a mask of ", rows, " x ", columns);
  require_shape(channels(picture.image) == o.channels, "an image of ", channels(picture.image), " channels; expected ",
                o.channels);
  require_shape((crop.turns % 2 == 0 ? crop.height : crop.width) == o.height &&
                    (crop.turns % 2 == 0 ? crop.width : crop.height) == o.width,
                "a crop of a window of ", crop.height, " x ", crop.width, " pixels and ", crop.turns,
                " quarter turns; expected ", o.height, " x ", o.width, " after them");
  PlanarImage<float> planes;
  planes.reshape(o.channels, o.height, o.width);
  double sum = 0;
  std::visit(
      [&](const auto& image) {
        using P = typename std::decay_t<decltype(image)>::value_type;
        for (Index y = 0; y < o.height; ++y) {
          for (Index x = 0; x < o.width; ++x) {
            const auto [v, u] = crop.pixel(y, x);
            for (Index c = 0; c < o.channels; ++c) {
              const float value = static_cast<float>(image(mirrored(v, rows), mirrored(u, columns), c)) / full_scale<P>;
              planes.plane(c)[y * o.width + x] = value;
              sum += static_cast<double>(value);
            }
          }
        }
      },
      picture.image);
  if (crop.gain != 1 || crop.shift != 0) {
    const auto mean = sum / static_cast<double>(o.channels * o.height * o.width);
    const auto gain = static_cast<float>(crop.gain), offset = static_cast<float>((1 - crop.gain) * mean + crop.shift);
    for (Index c = 0; c < o.channels; ++c) {
      for (Index i = 0; i < planes.plane_size(); ++i) planes.plane(c)[i] = gain * planes.plane(c)[i] + offset;
    }
  }
  LabelledInput out;
  out.image.resize(static_cast<std::size_t>(o.channels * o.height * o.width));
  normalise(std::span<float>(out.image), planes, o.mean, o.deviation);
  for (Index i = 0; i < label_height; ++i) {
    for (Index j = 0; j < label_width; ++j) {
      const auto [v, u] =
          crop.pixel((2 * i + 1) * o.height / (2 * label_height), (2 * j + 1) * o.width / (2 * label_width));
      const bool shown = v >= 0 && v < rows && u >= 0 && u < columns;
      out.labels.push_back(shown ? renderer.classes().class_of(picture.mask(v, u, 0)) : ClassMap::ignored);
      if (shown) ++out.census.pixels[picture.mask(v, u, 0)];
    }
  }
  return out;
}

/// Which images of a source show what.
struct LabelledParts {
  std::vector<Index> labelled;  ///< have a pixel of a class that is not ground; ascending
  std::vector<Index> others;    ///< can be read and have none; ascending
  LabelCensus census{};         ///< of all pixels of all masks

  [[nodiscard]] Index size() const { return static_cast<Index>(labelled.size() + others.size()); }
};

/// Looks at all masks of a source. Unreadable images are left out, as `SkipCounter`'s policy bears. Throws `DataError`.
template <SegmentationSource Source>
[[nodiscard]] LabelledParts labelled_parts(const Source& source, const ClassMap& classes, const LoaderOptions& loader,
                                           const SkipPolicy& skip, const SkipCounter::Warn& on_skip,
                                           const std::stop_token& token) {
  struct Seen {
    Index index = 0;
    LabelCensus census{};
    std::vector<SkippedImage> skipped{};
  };
  SkipCounter skips(skip, on_skip);
  OrderedLoader<Seen> masks(
      source.size(),
      [&](Index i) -> std::optional<Seen> {
        Seen out{.index = i};
        try {
          const LabelledImage picture = source.load(i);
          for (const std::uint8_t id : picture.mask.pixels()) ++out.census.pixels[id];
        } catch (const ImageError& error) {
          out.skipped.push_back(skipped_image(i, source.name(i), error));
        }
        return out;
      },
      loader, token);
  LabelledParts out;
  while (const std::optional<Seen> seen = masks.next()) {
    skips.count(seen->skipped);
    if (!seen->skipped.empty()) continue;
    out.census += seen->census;
    bool labelled = false;
    for (Index c = 1; c < classes.classes(); ++c) labelled = labelled || seen->census.pixels[classes.id_of(c)] > 0;
    (labelled ? out.labelled : out.others).push_back(seen->index);
  }
  return out;
}

/// Which image the n-th sample is of, and whether its crop is a balanced one.
///
/// Of the first n samples floor(n balanced) are balanced ones, of the labelled images in turn, epoch after epoch in
/// drawn orders; the others are of all images likewise. A pure function of n; safe for threads.
class CropOrder {
 public:
  struct Sample {
    Index image = 0;
    Index place = 0;  ///< of that image among the labelled ones, then the others
    bool balanced = false;
  };

  /// `parts` must outlive it. Throws `DataError` where there is no image.
  CropOrder(const LabelledParts& parts, double balanced, std::uint64_t seed)
      : x_parts(parts),
        x_share(parts.labelled.empty() ? 0.0 : balanced),
        x_labelled(static_cast<Index>(parts.labelled.size()), seed),
        x_all(parts.size(), seed) {
    if (parts.size() < 1) throw DataError("the training set holds no images");
  }

  [[nodiscard]] Sample operator()(Index n) {
    const Index before = x_balanced_of(n);
    const std::size_t labelled = x_parts.labelled.size();
    const bool balanced = x_balanced_of(n + 1) > before;
    const std::size_t i = balanced ? x_at(x_labelled, before, static_cast<Index>(labelled))
                                   : x_at(x_all, n - before, x_parts.size());
    return {i < labelled ? x_parts.labelled[i] : x_parts.others[i - labelled], static_cast<Index>(i), balanced};
  }

 private:
  [[nodiscard]] Index x_balanced_of(Index n) const {
    return static_cast<Index>(std::floor(static_cast<double>(n) * x_share));
  }
  [[nodiscard]] static std::size_t x_at(EpochOrder& order, Index n, Index count) {
    return static_cast<std::size_t>(order(n / count, n % count));
  }

  const LabelledParts& x_parts;
  double x_share;
  EpochOrder x_labelled, x_all;
};

/// Calls on_batch(samples) up to `steps` times, each time with `batch` crops of the parts' images, until it returns
/// false.
///
/// Images are loaded ahead on oneTBB's threads; what comes depends on source, parts, options and seed alone. An image
/// that can no longer be read is replaced by the parts' next one, never by an image that is not theirs. Throws
/// `DataError`, `OptionError`, and what `on_batch` throws. A stop request ends it before the next batch. Test: tests/probe/native_crops.cpp.
template <SegmentationSource Source, class OnBatch>
void each_crop_batch(const InputRenderer& renderer, const Source& source, const LabelledParts& parts,
                     Index label_height, Index label_width, Index steps, Index batch, const NativeCropOptions& options,
                     const LoaderOptions& loading, const SkipPolicy& skip, std::uint64_t seed,
                     const SkipCounter::Warn& on_skip, const std::stop_token& token, const OnBatch& on_batch) {
  options.validate();
  CropOrder order(parts, options.balanced, seed);
  std::vector<Index> own(parts.labelled);
  own.insert(own.end(), parts.others.begin(), parts.others.end());
  const ChosenSamples<Source> images(source, std::move(own));
  SkipCounter skips(skip, on_skip);
  OrderedLoader<LoadedInput> loader(
      steps * batch,
      [&](Index n) -> std::optional<LoadedInput> {
        LoadedInput out{};
        const CropOrder::Sample sample = order(n);
        const LabelledImage picture = scaled(load_readable(out.skipped, out.index, images, sample.place, skip), options.scale,
                                             renderer.options().interpolation);
        out.index = images.number(out.index);
        for (SkippedImage& image : out.skipped) image.index = images.number(image.index);
        const NativeCrop crop = drawn_native_crop(
            picture.mask, renderer.classes(), renderer.options().height, renderer.options().width, sample.balanced,
            options, {.seed = seed, .sample = static_cast<std::uint64_t>(n), .view = 14, .purpose = Purpose::probe});
        out.input = render_native_crop(renderer, picture, crop, label_height, label_width);
        return out;
      },
      loading, token);
  detail::each_loaded_batch(loader, skips, steps, batch, token, on_batch);
}

}  // namespace dssl
