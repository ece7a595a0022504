// The linear segmentation probe: how well frozen patch tokens tell classes apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/probe/drawn_crop.hpp>
#include <dssl/probe/linear_segmenter.hpp>
#include <dssl/probe/segmentation_result.hpp>
#include <dssl/probe/standardise.hpp>
#include <dssl/search/row_sample.hpp>
#include <dssl/views/box_search.hpp>

namespace dssl {

/// Numbers of the probe; the defaults are the published ones. The input's size is the feature extractor's.
struct SegmentationProbeOptions {
  ClassOptions classes{};
  Index epochs = 25;
  Index batch = 60;             ///< images a step; the last batch of an epoch may be smaller
  double learning_rate = 0.01;  ///< for a batch of 60: the rate of a step is learning_rate * batch / 60
  double drop_after = 0.8;      ///< share of the epochs after which the rate falls
  double drop_factor = 0.1;
  double momentum = 0.9;
  double weight_decay = 1e-4;
  Index label_extent = 100;  ///< longer side of the masks in training; the other follows the input's shape
  bool augment = true;       ///< resized crops and flips in training
  AreaRange crop_area{0.8, 1.0};  ///< share of the image a crop shows
  AspectRange crop_aspect{};      ///< width / height of a crop
  double flip = 0.5;
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`; both empty: the extractor's
  std::vector<float> deviation{};
  bool cache_features = false;  ///< features of the training set are computed once; needs `augment` off
  /// Trains on features of mean 0 and deviation 1 a channel (over the training set; needs `cache_features`).
  /// The classifier stays linear in the features as they are, but features with a large common part, as an
  /// untrained or little trained backbone gives them, no longer hold its training up.
  bool standardise = false;
  double cache_limit = 4.0;  ///< GiB that they may take
  std::uint64_t seed = 0;
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    const auto require = [](bool holds, const char* field, const auto& value, const char* expected) {
      if (!holds) throw OptionError(field, value, expected);
    };
    require(epochs >= 1, "epochs", epochs, "at least 1");
    require(batch >= 1, "batch", batch, "at least 1");
    require(learning_rate > 0 && std::isfinite(learning_rate), "learning_rate", learning_rate, "above 0");
    require(drop_after >= 0 && drop_after <= 1, "drop_after", drop_after, "0 to 1");
    require(drop_factor > 0 && drop_factor <= 1, "drop_factor", drop_factor, "above 0, up to 1");
    require(label_extent >= 1, "label_extent", label_extent, "at least 1");
    require(crop_area.low > 0 && crop_area.low <= crop_area.high && crop_area.high <= 1, "crop_area",
            crop_area.low, "shares in (0, 1], the lower first");
    require(crop_aspect.low > 0 && crop_aspect.low <= crop_aspect.high, "crop_aspect", crop_aspect.low,
            "positive ratios, the lower first");
    require(flip >= 0 && flip <= 1, "flip", flip, "0 to 1");
    require(!(cache_features && augment), "cache_features", "true", "false, unless 'augment' is off");
    require(!standardise || cache_features, "standardise", "true", "false, unless 'cache_features' is on");
    require(cache_limit >= 0, "cache_limit", cache_limit, "0 or more GiB");
    loader.validate();
    skip.validate();
  }
};

/// Trains and evaluates a linear classifier of the patch tokens of a frozen backbone, as published.
///
/// Each training image gives a random crop (or the whole image), its features, and the loss over its mask at
/// `label_extent`; evaluation is at the input's size, from one confusion matrix over the whole set. Images
/// are loaded ahead on oneTBB's threads; memory is bounded by a few batches of the extractor, and by
/// `cache_limit` where features are kept. The result depends on weights, images, options and seed alone, not
/// on the number of threads. Source: docs/method.md, "Evaluation". Test: tests/probe/segmentation_probe.cpp.
template <class Backbone, Backend B>
class SegmentationProbe {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  std::function<void(const ProbeStep&)> on_step;
  std::function<void(Index)> on_images;    ///< images trained on, or evaluated, so far
  std::function<void(Index)> on_features;  ///< images whose features were computed ahead (`cache_features`)
  std::function<void(const ProbePrediction&)> on_prediction;
  SkipCounter::Warn on_skip;

  /// `extractor` must read patches, hold its weights, and outlive the probe. Throws `OptionError`.
  SegmentationProbe(Extractor& extractor, const SegmentationProbeOptions& options)
      : x_extractor(extractor),
        x_options((options.validate(), options)),
        x_renderer(detail::probe_input(extractor, options), ClassMap(options.classes)),
        x_segmenter(extractor.backend(), x_segmenter_options()) {
    x_segmenter.initialise(options.seed);
  }

  [[nodiscard]] const SegmentationProbeOptions& options() const { return x_options; }
  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }
  [[nodiscard]] const ClassMap& classes() const { return x_renderer.classes(); }
  [[nodiscard]] LinearSegmenter<B>& segmenter() { return x_segmenter; }
  /// Ids in the masks of the last training's first epoch, as far as its crops show them.
  [[nodiscard]] const LabelCensus& trained_on() const { return x_trained_on; }

  /// Trains the classifier from where it is. A stop request ends it after the step it is in.
  /// Throws `DataError` (after the first epoch also where `require_classes_seen` does), `NonFiniteError`,
  /// `OptionError` where cached features would take more than
  /// `cache_limit`.
  template <SegmentationSource Source>
  void train(const Source& source, std::stop_token token = {}) {
    const Index count = source.size();
    if (count < 1) throw DataError("the training set holds no images");
    SkipCounter skips(x_options.skip, on_skip);
    x_trained_on = {};
    Cache cache = x_make_cache(count);
    if (x_options.cache_features) {
      x_fill(cache, source, skips, token);
      if (token.stop_requested()) return;
      require_classes_seen(x_trained_on, classes(), x_training_images);
      if (x_options.standardise) {
        cache.moments = standardise<T>(cache.features, static_cast<std::size_t>(x_extractor.width()));
        x_restate(cache.moments, true);
      }
    }
    // However the training ends, the classifier is one of the features as they are.
    struct Restated {
      SegmentationProbe& probe;
      const std::vector<ChannelMoments>& moments;
      ~Restated() {
        if (!moments.empty()) probe.x_restate(moments, false);
      }
    } const restated{*this, cache.moments};
    ProbeStep at{.steps = x_options.epochs * ((count + x_options.batch - 1) / x_options.batch)};
    const auto drop_epoch =
        static_cast<Index>(x_options.drop_after * static_cast<double>(x_options.epochs) + 1e-9);
    for (at.epoch = 0; at.epoch < x_options.epochs && !token.stop_requested(); ++at.epoch) {
      at.learning_rate = x_options.learning_rate * static_cast<double>(x_options.batch) / 60.0 *
                         (at.epoch >= drop_epoch ? x_options.drop_factor : 1.0);
      Index in_batch = 0;
      const auto seen = [&] {
        ++at.images;
        if (++in_batch == x_options.batch) x_step(at, std::exchange(in_batch, 0));
        if (on_images) on_images(at.images);
      };
      const std::vector<Index> order = x_order(count, at.epoch);
      if (x_options.cache_features) {
        x_train_cached(cache, order, seen, token);
      } else {
        x_train_loaded(source, order, at.epoch, skips, seen, token);
        if (at.epoch == 0 && !token.stop_requested()) require_classes_seen(x_trained_on, classes(), x_training_images);
      }
      if (in_batch > 0 && !token.stop_requested()) x_step(at, in_batch);
    }
  }

  /// Predicts every image of a source and counts. Unreadable images are left out and reported.
  /// Throws `DataError` if none could be read or too many could not.
  template <SegmentationSource Source>
  [[nodiscard]] SegmentationResult evaluate(const Source& source, std::stop_token token = {}) {
    const Index height = x_extractor.options().height;
    const Index width = x_extractor.options().width;
    SegmentationResult result(classes().classes());
    std::vector<std::uint8_t> predicted(static_cast<std::size_t>(height * width));
    const FeaturePassCount count =
        pass_features(x_extractor, x_renderer, source, {.loader = x_options.loader, .skip = x_options.skip},
                      on_skip, token, [&](const PassedImage<T>& image) {
                        const std::vector<std::uint8_t>& truth = image.input.labels;
                        x_segmenter.predict(predicted, image.patches, height, width);
                        const ProbePrediction prediction{image.index, image.input.image, truth, predicted, height, width};
                        result.add(prediction);
                        if (on_prediction) on_prediction(prediction);
                        if (on_images) on_images(result.images);
                      });
    result.unreadable = count.unreadable;
    result.unreadable_labels = count.unreadable_labels;
    result.census = count.census;
    if (result.images == 0 && !token.stop_requested())
      throw DataError("no image of the evaluation set can be read");
    return result;
  }

 private:
  static constexpr const char* x_training_images = "the training images";

  struct Loaded {
    Index index = 0;     ///< in the source
    Index position = 0;  ///< the sample that was asked for
    LabelledInput input{};
    std::vector<SkippedImage> skipped{};
  };

  /// Features and labels of the training set, a place for each sample; empty where they are not kept.
  struct Cache {
    std::vector<T> features;              // (n,N,D)
    std::vector<std::uint8_t> labels;     // (n,label_height,label_width)
    std::vector<ChannelMoments> moments;  // (D) of the features before they were standardised
    Buffer room;                          // (N,D) in the backend's memory
  };

  [[nodiscard]] LinearSegmenterOptions x_segmenter_options() const {
    const double height = static_cast<double>(x_extractor.options().height);
    const double width = static_cast<double>(x_extractor.options().width);
    const double scale = static_cast<double>(x_options.label_extent) / std::max(height, width);
    return {.width = x_extractor.width(),
            .classes = x_renderer.classes().classes(),
            .grid = x_extractor.grid(),
            .label_height = std::max<Index>(1, static_cast<Index>(std::lround(scale * height))),
            .label_width = std::max<Index>(1, static_cast<Index>(std::lround(scale * width))),
            .momentum = x_options.momentum,
            .weight_decay = x_options.weight_decay};
  }

  [[nodiscard]] Index x_feature_size() const { return x_extractor.grid().size() * x_extractor.width(); }
  [[nodiscard]] Index x_label_size() const {
    return x_segmenter.options().label_height * x_segmenter.options().label_width;
  }

  [[nodiscard]] Cache x_make_cache(Index count) const {
    Cache cache;
    if (!x_options.cache_features) return cache;
    const double each =
        static_cast<double>(x_feature_size()) * sizeof(T) + static_cast<double>(x_label_size());
    const double gib = static_cast<double>(count) * each / 1073741824.0;
    if (gib > x_options.cache_limit) {
      throw OptionError(
          "cache_limit", x_options.cache_limit,
          join("at least ", gib, " GiB for the features of ", count, " images, or 'cache_features' off"));
    }
    cache.features.resize(static_cast<std::size_t>(count * x_feature_size()));
    cache.labels.resize(static_cast<std::size_t>(count * x_label_size()));
    cache.room = x_extractor.backend().allocate(static_cast<std::size_t>(x_feature_size()) * sizeof(T));
    return cache;
  }

  /// A fresh order of the samples for each epoch; the probe's own, not that of a training run of this seed.
  [[nodiscard]] std::vector<Index> x_order(Index count, Index epoch) const {
    return shuffled(count, {.seed = x_options.seed,
                            .epoch = static_cast<std::uint32_t>(epoch),
                            .view = 1,
                            .purpose = Purpose::shuffle});
  }

  void x_step(ProbeStep& at, Index images) {
    at.loss = x_segmenter.update(at.learning_rate);
    if (!std::isfinite(at.loss)) {
      throw NonFiniteError(join("the probe's loss is not finite after ", images, " images of epoch ",
                                at.epoch, "; lower its learning rate, or look for broken weights"));
    }
    ++at.step;
    if (on_step) on_step(at);
  }

  /// Calls `done()` with each batch of the extractor computed; it returns whether to go on.
  template <class Done>
  void x_each_batch(OrderedLoader<Loaded>& loader, std::vector<Loaded>& batch, SkipCounter& skips,
                    const Done& done) {
    const auto limit = static_cast<std::size_t>(x_extractor.options().batch);
    const auto each = static_cast<std::size_t>(x_extractor.image_size());
    std::vector<float> images;
    images.reserve(limit * each);
    bool more = true;
    while (more) {
      batch.clear();
      images.clear();
      while (batch.size() < limit) {
        std::optional<Loaded> loaded = loader.next();
        more = loaded.has_value();
        if (!more) break;
        skips.count(loaded->skipped);
        if (loaded->input.image.empty()) continue;
        images.insert(images.end(), loaded->input.image.begin(), loaded->input.image.end());
        batch.push_back(std::move(*loaded));
      }
      if (batch.empty()) return;
      x_extractor.forward(images);
      more = done() && more;
    }
  }

  /// Calls each(loaded sample, its patches) for the samples in `order`, until it returns false.
  template <SegmentationSource Source, class Each>
  void x_each_sample(const Source& source, const std::vector<Index>& order, Index epoch, SkipCounter& skips,
                     const std::stop_token& token, const Each& each) {
    const Index label_height = x_segmenter.options().label_height;
    const Index label_width = x_segmenter.options().label_width;
    OrderedLoader<Loaded> loader(
        static_cast<Index>(order.size()),
        [&](Index n) -> std::optional<Loaded> {
          Loaded out{.position = order[static_cast<std::size_t>(n)]};
          const LabelledImage picture =
              load_readable(out.skipped, out.index, source, out.position, x_options.skip);
          out.input =
              x_renderer.render(picture, x_crop(picture, epoch, out.position), label_height, label_width);
          return out;
        },
        x_options.loader, token);
    std::vector<Loaded> batch;
    x_each_batch(loader, batch, skips, [&] {
      for (std::size_t i = 0; i < batch.size(); ++i) {
        each(batch[i], x_extractor.patch_map(static_cast<Index>(i)));
        if (token.stop_requested()) return false;
      }
      return true;
    });
  }

  template <SegmentationSource Source, class Seen>
  void x_train_loaded(const Source& source, const std::vector<Index>& order, Index epoch, SkipCounter& skips,
                      const Seen& seen, const std::stop_token& token) {
    x_each_sample(source, order, epoch, skips, token, [&](const Loaded& sample, MatrixView<const T> patches) {
      x_segmenter.accumulate(patches, sample.input.labels);
      if (epoch == 0) x_trained_on += sample.input.census;
      seen();
    });
  }

  template <SegmentationSource Source>
  void x_fill(Cache& cache, const Source& source, SkipCounter& skips, const std::stop_token& token) {
    std::vector<Index> order(static_cast<std::size_t>(source.size()));
    std::iota(order.begin(), order.end(), Index{0});
    const auto feature_size = static_cast<std::size_t>(x_feature_size());
    Index done = 0;
    x_each_sample(source, order, 0, skips, token, [&](const Loaded& sample, MatrixView<const T> patches) {
      const auto at = static_cast<std::size_t>(sample.position);
      x_extractor.backend().download(std::span<T>(cache.features).subspan(at * feature_size, feature_size),
                                     patches.data());
      std::copy(sample.input.labels.begin(), sample.input.labels.end(),
                cache.labels.begin() + sample.position * x_label_size());
      x_trained_on += sample.input.census;
      if (on_features) on_features(++done);
    });
  }

  /// The classifier of features as they are, restated for standardised ones, or the other way.
  void x_restate(const std::vector<ChannelMoments>& moments, bool for_standardised) {
    std::vector<T> weight(static_cast<std::size_t>(x_segmenter.options().classes) * moments.size());
    std::vector<T> bias(static_cast<std::size_t>(x_segmenter.options().classes));
    x_segmenter.get_weights(weight, bias);
    restate_linear<T>(weight, bias, moments, for_standardised);
    x_segmenter.set_weights(weight, bias);
  }

  template <class Seen>
  void x_train_cached(Cache& cache, const std::vector<Index>& order, const Seen& seen,
                      const std::stop_token& token) {
    const auto feature_size = static_cast<std::size_t>(x_feature_size());
    const auto label_size = static_cast<std::size_t>(x_label_size());
    T* const room = reinterpret_cast<T*>(cache.room.data());
    for (const Index sample : order) {
      const auto i = static_cast<std::size_t>(sample);
      x_extractor.backend().upload(
          room, std::span<const T>(cache.features).subspan(i * feature_size, feature_size));
      x_segmenter.accumulate(MatrixView<const T>(room, x_extractor.grid().size(), x_extractor.width()),
                             std::span<const std::uint8_t>(cache.labels).subspan(i * label_size, label_size));
      seen();
      if (token.stop_requested()) return;
    }
  }

  [[nodiscard]] CropMap x_crop(const LabelledImage& picture, Index epoch, Index sample) const {
    const Index height = picture.mask.height();
    const Index width = picture.mask.width();
    if (!x_options.augment) return {.box = {0, 0, height, width}};
    return drawn_crop(height, width, x_options.crop_area, x_options.crop_aspect, x_options.flip,
                      {.seed = x_options.seed,
                       .epoch = static_cast<std::uint32_t>(epoch),
                       .sample = static_cast<std::uint64_t>(sample),
                       .view = 1,
                       .purpose = Purpose::probe});
  }

  Extractor& x_extractor;
  SegmentationProbeOptions x_options;
  InputRenderer x_renderer;
  LinearSegmenter<B> x_segmenter;
  LabelCensus x_trained_on;
};

}  // namespace dssl
