// Segmentation by dense retrieval: a bank of labelled patches of one set, looked up for another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/bilinear.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/ordered_rows.hpp>
#include <dssl/metrics/confusion.hpp>
#include <dssl/probe/segmentation_result.hpp>
#include <dssl/search/dense_retrieval.hpp>
#include <dssl/search/patch_labels.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl {

/// Numbers of the probe; the input's size is the feature extractor's.
struct RetrievalProbeOptions {
  ClassOptions classes{};
  Index memory = 1'024'000;  ///< patches in the bank, at most; shared out evenly among the images
  PatchSampling sampling = PatchSampling::balanced;
  Index neighbours = 30;
  double temperature = 0.02;
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`; both empty: the extractor's
  std::vector<float> deviation{};
  Index queries = 256;  ///< as in `NearestOptions`
  Index block = 4096;
  std::uint64_t seed = 0;
  LoaderOptions loader{};
  SkipPolicy skip{};
  Communicator ranks{};  ///< that share the images

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (memory < 1) throw OptionError("memory", memory, "at least 1");
    if (neighbours < 1) throw OptionError("neighbours", neighbours, "at least 1");
    if (!(temperature > 0)) throw OptionError("temperature", temperature, "above 0");
    loader.validate();
    skip.validate();
  }
};

/// How well the patch tokens of a frozen backbone find patches of their class: no weights are trained.
///
/// `remember` puts patches of each training image into the bank (each its share of `memory`, or all of its
/// labelled patches if those are fewer); `evaluate` gives every patch of
/// an image the mean label of its nearest ones, enlarges the label shares bilinearly to the input's size, and
/// counts the classes with the largest share in one confusion matrix over the whole set. Both stream: memory
/// is the bank, (D + C) numbers a patch, and a few batches of images. The result depends on weights, images,
/// options and seed alone, not on the number of threads. Ranks that share the images call the same functions with
/// the same sources: every one gets the whole bank, to the bit, and the counts of all. Pixels without a class are neither remembered nor
/// scored (the public open-hummingbird-eval counts them as class 0). Source: as `DenseRetrieval`.
/// Test: tests/probe/retrieval_probe.cpp.
template <class Backbone, Backend B>
class RetrievalProbe {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  std::function<void(Index)> on_images;  ///< images remembered, or evaluated, so far, by all ranks
  std::function<void(const ProbePrediction&)> on_prediction;  ///< of this rank's images
  SkipCounter::Warn on_skip;

  /// `extractor` must read patches, hold its weights, and outlive the probe. Throws `OptionError`.
  RetrievalProbe(Extractor& extractor, const RetrievalProbeOptions& options)
      : x_extractor(extractor),
        x_options((options.validate(), options)),
        x_renderer(detail::probe_input(extractor, options), ClassMap(options.classes)) {
    const Index n = extractor.grid().size();
    const Index c = classes().classes();
    x_shares.resize(static_cast<std::size_t>(n * c));
    x_room = extractor.backend().allocate(static_cast<std::size_t>(n * extractor.width()) * sizeof(T));
    x_sampled = MatrixView<T>(reinterpret_cast<T*>(x_room.data()), n, extractor.width());
  }

  [[nodiscard]] const RetrievalProbeOptions& options() const { return x_options; }
  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }
  [[nodiscard]] const ClassMap& classes() const { return x_renderer.classes(); }
  /// Patches in the bank.
  [[nodiscard]] Index remembered() const { return x_bank ? x_bank->size() : 0; }

  /// Fills the bank, in place of what it held, from a source's images. Throws `DataError` where no image has
  /// a labelled patch, and where `require_classes_seen` does. A stop request leaves the bank as far as it got.
  template <SegmentationSource Source>
  FeaturePassCount remember(const Source& source, const std::stop_token& token = {}) {
    const Index count = source.size();
    if (count < 1) throw DataError("the set to remember holds no images");
    const GridSize grid = x_extractor.grid();
    const Index most = std::min(x_options.memory, count * grid.size());
    x_bank.emplace(x_extractor.backend(), DenseRetrievalOptions{.width = x_extractor.width(),
                                                                .classes = classes().classes(),
                                                                .memory = most,
                                                                .neighbours = x_options.neighbours,
                                                                .temperature = x_options.temperature,
                                                                .queries = x_options.queries,
                                                                .block = x_options.block});
    std::vector<T> patches(static_cast<std::size_t>(grid.size() * x_extractor.width()));
    const FeaturePassCount passed = x_pass(
        source, token, (most + count - 1) / count * x_row(),
        [&](Index index, const PassedImage<T>& image) {
          const MatrixView<float> shares = x_shares_view();
          patch_label_shares(shares, image.input.labels, x_renderer.options().height, x_renderer.options().width, grid);
          const Index quota = row_quota(index, count, most);
          x_extractor.backend().download(std::span<T>(patches), image.patches.data());
          return x_rows_of(patches, shares,
                           sample_patches(shares, quota, x_options.sampling,
                                          {.seed = x_options.seed, .sample = static_cast<std::uint64_t>(index), .view = 2, .purpose = Purpose::probe}));
        },
        [&](std::span<const T> rows) { x_remember(rows); });
    if (x_bank->size() == 0 && !token.stop_requested())
      throw DataError("no image to remember can be read and has a labelled pixel");
    if (!token.stop_requested()) require_classes_seen(passed.census, classes(), "the images to remember");
    return passed;
  }

  /// Predicts every image of a source and counts. Unreadable images are left out and reported.
  /// Throws `DataError` where the bank is empty, or no image can be read, or too many cannot.
  template <SegmentationSource Source>
  [[nodiscard]] SegmentationResult evaluate(const Source& source, const std::stop_token& token = {}) {
    if (remembered() == 0) throw DataError("dense retrieval: nothing was remembered before the evaluation");
    const Index height = x_renderer.options().height;
    const Index width = x_renderer.options().width;
    SegmentationResult result(classes().classes());
    std::vector<std::uint8_t> predicted(static_cast<std::size_t>(height * width));
    const FeaturePassCount passed = x_pass(
        source, token, 0,
        [&](Index index, const PassedImage<T>& image) {
          const std::vector<std::uint8_t>& truth = image.input.labels;
          const MatrixView<float> shares = x_shares_view();
          x_bank->predict(shares, image.patches);
          enlarged_classes<float>(predicted, shares, x_extractor.grid(), height, width);
          const ProbePrediction prediction{index, image.input.image, truth, predicted, height, width};
          result.add(prediction);
          if (on_prediction) on_prediction(prediction);
          return std::vector<T>();
        },
        [](std::span<const T>) {});
    if (!token.stop_requested()) result.sum_over(x_options.ranks);
    result.images = passed.images;
    result.unreadable = passed.unreadable;
    result.unreadable_labels = passed.unreadable_labels;
    result.census = passed.census;
    if (result.images == 0 && !token.stop_requested())
      throw DataError("no image of the evaluation set can be read");
    return result;
  }

 private:
  template <class Source, class Make, class Take>
  FeaturePassCount x_pass(const Source& source, const std::stop_token& token, Index row, const Make& make, const Take& take) {
    return detail::features_in_turns<T>(x_extractor, x_renderer, x_options, source, row, on_skip, on_images, token, make, take);
  }

  [[nodiscard]] MatrixView<float> x_shares_view() {
    return MatrixView<float>(x_shares.data(), x_extractor.grid().size(), classes().classes());
  }

  /// Numbers of a patch that is remembered: its features, then its label shares.
  [[nodiscard]] Index x_row() const { return x_extractor.width() + classes().classes(); }

  [[nodiscard]] std::vector<T> x_rows_of(const std::vector<T>& patches, MatrixView<const float> shares,
                                         const std::vector<std::int32_t>& chosen) const {
    const Index width = x_extractor.width();
    std::vector<T> rows;
    rows.reserve(chosen.size() * static_cast<std::size_t>(x_row()));
    for (const std::int32_t patch : chosen) {
      rows.insert(rows.end(), patches.begin() + patch * width, patches.begin() + (patch + 1) * width);
      rows.insert(rows.end(), shares.row(patch), shares.row(patch) + shares.cols());
    }
    return rows;
  }

  void x_remember(std::span<const T> rows) {
    const Index width = x_extractor.width(), count = static_cast<Index>(rows.size()) / x_row();
    if (count == 0) return;
    std::vector<T> keys;
    std::vector<float> values;
    for (auto at = rows.begin(); at != rows.end(); at += x_row()) {
      keys.insert(keys.end(), at, at + width);
      std::transform(at + width, at + x_row(), std::back_inserter(values), [](T share) { return static_cast<float>(share); });
    }
    x_extractor.backend().upload(x_sampled.data(), std::span<const T>(keys));
    x_bank->add(x_sampled.rows(0, count), MatrixView<const float>(values.data(), count, classes().classes()));
  }

  Extractor& x_extractor;
  RetrievalProbeOptions x_options;
  InputRenderer x_renderer;
  std::optional<DenseRetrieval<B>> x_bank;
  std::vector<float> x_shares;  // (N,C) of one image
  Buffer x_room;
  MatrixView<T> x_sampled;  // (N,D): the patches of an image that are remembered
};

}  // namespace dssl
