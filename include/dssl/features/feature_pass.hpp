// A source of images through a frozen backbone, a batch at a time.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/features/labelled_input.hpp>

namespace dssl {

/// How a pass loads its images.
struct FeaturePassOptions {
  Index label_height = 0;  ///< of the labels handed on; 0: the input's
  Index label_width = 0;
  LoaderOptions loader{};
  SkipPolicy skip{};
  /// Features that are not finite, or number for number the same for images that differ, end the pass: no figure made
  /// of them means anything. A monitor of a run in training shows a collapse instead.
  bool require_sound = true;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (label_height < 0) throw OptionError("label_height", label_height, "0 (the input's) or more");
    if (label_width < 0) throw OptionError("label_width", label_width, "0 (the input's) or more");
    loader.validate();
    skip.validate();
  }
};

/// One image of a pass; valid during the call.
template <class T>
struct PassedImage {
  Index index = 0;                  ///< in the source
  const LabelledInput& input;       ///< (C,h,w) and its labels
  MatrixView<const T> patches;      ///< (N,D) in the backend's memory; empty where not read
  MatrixView<const T> class_token;  ///< (1,D) likewise
};

/// What a pass went over.
struct FeaturePassCount {
  Index images = 0;
  Index unreadable = 0;         ///< left out
  Index unreadable_labels = 0;  ///< those of them whose mask alone could not be read
  LabelCensus census{};         ///< of the labels handed on

  FeaturePassCount& operator+=(const FeaturePassCount& other) {
    images += other.images;
    unreadable += other.unreadable;
    unreadable_labels += other.unreadable_labels;
    census += other.census;
    return *this;
  }
};

namespace detail {

/// What a probe of patch tokens renders its images with: the extractor's sizes, the rest from the probe's options; where these
/// name no mean and deviation, the extractor's. Throws `OptionError` if the extractor does not read patches, or single points, which make no map of an image.
template <class Extractor, class Options>
[[nodiscard]] InputOptions probe_input(const Extractor& extractor, const Options& options) {
  if (!extractor.options().reads.patch) throw OptionError("reads", "no patches", "an extractor that reads patches");
  if (const auto& points = extractor.options().references.points; !points.empty())
    throw OptionError("references.points", join(points.size(), " points"), "a grid of references, which is a map of the image");
  const bool own_pixels = !options.mean.empty() || !options.deviation.empty();
  return {.height = extractor.options().height,
          .width = extractor.options().width,
          .channels = extractor.options().channels,
          .fit = options.fit,
          .interpolation = options.interpolation,
          .mean = own_pixels ? options.mean : extractor.options().mean,
          .deviation = own_pixels ? options.deviation : extractor.options().deviation};
}

/// What a source loaded, with a mask of zeros where it gave none.
template <class Loaded>
[[nodiscard]] LabelledImage with_mask(Loaded&& loaded) {
  if constexpr (std::convertible_to<Loaded, LabelledImage>) {
    return std::forward<Loaded>(loaded);
  } else {
    LabelledImage out;
    if constexpr (std::convertible_to<Loaded, AnyImage>) {
      out.image = std::forward<Loaded>(loaded);
    } else {
      out.image = AnyImageView(loaded).copy();
    }
    out.mask = Image<std::uint8_t>(height(out.image), width(out.image), 1);
    return out;
  }
}

}  // namespace detail

namespace detail {

/// Looks at the features of a pass as they come: whether they are finite, and whether they tell images apart.
template <class T>
class FeatureWatch {
 public:
  /// Throws `NonFiniteError` naming the image.
  template <class B>
  void see(const B& backend, const PassedImage<T>& image, std::string_view name) {
    x_now.resize(static_cast<std::size_t>(image.class_token.size() + image.patches.size()));
    const auto now = std::span<T>(x_now);
    const auto class_values = static_cast<std::size_t>(image.class_token.size());
    if (!image.class_token.empty()) backend.download(now.first(class_values), image.class_token.data());
    if (!image.patches.empty()) backend.download(now.subspan(class_values), image.patches.data());
    for (const T value : x_now) {
      if (!std::isfinite(value)) {
        throw NonFiniteError(join("the features of ", name, " hold ", value, "; expected finite numbers"));
      }
    }
    ++x_images;
    if (x_images == 1) {
      x_first = x_now;
      x_first_input = image.input.image;
      return;
    }
    if (!x_features_differ) x_features_differ = x_now != x_first;
    if (!x_inputs_differ) x_inputs_differ = image.input.image != x_first_input;
  }

  /// Throws `DataError` where features are the same for images that are not.
  void require_different() const {
    if (x_features_differ || !x_inputs_differ) return;
    throw DataError(join("the features of all ", x_images, " images are the same, though the images are not; expected weights "
                         "through which images can be told apart"));
  }

 private:
  Index x_images = 0;
  bool x_features_differ = false, x_inputs_differ = false;
  std::vector<T> x_now, x_first;
  std::vector<float> x_first_input;
};

}  // namespace detail

