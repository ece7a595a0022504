// Overclustering: what clusters of patch tokens have in common with classes, without a label in their making.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
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
#include <dssl/features/ordered_rows.hpp>
#include <dssl/metrics/cluster_counts.hpp>
#include <dssl/search/kmeans.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl {

/// Numbers of the probe; the input's size is the feature extractor's.
struct ClusterProbeOptions {
  ClassOptions classes{};
  Index clusters = 0;       ///< K; 0: as many as classes
  Index patches = 100'000;  ///< that are clustered, at most; shared out evenly among the images
  bool unit_length = true;  ///< features are scaled to unit length first
  Index iterations = 50;
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`; both empty: the extractor's
  std::vector<float> deviation{};
  std::uint64_t seed = 0;
  LoaderOptions loader{};
  SkipPolicy skip{};
  Communicator ranks{};  ///< that share the images

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (clusters < 0) throw OptionError("clusters", clusters, "at least 1, or 0 for as many as classes");
    if (patches < 1) throw OptionError("patches", patches, "at least 1");
    if (iterations < 1) throw OptionError("iterations", iterations, "at least 1");
    loader.validate();
    skip.validate();
  }
};

/// Clusters of one set, counted against the classes of another (or the same).
struct ClusterProbeResult {
  ClusterCounts counts;
  Index images = 0;
  Index unreadable = 0;
  Index unreadable_labels = 0;  ///< those of them whose mask alone could not be read
  LabelCensus census{};         ///< of the ids in the masks

  /// One cluster a class, matched so that most pixels agree; for as many clusters as classes.
  [[nodiscard]] SegmentationScores hungarian(AbsentClasses rule = AbsentClasses::excluded) const {
    return matched_scores(counts, hungarian_match(counts), rule);
  }
  /// Each cluster named after most of its pixels; for many more clusters than classes.
  [[nodiscard]] SegmentationScores majority(AbsentClasses rule = AbsentClasses::excluded) const {
    return matched_scores(counts, majority_match(counts), rule);
  }
};

/// K-means over the patch tokens of a frozen backbone, and the mean IoU of its clusters.
///
/// `fit` clusters a sample of a source's patches (labels, if there are any, are not looked at); `evaluate`
/// assigns every patch of a labelled source and counts pixels, each with its patch's cluster. Memory: the
/// sample, D numbers a patch, and a few batches of images. The result depends on weights, images, options and
/// seed alone. Ranks that share the images call the same functions with the same sources: every one clusters the
/// whole sample, which is the same to the bit, and gets the counts of all. Source: Ziegler and Asano, "Self-Supervised Learning of Object Parts for Semantic
/// Segmentation", CVPR 2022, for overclustering. Test: tests/probe/cluster_probe.cpp.
template <class Backbone, Backend B>
class ClusterProbe {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  std::function<void(Index)> on_images;  ///< images gone over so far, by all ranks
  SkipCounter::Warn on_skip;

  /// `extractor` must read patches, hold its weights, and outlive the probe. Throws `OptionError`.
  ClusterProbe(Extractor& extractor, const ClusterProbeOptions& options)
      : x_extractor(extractor),
        x_options((options.validate(), options)),
        x_renderer(detail::probe_input(extractor, options), ClassMap(options.classes)),
        x_means(extractor.backend(), x_means_options()) {
    const Index n = extractor.grid().size();
    Arena measure;
    x_place(measure, n);
    x_room = extractor.backend().allocate(measure.high_water());
    Arena live(x_room);
    x_place(live, n);
  }

  [[nodiscard]] const ClusterProbeOptions& options() const { return x_options; }
  [[nodiscard]] const ClassMap& classes() const { return x_renderer.classes(); }
  [[nodiscard]] const KMeans<B>& means() const { return x_means; }

  /// Clusters a source's patches. Throws `DataError` where there are fewer of them than clusters.
  template <class Source>
  KMeansResult fit(const Source& source, const std::stop_token& token = {}) {
    const B& backend = x_extractor.backend();
    const Index count = source.size();
    if (count < 1) throw DataError("the set to cluster holds no images");
    const Index most = std::min(x_options.patches, count * x_extractor.grid().size());
    const Index width = x_extractor.width();
    const Buffer room = backend.allocate(static_cast<std::size_t>(most * width) * sizeof(T));
    const MatrixView<T> sample(reinterpret_cast<T*>(room.data()), most, width);
    Index taken = 0;
    x_pass(
        source, token, (most + count - 1) / count * width,
        [&](Index index, MatrixView<const T> patches, const LabelledInput&) {
          const std::vector<std::int32_t> rows = sample_rows(patches.rows(), row_quota(index, count, most),
                                                             {.seed = x_options.seed,
                                                              .sample = static_cast<std::uint64_t>(index),
                                                              .view = 4,
                                                              .purpose = Purpose::probe});
          std::vector<T> drawn;
          if (rows.empty()) return drawn;
          std::vector<T> all(static_cast<std::size_t>(patches.size()));
          backend.download(std::span<T>(all), patches.data());
          for (const std::int32_t row : rows) drawn.insert(drawn.end(), all.begin() + row * width, all.begin() + (row + 1) * width);
          return drawn;
        },
        [&](std::span<const T> rows) {
          if (rows.empty()) return;
          const Index some = static_cast<Index>(rows.size()) / width;
          backend.upload(sample.rows(taken, some).data(), rows);
          taken += some;
        });
    if (token.stop_requested()) return {};
    return x_means.fit(MatrixView<const T>(sample.rows(0, taken)), token);
  }

  /// Assigns and counts a labelled source. Throws `DataError` where no image can be read.
  template <SegmentationSource Source>
  [[nodiscard]] ClusterProbeResult evaluate(const Source& source, const std::stop_token& token = {}) {
    ClusterProbeResult out{.counts = ClusterCounts(x_means.options().clusters, classes().classes())};
    std::vector<std::int32_t> clusters(static_cast<std::size_t>(x_extractor.grid().size()));
    const FeaturePassCount passed = x_pass(
        source, token, 0,
        [&](Index, MatrixView<const T> patches, const LabelledInput& input) {
          x_means.assign(clusters, patches);
          out.counts.add(std::span<const std::int32_t>(clusters), x_extractor.grid(), std::span<const std::uint8_t>(input.labels),
                         x_renderer.options().height, x_renderer.options().width);
          return std::vector<T>();
        },
        [](std::span<const T>) {});
    if (!token.stop_requested()) out.counts.sum_over(x_options.ranks);
    out.images = passed.images;
    out.unreadable = passed.unreadable;
    out.unreadable_labels = passed.unreadable_labels;
    out.census = passed.census;
    if (out.images == 0 && !token.stop_requested())
      throw DataError("no image of the evaluation set can be read");
    return out;
  }

 private:
  [[nodiscard]] KMeansOptions x_means_options() const {
    const Index clusters = x_options.clusters > 0 ? x_options.clusters : classes().classes();
    return {.width = x_extractor.width(),
            .clusters = clusters,
            .iterations = x_options.iterations,
            .seeding = std::max<Index>(KMeansOptions{}.seeding, clusters),
            .seed = x_options.seed};
  }

  void x_place(Arena& arena, Index n) {
    x_unit = arena.template matrix<T>(n, x_extractor.width());
    x_norms = arena.template vector<T>(n);
  }

  /// As `features_in_turns`, whose images go to make(index, patches, input), the patches of unit length where that is asked for.
  template <class Source, class Make, class Take>
  FeaturePassCount x_pass(const Source& source, const std::stop_token& token, Index row, const Make& make, const Take& take) {
    return detail::features_in_turns<T>(x_extractor, x_renderer, x_options, source, row, on_skip, on_images, token,
                                        [&](Index index, const PassedImage<T>& image) {
                                          MatrixView<const T> patches = image.patches;
                                          if (x_options.unit_length) {
                                            x_extractor.backend().l2_normalise_forward(x_unit, x_norms, patches, 1e-12);
                                            patches = x_unit;
                                          }
                                          return make(index, patches, image.input);
                                        },
                                        take);
  }

  Extractor& x_extractor;
  ClusterProbeOptions x_options;
  InputRenderer x_renderer;
  KMeans<B> x_means;
  Buffer x_room;
  MatrixView<T> x_unit;  // (N,D) of one image
  VectorView<T> x_norms;
};

}  // namespace dssl
