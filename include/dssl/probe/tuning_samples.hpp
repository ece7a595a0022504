// The labelled samples of fine-tuning: crops of images in an order that is drawn, without end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/probe/drawn_crop.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/box_search.hpp>

namespace dssl {

/// How images become samples.
struct TuningSampleOptions {
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`
  std::vector<float> deviation{};
  bool augment = true;             ///< crops and flips; off: whole images
  AreaRange crop_area{0.25, 1.0};  ///< share of the image a crop shows
  AspectRange crop_aspect{};       ///< width / height of a crop
  double flip = 0.5;
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (!(crop_area.low > 0 && crop_area.low <= crop_area.high && crop_area.high <= 1))
      throw OptionError("crop_area", crop_area.low, "shares in (0, 1], the lower first");
    if (!(crop_aspect.low > 0 && crop_aspect.low <= crop_aspect.high))
      throw OptionError("crop_aspect", crop_aspect.low, "positive ratios, the lower first");
    if (!(flip >= 0 && flip <= 1)) throw OptionError("flip", flip, "0 to 1");
    loader.validate();
    skip.validate();
  }
};

/// The inputs of an extractor or a network of these options.
template <class Sizes>
[[nodiscard]] InputOptions tuning_input(const Sizes& sizes, const TuningSampleOptions& options) {
  return {.height = sizes.height,
          .width = sizes.width,
          .channels = sizes.channels,
          .fit = options.fit,
          .interpolation = options.interpolation,
          .mean = options.mean,
          .deviation = options.deviation};
}

namespace detail {

/// Calls on_batch(samples) up to `steps` times, each time with `batch` of what the loader gives, until it returns false, a
/// stop is requested, or there is no more.
template <class OnBatch>
void each_loaded_batch(OrderedLoader<LoadedInput>& loader, SkipCounter& skips, Index steps, Index batch,
                       const std::stop_token& token, const OnBatch& on_batch) {
  std::vector<LoadedInput> samples;
  for (Index step = 0; step < steps && !token.stop_requested(); ++step) {
    samples.clear();
    for (Index i = 0; i < batch; ++i) {
      std::optional<LoadedInput> next = loader.next();
      if (!next) return;
      skips.count(next->skipped);
      samples.push_back(std::move(*next));
    }
    if (!on_batch(std::as_const(samples))) return;
  }
}

}  // namespace detail

/// Calls on_batch(inputs) `steps` times, each time with `batch` samples of a source.
///
/// Samples follow each other in the order of `EpochOrder`, epoch after epoch, over the ends of batches; each
/// is a `drawn_crop` of its image. Images are loaded ahead on oneTBB's threads; what comes depends on source,
/// options and seed alone. An image that cannot be read is replaced by the one behind it: `index` is that of
/// the one that was used. Throws `DataError`, and what `on_batch` throws. A stop request ends it before the
/// next batch. Test: tests/probe/tuned_network.cpp.
template <class Source, class OnBatch>
void each_tuning_batch(const InputRenderer& renderer, const Source& source, Index label_height,
                       Index label_width, Index steps, Index batch, const TuningSampleOptions& options,
                       std::uint64_t seed, const SkipCounter::Warn& on_skip, const std::stop_token& token,
                       const OnBatch& on_batch) {
  static_assert(SegmentationSource<Source> || ImageSource<Source>,
                "fine-tuning takes a SegmentationSource or an ImageSource");
  options.validate();
  const Index count = source.size();
  if (count < 1) throw DataError("the training set holds no images");
  EpochOrder order(count, seed);
  SkipCounter skips(options.skip, on_skip);
  OrderedLoader<LoadedInput> loader(
      steps * batch,
      [&](Index n) -> std::optional<LoadedInput> {
        LoadedInput out{};
        const Index epoch = n / count;
        const LabelledImage picture = detail::with_mask(
            load_readable(out.skipped, out.index, source, order(epoch, n % count), options.skip));
        const Index height = picture.mask.height();
        const Index width = picture.mask.width();
        const CropMap crop =
            options.augment ? drawn_crop(height, width, options.crop_area, options.crop_aspect, options.flip,
                                         {.seed = seed,
                                          .epoch = static_cast<std::uint32_t>(epoch),
                                          .sample = static_cast<std::uint64_t>(n % count),
                                          .view = 3,
                                          .purpose = Purpose::probe})
                            : CropMap{.box = {0, 0, height, width}};
        out.input = renderer.render(picture, crop, label_height, label_width);
        return out;
      },
      options.loader, token);
  detail::each_loaded_batch(loader, skips, steps, batch, token, [&](const std::vector<LoadedInput>& samples) {
    on_batch(samples);
    return true;
  });
}

/// The images of loaded inputs, one behind the other.
[[nodiscard]] inline std::vector<float> images_of(const std::vector<LoadedInput>& samples) {
  std::vector<float> out;
  for (const LoadedInput& sample : samples)
    out.insert(out.end(), sample.input.image.begin(), sample.input.image.end());
  return out;
}

}  // namespace dssl