/// An image of a pass as it was loaded.
struct LoadedInput {
  Index index = 0;  ///< in the source
  LabelledInput input{};
  std::vector<SkippedImage> skipped{};
};

/// Calls on_batch(std::vector<LoadedInput>&) with every readable image of a source, whole, in order, `batch` at
/// a time (the last may be smaller).
///
/// Images come from a `SegmentationSource`, or from an `ImageSource`, which is taken to have a mask of zeros.
/// They are loaded ahead on oneTBB's threads; memory is bounded by `loader.prefetch` and `batch` inputs.
/// `on_batch` is called on the caller's thread; a stop request ends the pass with the batch it is in. Throws
/// `DataError` where too many cannot be read, and what `on_batch` throws.
/// Test: tests/probe/segmentation_probe.cpp, tests/probe/retrieval_probe.cpp.
template <class Source, class OnBatch>
FeaturePassCount pass_inputs(const InputRenderer& renderer, const Source& source, Index batch,
                             const FeaturePassOptions& options, const SkipCounter::Warn& on_skip,
                             const std::stop_token& token, const OnBatch& on_batch) {
  static_assert(SegmentationSource<Source> || ImageSource<Source>,
                "a pass takes a SegmentationSource or an ImageSource");
  options.validate();
  const Index label_height = options.label_height > 0 ? options.label_height : renderer.options().height;
  const Index label_width = options.label_width > 0 ? options.label_width : renderer.options().width;
  SkipCounter skips(options.skip, on_skip);
  OrderedLoader<LoadedInput> loader(
      source.size(),
      [&](Index i) -> std::optional<LoadedInput> {
        LoadedInput out{.index = i};
        try {
          if constexpr (SegmentationSource<Source>) {
            out.input = renderer.render(source.load(i), label_height, label_width);
          } else {
            const HeldImage held = hold_image(source, i);
            const AnyImageView image = held.view();
            const Image<std::uint8_t> mask(height(image), width(image), 1);
            out.input = renderer.render(image, mask, {.box = {0, 0, mask.height(), mask.width()}}, label_height, label_width);
          }
        } catch (const ImageError& error) {
          out.skipped.push_back(skipped_image(i, source.name(i), error));
        }
        return out;
      },
      options.loader, token);
  const auto limit = static_cast<std::size_t>(batch);
  std::vector<LoadedInput> loaded;
  FeaturePassCount count;
  for (bool more = true; more && !token.stop_requested();) {
    loaded.clear();
    while (loaded.size() < limit) {
      std::optional<LoadedInput> next = loader.next();
      more = next.has_value();
      if (!more) break;
      skips.count(next->skipped);
      if (next->input.image.empty()) continue;
      count.census += next->input.census;
      loaded.push_back(std::move(*next));
    }
    if (loaded.empty() || token.stop_requested()) break;
    count.images += static_cast<Index>(loaded.size());
    on_batch(loaded);
  }
  count.unreadable = skips.unreadable();
  count.unreadable_labels = skips.unreadable_labels();
  return count;
}

/// Calls each(PassedImage) for every readable image of a source, whole, in order, with its features.
///
/// As `pass_inputs`, by batches of the extractor's. Throws also, unless the options say otherwise, `NonFiniteError`
/// naming the image whose features are not finite, and `DataError` at the end where all images have the same features
/// though they differ. Costs a copy of each image's features to the host. Test: tests/features/feature_pass.cpp.
template <class Extractor, class Source, class Each>
FeaturePassCount pass_features(Extractor& extractor, const InputRenderer& renderer, const Source& source,
                               const FeaturePassOptions& options, const SkipCounter::Warn& on_skip,
                               const std::stop_token& token, const Each& each) {
  using T = typename Extractor::T;
  const Index limit = extractor.options().batch;
  std::vector<float> images;
  images.reserve(static_cast<std::size_t>(limit * extractor.image_size()));
  detail::FeatureWatch<T> watch;
  const FeaturePassCount count = pass_inputs(renderer, source, limit, options, on_skip, token, [&](std::vector<LoadedInput>& batch) {
    images.clear();
    for (const LoadedInput& loaded : batch)
      images.insert(images.end(), loaded.input.image.begin(), loaded.input.image.end());
    extractor.forward(images);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const MatrixView<const T> class_tokens = extractor.class_tokens();
      const PassedImage<T> image{.index = batch[i].index,
                                 .input = batch[i].input,
                                 .patches = extractor.patch_map(static_cast<Index>(i)),
                                 .class_token = class_tokens.empty() ? MatrixView<const T>{}
                                                                     : class_tokens.rows(static_cast<Index>(i), 1)};
      if (options.require_sound) watch.see(extractor.backend(), image, source.name(image.index));
      each(image);
    }
  });
  if (options.require_sound) watch.require_different();
  return count;
}

}  // namespace dssl
