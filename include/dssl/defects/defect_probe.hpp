// Finding defects with normal images alone: a bank of their patches, heat maps, and what these are worth.
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

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/neighbourhood.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/metrics/score_tally.hpp>
#include <dssl/search/row_sample.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// Numbers of the probe; the input's size is the feature extractor's.
struct DefectProbeOptions {
  Index pool = 100'000;     ///< normal patches that the coreset is chosen from, at most, shared out evenly
  double coreset = 0.1;     ///< as in `DefectBankOptions`
  Index coreset_size = 0;   ///< likewise
  Index projection = 0;     ///< likewise
  Index reweighting = 9;    ///< likewise
  Index neighbourhood = 3;  ///< each patch becomes the mean of so many by so many around it: 1 or 3
  double smoothing = 4;     ///< standard deviation of the blur of heat maps, in pixels of the input; 0: none
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`
  std::vector<float> deviation{};
  ScoreTallyOptions tally{};
  std::uint64_t seed = 0;
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (pool < 1) throw OptionError("pool", pool, "at least 1");
    if (neighbourhood != 1 && neighbourhood != 3) throw OptionError("neighbourhood", neighbourhood, "1 or 3");
    if (!(smoothing >= 0)) throw OptionError("smoothing", smoothing, "0 or more pixels");
    tally.validate();
    loader.validate();
    skip.validate();
  }
};

/// Scores images by how far their patch tokens lie from those of normal images.
///
/// `learn` takes patches of normal images (each token the mean of its neighbourhood) and reduces them to a
/// coreset; then an image's patches are scored by their distance to it, and the scores are enlarged
/// bilinearly to the input's size and blurred. Everything streams: memory is the pool while learning, then
/// the coreset, and a few batches of images. The result depends on weights, images, options and seed alone,
/// not on the number of threads. Source: Roth et al. (PatchCore), CVPR 2022. Test:
/// tests/defects/defect_probe.cpp.
template <class Backbone, Backend B>
class DefectProbe {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  std::function<void(Index)> on_images;  ///< images learned, or scored, so far
  std::function<void(const DefectScore&)> on_score;
  SkipCounter::Warn on_skip;

  /// `extractor` must read patches, hold its weights, and outlive the probe. Throws `OptionError`.
  DefectProbe(Extractor& extractor, const DefectProbeOptions& options)
      : x_extractor(extractor),
        x_options((options.validate(), options)),
        x_renderer(detail::probe_input(extractor, options), defect_classes()),
        x_heat_maps(extractor.grid(), extractor.options().height, extractor.options().width, options.smoothing) {
    static_cast<void>(x_make_bank(1));  // its options are checked before the work begins
    Arena measure;
    x_place(measure);
    x_room = extractor.backend().allocate(measure.high_water());
    Arena live(x_room);
    x_place(live);
  }

  [[nodiscard]] const DefectProbeOptions& options() const { return x_options; }
  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }
  /// The bank; empty before `learn`.
  [[nodiscard]] const std::optional<DefectBank<B>>& bank() const { return x_bank; }

  /// Learns what is normal, in place of what was learned before, from an `ImageSource` or
  /// `SegmentationSource` of normal images; patches with a defect's pixel in them are left out. Throws
  /// `DataError` where none can be read. A stop request leaves the probe without a bank.
  template <class Source>
  FeaturePassCount learn(const Source& source, const std::stop_token& token = {}) {
    const Index count = source.size();
    if (count < 1) throw DataError("the set of normal images is empty");
    const GridSize grid = x_extractor.grid();
    const Index most = std::min(x_options.pool, count * grid.size());
    x_bank.reset();
    DefectBank<B> bank = x_make_bank(most);
    const B& backend = x_extractor.backend();
    const FeaturePassCount passed = x_pass(source, token, [&](const PassedImage<T>& image) {
      std::vector<std::int32_t> rows = sample_rows(grid.size(), row_quota(image.index, count, most),
                                                   {.seed = x_options.seed,
                                                    .sample = static_cast<std::uint64_t>(image.index),
                                                    .view = 7,
                                                    .purpose = Purpose::probe});
      std::erase_if(rows, [&](std::int32_t row) { return !x_is_normal(image.input.labels, row); });
      if (rows.empty()) return;
      const auto some = static_cast<Index>(rows.size());
      backend.upload(x_index.data(), std::span<const std::int32_t>(rows));
      backend.copy_rows(x_some.rows(0, some), RowIndex{}, x_averaged(image.patches),
                        RowIndex(x_index.data(), some));
      bank.add(x_some.rows(0, some));
    });
    if (token.stop_requested()) return passed;
    bank.build(token);
    if (!token.stop_requested()) x_bank.emplace(std::move(bank));
    return passed;
  }

  /// Takes a bank that was built before, for images of the same backbone at the same size. Throws `ShapeError`.
  void take(DefectBank<B> bank) {
    require_shape(bank.options().width == x_extractor.width() && bank.size() > 0, "defect probe: a bank of ",
                  bank.size(), " rows of width ", bank.options().width, "; the features have ", x_extractor.width());
    x_bank.emplace(std::move(bank));
  }

  /// Scores every image of a source, each with a call of `on_score`. Throws `DataError` before `learn`, or where
  /// no image can be read.
  template <class Source>
  FeaturePassCount score(const Source& source, const std::stop_token& token = {}) {
    return x_each_score(source, token, [](const DefectScore&) {});
  }

  /// Scores one image of any size, without `on_score`: for images that come one by one, as from a camera. The same numbers as
  /// in a source. One channel is repeated to fill more, three become grey for one. The spans of the result are valid until
  /// the next call. Costs as much as a whole batch of the extractor's. Throws `DataError` before `learn`, `ImageError` for
  /// other channels, `NonFiniteError` where the features are not finite. Test: tests/defects/defect_probe.cpp.
  [[nodiscard]] DefectScore score_image(const AnyImageView& image) {
    if (!x_bank) throw DataError("defect probe: nothing was learned before an image was to be scored");
    const HeldImage held = with_channels(HeldImage(image), x_renderer.options().channels, "the image");
    const AnyImageView view = held.view();
    const CropMap whole{.box = {0, 0, dssl::height(view), dssl::width(view)}};
    if (x_no_mask.height() != whole.box.height || x_no_mask.width() != whole.box.width)
      x_no_mask = Image<std::uint8_t>(whole.box.height, whole.box.width, 1);
    x_one = x_renderer.render(view, x_no_mask, whole, x_renderer.options().height, x_renderer.options().width);
    x_extractor.forward(x_one.image);
    const PassedImage<T> passed{.index = 0, .input = x_one, .patches = x_extractor.patch_map(0), .class_token = {}};
    detail::FeatureWatch<T>().see(x_extractor.backend(), passed, "the image");
    x_one_scores.resize(static_cast<std::size_t>(x_extractor.grid().size()));
    const std::optional<double> found = x_score(x_one_scores, passed);
    if (!found) throw DataError("defect probe: no patch of the input shows the image");
    return {0, *found, x_one, x_heat_maps.of(x_one_scores), x_renderer.options()};
  }

  /// Scores every image of a source and counts. Throws as `score`.
  template <class Source>
  [[nodiscard]] DefectResult evaluate(const Source& source, const std::stop_token& token = {}) {
    DefectResult result{.tally = DetectionTally(x_options.tally)};
    result.unreadable = x_each_score(source, token, [&](const DefectScore& image) { result.add(image); }).unreadable;
    return result;
  }

 private:
  [[nodiscard]] DefectBank<B> x_make_bank(Index pool) const {
    return DefectBank<B>(x_extractor.backend(), {.width = x_extractor.width(),
                                                 .pool = pool,
                                                 .coreset = x_options.coreset,
                                                 .coreset_size = x_options.coreset_size,
                                                 .projection = x_options.projection,
                                                 .reweighting = x_options.reweighting,
                                                 .seed = x_options.seed});
  }

  void x_place(Arena& arena) {
    const GridSize grid = x_extractor.grid();
    x_mean = arena.template matrix<T>(grid.size(), x_extractor.width());
    x_some = arena.template matrix<T>(grid.size(), x_extractor.width());
    x_index = arena.template vector<std::int32_t>(grid.size());
    x_taps = place_copy(x_extractor.backend(), arena, neighbourhood_taps<T>(grid, x_options.neighbourhood));
  }

  template <class Source, class Each>
  FeaturePassCount x_each_score(const Source& source, const std::stop_token& token, const Each& each) {
    if (!x_bank) throw DataError("defect probe: nothing was learned before the evaluation");
    std::vector<float> patch_scores(static_cast<std::size_t>(x_extractor.grid().size()));
    const FeaturePassCount passed = x_pass(source, token, [&](const PassedImage<T>& image) {
      const std::optional<double> found = x_score(patch_scores, image);
      if (!found) return;
      const DefectScore score(image.index, *found, image.input, x_heat_maps.of(patch_scores), x_renderer.options());
      each(score);
      if (on_score) on_score(score);
    });
    if (passed.images == 0 && !token.stop_requested()) throw DataError("no image of the set can be read");
    return passed;
  }

  template <class Source, class Each>
  FeaturePassCount x_pass(const Source& source, const std::stop_token& token, const Each& each) {
    Index done = 0;
    return pass_features(x_extractor, x_renderer, BinaryMasks<Source>(source),
                         {.loader = x_options.loader, .skip = x_options.skip}, on_skip, token,
                         [&](const PassedImage<T>& image) {
                           each(image);
                           if (on_images) on_images(++done);
                         });
  }

  [[nodiscard]] MatrixView<const T> x_averaged(MatrixView<const T> patches) const {
    if (x_options.neighbourhood == 1) return patches;
    x_extractor.backend().sample_rows_forward(x_mean, patches, x_taps);
    return x_mean;
  }

  /// The image score, and a score of each patch. What lies outside the image takes no part: such patches get the lowest
  /// score of the others. Nothing where there are no others.
  std::optional<double> x_score(std::span<float> patch_scores, const PassedImage<T>& image) {
    const Index patches = x_extractor.grid().size();
    std::vector<std::int32_t> inside;
    for (std::int32_t row = 0; row < patches; ++row) {
      if (!x_all_pixels(image.input.labels, row, [](std::uint8_t l) { return l == ClassMap::ignored; })) {
        inside.push_back(row);
      }
    }
    const MatrixView<const T> rows = x_averaged(image.patches);
    const auto count = static_cast<Index>(inside.size());
    if (count == patches) return x_bank->score(patch_scores, rows);
    if (count == 0) return std::nullopt;
    const B& backend = x_extractor.backend();
    backend.upload(x_index.data(), std::span<const std::int32_t>(inside));
    backend.copy_rows(x_some.rows(0, count), RowIndex{}, rows, RowIndex(x_index.data(), count));
    std::vector<float> scores(inside.size());
    const double score = x_bank->score(scores, x_some.rows(0, count));
    std::ranges::fill(patch_scores, *std::ranges::min_element(scores));
    for (std::size_t i = 0; i < inside.size(); ++i) patch_scores[static_cast<std::size_t>(inside[i])] = scores[i];
    return score;
  }

  /// No pixel of the patch is a defect's or outside the image.
  [[nodiscard]] bool x_is_normal(std::span<const std::uint8_t> labels, std::int32_t patch) const {
    return x_all_pixels(labels, patch, [](std::uint8_t label) { return label == 0; });
  }

  template <class Holds>
  [[nodiscard]] bool x_all_pixels(std::span<const std::uint8_t> labels, std::int32_t patch, const Holds& holds) const {
    const GridSize grid = x_extractor.grid();
    const Index side = x_extractor.config().patch;
    const Index top = patch / grid.width * side;
    const Index left = patch % grid.width * side;
    for (Index y = top; y < top + side; ++y) {
      for (Index x = left; x < left + side; ++x) {
        if (!holds(labels[static_cast<std::size_t>(y * x_renderer.options().width + x)])) return false;
      }
    }
    return true;
  }

  Extractor& x_extractor;
  DefectProbeOptions x_options;
  InputRenderer x_renderer;
  std::optional<DefectBank<B>> x_bank;
  Buffer x_room;
  MatrixView<T> x_mean;  // (N,W) of one image
  MatrixView<T> x_some;  // (N,W) its patches that are learned, or scored
  VectorView<std::int32_t> x_index;
  VectorView<const Taps<T>> x_taps;
  HeatMaps x_heat_maps;
  Image<std::uint8_t> x_no_mask;  // of `score_image`, as are the next two
  LabelledInput x_one;
  std::vector<float> x_one_scores;
};

}  // namespace dssl
