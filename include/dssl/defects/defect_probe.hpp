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
#include <string_view>
#include <utility>
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
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/learned_patches.hpp>
#include <dssl/defects/patch_reader.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/ordered_rows.hpp>
#include <dssl/features/tiles.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/metrics/score_tally.hpp>
#include <dssl/search/row_sample.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// Numbers of the probe; the input's size, or that of windows, is the feature extractor's.
struct DefectProbeOptions {
  Index pool = 100'000;     ///< normal patches that the coreset is chosen from, at most, shared out evenly
  double coreset = 0.1;     ///< as in `DefectBankOptions`
  Index coreset_size = 0;   ///< likewise
  Index projection = 0;     ///< likewise
  Index reweighting = 9;    ///< likewise
  Index top = 1;            ///< likewise
  PatchRules rules{};       ///< what of an image's patches counts, and how; a bank that is taken brings its own
  Index neighbourhood = 3;  ///< each patch becomes the mean of so many by so many around it: 1 or 3
  std::optional<TileOptions> tiles{};  ///< windows at each image's own resolution; absent: images are made to fit
  bool standardise_images = false;     ///< brightness and contrast of each image first (`standardised`)
  Index flatten = 0;                   ///< or about each pixel, over this radius (`flattened`); 0: off
  double smoothing = 4;     ///< standard deviation of the blur of heat maps, in pixels of the input; 0: none
  InputFit fit = InputFit::stretch;  ///< without tiles
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`; both empty: the extractor's
  std::vector<float> deviation{};
  ScoreTallyOptions tally{};
  std::uint64_t seed = 0;
  LoaderOptions loader{};
  SkipPolicy skip{};
  /// That share the images of `learn`. What is scored is each rank's own: with several how many images of it cannot be read, all
  /// of them perhaps, is for the caller to judge.
  Communicator ranks{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (pool < 1) throw OptionError("pool", pool, "at least 1");
    rules.validate();
    if (!(smoothing >= 0)) throw OptionError("smoothing", smoothing, "0 or more pixels");
    tally.validate();
    reader().validate();
  }

  [[nodiscard]] PatchReaderOptions reader() const {
    SkipPolicy of_rank = skip;
    if (!ranks.alone()) of_rank.max_bad_share = 1;
    return {.tiles = tiles,
            .standardise_images = standardise_images,
            .flatten = flatten,
            .foreground = rules.foreground,
            .neighbourhood = neighbourhood,
            .fit = fit,
            .interpolation = interpolation,
            .mean = mean,
            .deviation = deviation,
            .loader = loader,
            .skip = of_rank};
  }
};

namespace detail {

/// A source of one image that was given.
class OneImage {
 public:
  explicit OneImage(HeldImage image) : x_image(std::move(image)) {}
  [[nodiscard]] Index size() const { return 1; }
  [[nodiscard]] std::string name(Index /*i*/) const { return "the image"; }
  [[nodiscard]] LabelledImage load(Index /*i*/) const { return with_mask(x_image.view().copy()); }

 private:
  HeldImage x_image;
};

}  // namespace detail

/// Scores images by how far their patch tokens lie from those of normal images.
///
/// `learn` takes patches of normal images (each token the mean of its neighbourhood, after the rules) and reduces them to a
/// coreset; then an image's patches are scored by their distance to it, and the scores are enlarged
/// bilinearly to the input's size and blurred. Patches that do not count, outside the image or at its border, get the
/// lowest score of the others. With tiles, input and heat map have the image's own size, by the one factor. Everything
/// streams: memory is the pool while learning, then the coreset, and a few batches of images. The result depends on
/// weights, images, options and seed alone, not on the number of threads. Ranks call `learn` with the same source, and every one
/// gets the same bank, to the bit. Source: Roth et al. (PatchCore), CVPR 2022.
/// Test: tests/defects/defect_probe.cpp.
template <class Backbone, Backend B>
class DefectProbe {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  std::function<void(Index)> on_images;  ///< images learned, by all ranks, or scored, so far
  std::function<void(const DefectScore&)> on_score;
  SkipCounter::Warn on_skip;

  /// `extractor` as of `PatchReader`; it must outlive the probe. Throws `OptionError`, also for a border that leaves nothing
  /// of images made to fit.
  DefectProbe(Extractor& extractor, const DefectProbeOptions& options)
      : x_options((options.validate(), options)), x_reader(extractor, options.reader()), x_rules(options.rules) {
    static_cast<void>(x_make_bank(1, 0));  // its options are checked before the work begins
    x_require_patches();
  }

  [[nodiscard]] const DefectProbeOptions& options() const { return x_options; }
  [[nodiscard]] const InputRenderer& renderer() const { return x_reader.renderer(); }
  /// The rules that hold: those of the options, or of the bank that was taken.
  [[nodiscard]] const PatchRules& rules() const { return x_rules; }
  /// What the last pass by windows went over.
  [[nodiscard]] const TilePassCount& tiled() const { return x_reader.tiled(); }
  /// The bank; empty before `learn`.
  [[nodiscard]] const std::optional<DefectBank<B>>& bank() const { return x_bank; }

  /// Learns what is normal, in place of what was learned before, from an `ImageSource` or
  /// `SegmentationSource` of normal images; patches with a defect's pixel in them are left out. Throws
  /// `DataError` where none can be read, or an image has no patch inside the border. A stop request leaves the probe
  /// without a bank.
  template <class Source>
  FeaturePassCount learn(const Source& source, const std::stop_token& token = {}) {
    const Index count = source.size();
    if (count < 1) throw DataError("the set of normal images is empty");
    x_bank.reset();
    x_follow(x_options.rules);
    // By windows nobody knows how many patches there will be.
    const Index most = x_options.tiles ? x_options.pool : std::min(x_options.pool, count * x_extractor().grid().size());
    const Index width = x_extractor().width();
    std::optional<DefectBank<B>> bank;
    bool met = false;
    Index done = 0;
    const FeaturePassCount passed = x_share(
        source, token, LearnedPatches<T>::numbers((most + count - 1) / count, width),
        [&](Index index, const PatchMap<T>& map) {
          const std::vector<std::int32_t> counted = x_counted(map, source.name(index));
          const std::vector<T> rows = x_features(map, counted);
          // Of all images' the first's holds, which is the first of one rank's.
          const double unit = x_rules.place > 0 && !std::exchange(met, true) ? typical_distance(std::span<const T>(rows), width) : 0;
          LearnedPatches<T> some{.unit = unit, .grid = map.grid};
          for (const std::int32_t cell : sample_rows(map.grid.size(), row_quota(index, count, most),
                                                     {.seed = x_options.seed,
                                                      .sample = static_cast<std::uint64_t>(index),
                                                      .view = 7,
                                                      .purpose = Purpose::probe})) {
            const auto at = std::ranges::lower_bound(counted, cell);
            if (at == counted.end() || *at != cell || !x_is_normal(map, cell)) continue;
            const auto from = rows.begin() + (at - counted.begin()) * width;
            some.cells.push_back(cell);
            some.rows.insert(some.rows.end(), from, from + width);
          }
          return some.told();
        },
        [&](std::span<const T> told) {
          LearnedPatches<T> some = LearnedPatches<T>::of(told, width);
          if (!bank) bank.emplace(x_make_bank(most, some.unit));
          if (!some.cells.empty()) bank->add(x_upload(x_placed(std::move(some.rows), some.cells, some.grid, bank->options().place_unit), bank->options().width));
          if (on_images) on_images(++done);
        });
    if (token.stop_requested()) return passed;
    if (!bank) throw DataError("no image of the set can be read");
    bank->build(token);
    if (!token.stop_requested()) x_bank = std::move(bank);
    return passed;
  }

  /// Takes a bank that was built before, and the rules it was made by, for images of the same backbone at the same size.
  /// Throws `ShapeError`; `OptionError` for a border that leaves nothing.
  void take(DefectBank<B> bank) {
    const Index width = x_extractor().width() + (bank.options().rules.place > 0 ? 2 : 0);
    require_shape(bank.options().width == width && bank.size() > 0, "defect probe: a bank of ",
                  bank.size(), " rows of width ", bank.options().width, "; the features have ", width);
    x_follow(bank.options().rules);
    x_require_patches();
    x_bank.emplace(std::move(bank));
  }

  /// From now on image scores are without it, also in the bank's file. Throws `DataError` before `learn`.
  void set_size_trend(const SizeTrend& trend) {
    if (!x_bank) throw DataError("defect probe: nothing was learned before its trend over sizes was set");
    x_bank->set_size_trend(trend);
  }

  /// Scores every image of a source, each with a call of `on_score`. Throws `DataError` before `learn`, or where
  /// no image can be read.
  template <class Source>
  FeaturePassCount score(const Source& source, const std::stop_token& token = {}) {
    return x_each_score(source, token, [](const DefectScore&) {});
  }

  /// Scores one image of any size, without `on_score`: for images that come one by one, as from a camera. The same numbers as
  /// in a source. One channel is repeated to fill more, three become grey for one. The spans of the result are valid until
  /// the next call. Costs as much as a whole batch of the extractor's, and a copy of the image. Throws `DataError` before
  /// `learn`, `ImageError` for other channels, `NonFiniteError` where the features are not finite. Test:
  /// tests/defects/defect_probe.cpp.
  [[nodiscard]] DefectScore score_image(const AnyImageView& image) {
    if (!x_bank) throw DataError("defect probe: nothing was learned before an image was to be scored");
    const detail::OneImage source(with_channels(HeldImage(image), x_reader.renderer().options().channels, "the image"));
    std::optional<DefectScore> out;
    std::string why = "defect probe: no patch of the input shows the image";
    x_reader.on_skip = [&](std::string_view /*name*/, std::string_view message) { why = join("defect probe: ", message); };
    x_reader.read(source, {}, [&](PatchMap<T>& map) {
      const std::optional<double> found = x_score(x_one_scores, map, source.name(0));
      if (!found) return;
      x_one = std::move(map.input);
      out.emplace(Index{0}, *found, x_one, x_heat_map(x_one_scores, map), map.height, map.width);
      out->patches = x_last_counted;
    });
    x_reader.on_skip = nullptr;
    if (!out) throw DataError(why);
    return *out;
  }

  /// Scores every image of a source and counts. Throws as `score`.
  template <class Source>
  [[nodiscard]] DefectResult evaluate(const Source& source, const std::stop_token& token = {}) {
    DefectResult result{.tally = DetectionTally(x_options.tally)};
    result.unreadable = x_each_score(source, token, [&](const DefectScore& image) { result.add(image); }).unreadable;
    return result;
  }

 private:
  [[nodiscard]] Extractor& x_extractor() const { return x_reader.extractor(); }

  void x_follow(const PatchRules& rules) {
    x_rules = rules;
    x_reader.set_foreground(rules.foreground);
  }

  [[nodiscard]] DefectBank<B> x_make_bank(Index pool, double place_unit) const {
    return DefectBank<B>(x_extractor().backend(), {.width = x_extractor().width() + (x_options.rules.place > 0 ? 2 : 0),
                                                   .pool = pool,
                                                   .coreset = x_options.coreset,
                                                   .coreset_size = x_options.coreset_size,
                                                   .projection = x_options.projection,
                                                   .reweighting = x_options.reweighting,
                                                   .seed = x_options.seed,
                                                   .top = x_options.top,
                                                   .rules = x_options.rules,
                                                   .place_unit = place_unit});
  }

  void x_require_patches() const {
    const GridSize grid = x_extractor().grid();
    if (x_options.tiles || 2 * x_rules.border < std::min(grid.height, grid.width)) return;
    throw OptionError("border", x_rules.border, join("0 to ", (std::min(grid.height, grid.width) - 1) / 2, ", as images have ",
                                                     grid.height, " x ", grid.width, " patches"));
  }

  /// (h,w), until the next call.
  [[nodiscard]] std::span<const float> x_heat_map(const std::vector<float>& patch_scores, const PatchMap<T>& map) {
    return x_heat_maps.of(patch_scores, map.grid, x_reader.cell(), map.height, map.width, x_options.smoothing);
  }

  template <class Source, class Each>
  FeaturePassCount x_each_score(const Source& source, const std::stop_token& token, const Each& each) {
    if (!x_bank) throw DataError("defect probe: nothing was learned before the evaluation");
    std::vector<float> patch_scores;
    const FeaturePassCount passed = x_pass(source, token, [&](const PatchMap<T>& map) {
      const std::optional<double> found = x_score(patch_scores, map, source.name(map.index));
      if (!found) return;
      DefectScore score(map.index, *found, map.input, x_heat_map(patch_scores, map), map.height, map.width);
      score.patches = x_last_counted;
      each(score);
      if (on_score) on_score(score);
    });
    if (passed.images == 0 && x_options.ranks.alone() && !token.stop_requested()) throw DataError("no image of the set can be read");
    return passed;
  }

  /// Each readable image of this rank goes to make(index, map), and what that gives of each image of all ranks, in order, to
  /// take(row), of about `row` numbers.
  template <class Source, class Make, class Take>
  FeaturePassCount x_share(const Source& source, const std::stop_token& token, Index row, const Make& make, const Take& take) {
    x_reader.on_skip = on_skip;
    return pass_in_turns<T>(
        x_options.ranks, source, row, x_extractor().options().batch, x_options.skip, token,
        [&](Index, std::optional<std::span<const T>> made) {
          if (made) take(*made);
        },
        [&](const auto& own, const SkipPolicy&, const auto& add) {
          return x_reader.read(own, token, [&](const PatchMap<T>& map) { add(map.index, make(own.number(map.index), map)); });
        });
  }

  template <class Source, class Each>
  FeaturePassCount x_pass(const Source& source, const std::stop_token& token, const Each& each) {
    Index done = 0;
    x_reader.on_skip = on_skip;
    return x_reader.read(source, token, [&](const PatchMap<T>& map) {
      each(map);
      if (on_images) on_images(++done);
    });
  }

  [[nodiscard]] std::vector<std::int32_t> x_counted(const PatchMap<T>& map, const std::string& name) const {
    return counted_patches(map.input.labels, map.height, map.width, map.grid, x_reader.cell(), x_rules, name);
  }

  /// (n,W) of the patches that count, after the rules.
  [[nodiscard]] std::vector<T> x_features(const PatchMap<T>& map, const std::vector<std::int32_t>& counted) const {
    const Index width = x_extractor().width();
    std::vector<T> rows;
    if (static_cast<Index>(counted.size()) == map.grid.size()) {
      rows = map.patches;
    } else {
      rows.reserve(counted.size() * static_cast<std::size_t>(width));
      for (const std::int32_t cell : counted)
        rows.insert(rows.end(), map.patches.begin() + cell * width, map.patches.begin() + (cell + 1) * width);
    }
    if (x_rules.standardise) standardise_columns(std::span<T>(rows), width);
    return rows;
  }

  [[nodiscard]] std::vector<T> x_placed(std::vector<T> rows, const std::vector<std::int32_t>& counted, GridSize grid,
                                        double unit) const {
    if (!(x_rules.place > 0)) return rows;
    return append_places(std::span<const T>(rows), x_extractor().width(), counted, grid, unit, x_rules.place);
  }

  /// The image score, and a score of each patch. What does not count takes no part: such patches get the lowest
  /// score of the others. Nothing where there are no others.
  std::optional<double> x_score(std::vector<float>& patch_scores, const PatchMap<T>& map, const std::string& name) {
    const std::vector<std::int32_t> counted = x_counted(map, name);
    if (counted.empty()) return std::nullopt;
    x_last_counted = static_cast<Index>(counted.size());
    const std::vector<T> rows = x_placed(x_features(map, counted), counted, map.grid, x_bank->options().place_unit);
    std::vector<float> scores(counted.size());
    const double score = x_bank->score(scores, x_upload(rows, x_bank->options().width));
    patch_scores.assign(static_cast<std::size_t>(map.grid.size()), *std::ranges::min_element(scores));
    for (std::size_t i = 0; i < counted.size(); ++i) patch_scores[static_cast<std::size_t>(counted[i])] = scores[i];
    return score;
  }

  /// Rows in the backend's memory, until the next call.
  [[nodiscard]] MatrixView<const T> x_upload(const std::vector<T>& rows, Index width) {
    const std::size_t bytes = rows.size() * sizeof(T);
    if (bytes > x_room.bytes()) x_room = x_extractor().backend().allocate(bytes);
    T* const to = reinterpret_cast<T*>(x_room.data());
    x_extractor().backend().upload(to, std::span<const T>(rows));
    return MatrixView<const T>(to, static_cast<Index>(rows.size()) / width, width);
  }

  /// No pixel of the patch is a defect's or outside the image; off the foreground a part of it may be, as of those that are scored.
  [[nodiscard]] bool x_is_normal(const PatchMap<T>& map, std::int32_t patch) const {
    const Index side = x_reader.cell();
    const Index top = patch / map.grid.width * side;
    const Index left = patch % map.grid.width * side;
    for (Index y = top; y < std::min(top + side, map.height); ++y) {
      for (Index x = left; x < std::min(left + side, map.width); ++x) {
        const std::uint8_t label = map.input.labels[static_cast<std::size_t>(y * map.width + x)];
        if (label != 0 && !(label == ClassMap::ignored && x_rules.foreground.any())) return false;
      }
    }
    return true;
  }

  DefectProbeOptions x_options;
  PatchReader<Backbone, B> x_reader;
  PatchRules x_rules;
  std::optional<DefectBank<B>> x_bank;
  Buffer x_room;
  CroppedHeatMaps x_heat_maps;
  Index x_last_counted = 0;  // patches of the image that was scored last
  LabelledInput x_one;  // of `score_image`, as is the next
  std::vector<float> x_one_scores;
};

}  // namespace dssl
