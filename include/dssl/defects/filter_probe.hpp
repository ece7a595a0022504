// Finding defects without a backbone at images' own resolution: a few filters, and a normal distribution of what they see.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/filter_labels.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/local_filters.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/defects/row_gaussian.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/metrics/score_tally.hpp>

namespace dssl {

/// Numbers of the probe.
struct FilterProbeOptions {
  LocalFilterOptions filters{};
  Index border = 0;      ///< outer rows and columns of an image's patches that neither are learned nor count
  Foreground foreground{};  ///< likewise patches less than half of which is on it
  Index top = 1;         ///< an image's score is the mean of so many largest distances
  Index channels = 3;    ///< of the images
  double smoothing = 4;  ///< standard deviation of the blur of heat maps, in pixels; 0: none
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    filters.validate();
    rules().validate();
    if (top < 1) throw OptionError("top", top, "at least 1");
    if (!(smoothing >= 0)) throw OptionError("smoothing", smoothing, "0 or more pixels");
    loader.validate();
    skip.validate();
  }

  [[nodiscard]] PatchRules rules() const { return {.border = border, .foreground = foreground}; }
};

/// Scores images by how unlike those of normal images the responses of fixed filters are, patch by patch.
///
///   patch score = distance of `LocalFilters`' row to the `RowGaussian` of normal patches; after `learn_labels` that of
///                 `FilterLabels`, the mean of this and of trees' logits,
///   image score = mean of the `top` largest, without the `SizeTrend` that was set
///
/// Images keep their own size. No weights: what features of a backbone have to beat, and good for spots, cracks and holes of a
/// few pixels on an even ground; blind to what is larger than the light is flattened over. Memory: a few images. The same numbers
/// for any number of threads. Test: tests/defects/template_probe.cpp.
class FilterProbe {
 public:
  std::function<void(Index)> on_images;  ///< images learned, or scored, so far
  std::function<void(const DefectScore&)> on_score;
  SkipCounter::Warn on_skip;

  /// Throws `OptionError`.
  explicit FilterProbe(const FilterProbeOptions& options)
      : x_options((options.validate(), options)), x_filters(options.filters), x_renderer({.channels = options.channels}, defect_classes()) {}

  [[nodiscard]] const FilterProbeOptions& options() const { return x_options; }
  /// Its channels and values hold, its size does not.
  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }
  /// Patches that were learned from; 0 before `learn`.
  [[nodiscard]] Index learned() const { return x_normal ? x_normal->count() : 0; }
  /// What labelled images added; empty before `learn_labels`.
  [[nodiscard]] const std::optional<FilterLabels>& labels() const { return x_labels; }
  [[nodiscard]] const SizeTrend& size_trend() const { return x_trend; }
  /// The distribution; empty before `learn`.
  [[nodiscard]] const std::optional<RowGaussian>& normal() const { return x_normal; }
  /// Takes what another probe of these options learned. Throws `ShapeError` where it is of other filters.
  void take(RowGaussian normal, std::optional<FilterLabels> labels, const SizeTrend& trend) {
    require_shape(normal.width() == LocalFilters::width && normal.built(), "filter probe: a distribution of width ", normal.width());
    require_shape(!labels || labels->trees.width() == 7 * LocalFilters::width, "filter probe: trees over another width than ", 7 * LocalFilters::width);
    x_normal = std::move(normal);
    x_labels = std::move(labels);
    x_trend = trend;
  }
  /// From now on image scores are without it.
  void set_size_trend(const SizeTrend& trend) { x_trend = trend; }

  /// Takes the distribution of a source's normal images, in place of what was learned before; patches with a pixel of a defect
  /// are left out. Throws `DataError` where none can be read, or an image has no patch inside the border.
  template <class Source>
  FeaturePassCount learn(const Source& source, const std::stop_token& token = {}) {
    x_normal.reset();
    x_labels.reset();
    x_trend = {};
    RowGaussian normal(LocalFilters::width);
    Index done = 0;
    const FeaturePassCount passed = x_pass(source, token, [&](const x_Read& image) {
      for (const std::int32_t cell : image.cells) {
        if (x_is_normal(image, cell)) normal.add(x_row(image, cell));
      }
      if (on_images) on_images(++done);
    });
    if (token.stop_requested()) return passed;
    if (passed.images == 0) throw DataError("no normal image can be read");
    normal.build();
    x_normal = std::move(normal);
    return passed;
  }

  /// Learns from images with masks too, one or more, in place of those of before: trees that tell their defects' patches from
  /// all others, and how much these count beside the distance; a trend that was set is gone. `normal`: the images that `learn`
  /// was given. Memory: 13 numbers for each patch of these images and 91 for each that trees learn from. A stop request leaves
  /// the probe as it was before. Throws `DataError` before `learn`, where no image can be read, or none shows a defect;
  /// `OptionError`.
  template <class Normal, class Labelled>
  FilterLabelChoice learn_labels(const Normal& normal, const Labelled& labelled, const FilterLabelOptions& options,
                                 const std::stop_token& token = {}) {
    options.validate();
    if (!x_normal) throw DataError("filter probe: labelled images were to be learned from before normal ones");
    std::vector<Index> some(static_cast<std::size_t>(std::min(options.normal_images, normal.size())));
    for (std::size_t i = 0; i < some.size(); ++i) some[i] = static_cast<Index>(i) * normal.size() / static_cast<Index>(some.size());
    Index done = 0;
    const std::vector<FilteredImage> normal_images = x_filtered(ChosenSamples<Normal>(normal, std::move(some)), token, done);
    const std::vector<FilteredImage> labelled_images = x_filtered(labelled, token, done);
    if (token.stop_requested()) return {};
    if (normal_images.empty() || labelled_images.empty())
      throw DataError(join("no ", normal_images.empty() ? "normal" : "labelled", " image can be read"));
    auto learned =
        FilterLabelLearner(normal_images, labelled_images, *x_normal, x_options.filters.patch, x_options.top, options).learn(token);
    if (!learned) return {};
    x_labels = std::move(learned->first);
    x_trend = {};
    return learned->second;
  }

  /// Scores every image of a source, each with a call of `on_score`. Throws `DataError` before `learn`, or where no image can
  /// be read.
  template <class Source>
  FeaturePassCount score(const Source& source, const std::stop_token& token = {}) {
    if (!x_normal) throw DataError("filter probe: nothing was learned before the evaluation");
    Index done = 0;
    const FeaturePassCount passed = x_pass(source, token, [&](const x_Read& image) {
      x_score(image);
      if (on_images) on_images(++done);
    });
    if (passed.images == 0 && !token.stop_requested()) throw DataError("no image of the set can be read");
    return passed;
  }

 private:
  /// An image as it was read, with what its filters see.
  struct x_Read {
    Index index = 0, height = 0, width = 0;
    LabelledInput input{};
    std::vector<float> rows{};          // (N,13)
    std::vector<std::int32_t> cells{};  // of the patches that count
    std::vector<SkippedImage> skipped{};
  };

  template <class Source, class Each>
  FeaturePassCount x_pass(const Source& source, const std::stop_token& token, const Each& each) {
    const BinaryMasks<Source> images(source, x_options.foreground);
    SkipCounter skips(x_options.skip, on_skip);
    OrderedLoader<x_Read> loader(
        images.size(),
        [&](Index i) -> std::optional<x_Read> {
          x_Read out{.index = i};
          try {
            const LabelledImage picture = images.load(i);
            out.height = picture.mask.height();
            out.width = picture.mask.width();
            InputOptions own = x_renderer.options();
            own.height = out.height;
            own.width = out.width;
            out.input = InputRenderer(own, x_renderer.classes()).render(picture, out.height, out.width);
            out.cells = counted_patches(out.input.labels, out.height, out.width, x_filters.grid(out.height, out.width),
                                        x_options.filters.patch, x_options.rules(), source.name(i));
            out.rows = x_filters.of(picture.image);
          } catch (const ImageError& error) {
            out.skipped.push_back(skipped_image(i, source.name(i), error));
          }
          return out;
        },
        x_options.loader, token);
    FeaturePassCount count;
    while (!token.stop_requested()) {
      std::optional<x_Read> next = loader.next();
      if (!next) break;
      skips.count(next->skipped);
      if (next->rows.empty()) continue;
      ++count.images;
      count.census += next->input.census;
      each(*next);
    }
    count.unreadable = skips.unreadable();
    count.unreadable_labels = skips.unreadable_labels();
    return count;
  }

  [[nodiscard]] static std::span<const float> x_row(const x_Read& image, std::int32_t cell) {
    return std::span<const float>(image.rows).subspan(static_cast<std::size_t>(cell * LocalFilters::width), LocalFilters::width);
  }

  /// Pixels of a defect in a patch.
  [[nodiscard]] Index x_defect_pixels(const x_Read& image, Index cell) const {
    const Index patch = x_options.filters.patch;
    const GridSize grid = x_filters.grid(image.height, image.width);
    const Index top = cell / grid.width * patch, left = cell % grid.width * patch;
    Index count = 0;
    for (Index y = top; y < std::min(image.height, top + patch); ++y) {
      for (Index x = left; x < std::min(image.width, left + patch); ++x)
        count += image.input.labels[static_cast<std::size_t>(y * image.width + x)] == 1 ? 1 : 0;
    }
    return count;
  }
  [[nodiscard]] bool x_is_normal(const x_Read& image, Index cell) const { return x_defect_pixels(image, cell) == 0; }

  /// All images of a source, as filters see them.
  template <class Source>
  [[nodiscard]] std::vector<FilteredImage> x_filtered(const Source& source, const std::stop_token& token, Index& done) {
    std::vector<FilteredImage> out;
    x_pass(source, token, [&](x_Read& image) {
      FilteredImage own{.grid = x_filters.grid(image.height, image.width), .rows = {}, .cells = image.cells, .defect_pixels = {}};
      for (Index cell = 0; cell < own.grid.size(); ++cell) own.defect_pixels.push_back(x_defect_pixels(image, cell));
      own.rows = std::move(image.rows);
      out.push_back(std::move(own));
      if (on_images) on_images(++done);
    });
    return out;
  }

  void x_score(const x_Read& image) {
    const std::vector<std::int32_t>& counted = image.cells;
    const GridSize grid = x_filters.grid(image.height, image.width);
    std::vector<float> scores, about;
    for (const std::int32_t cell : counted) {
      double own = x_normal->distance(x_row(image, cell));
      if (x_labels) {
        about.clear();
        append_surroundings(about, image.rows, LocalFilters::width, grid, cell);
        own = x_labels->scales.of(own, x_labels->trees.logit(about));
      }
      scores.push_back(static_cast<float>(own));
    }
    std::vector<float> patches(static_cast<std::size_t>(grid.size()), *std::ranges::min_element(scores));
    for (std::size_t i = 0; i < counted.size(); ++i) patches[static_cast<std::size_t>(counted[i])] = scores[i];
    const auto number = static_cast<Index>(counted.size());
    DefectScore score(image.index, x_trend.without(mean_of_largest(std::move(scores), x_options.top), number), image.input,
                      x_maps.of(patches, grid, x_options.filters.patch, image.height, image.width, x_options.smoothing), image.height,
                      image.width);
    score.patches = number;
    if (on_score) on_score(score);
  }

  FilterProbeOptions x_options;
  LocalFilters x_filters;
  InputRenderer x_renderer;
  std::optional<RowGaussian> x_normal;
  std::optional<FilterLabels> x_labels;
  SizeTrend x_trend;
  CroppedHeatMaps x_maps;
};

}  // namespace dssl
