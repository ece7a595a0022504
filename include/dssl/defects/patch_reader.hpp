// The patches of images as ways to find defects compare them: of images made to fit, or by windows at their own resolution.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/neighbourhood.hpp>
#include <dssl/defects/standardised_images.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/tile_pass.hpp>
#include <dssl/features/tiles.hpp>

namespace dssl {

/// How the patches of images are read; the size of input, or of windows, is the extractor's.
struct PatchReaderOptions {
  std::optional<TileOptions> tiles{};  ///< windows at the image's own resolution; absent: images are made to fit
  bool standardise_images = false;     ///< brightness and contrast of each image first (`standardised`)
  Index flatten = 0;  ///< or brightness and contrast about each pixel, over this radius in the image's pixels (`flattened`); 0: off
  Foreground foreground{};             ///< labels are `ClassMap::ignored` off it
  Index neighbourhood = 3;             ///< each patch becomes the mean of so many by so many around it: 1 or 3
  InputFit fit = InputFit::stretch;    ///< without tiles
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`; both empty: the extractor's
  std::vector<float> deviation{};
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (neighbourhood != 1 && neighbourhood != 3) throw OptionError("neighbourhood", neighbourhood, "1 or 3");
    if (flatten < 0) throw OptionError("flatten", flatten, "0 (off) or a radius in pixels");
    foreground.validate();
    loader.validate();
    skip.validate();
  }
};

/// Reads patches, each the mean of its neighbourhood, of every image of a source.
///
/// Of an extractor of references on a grid the same holds of these: they are the patches, `cell()` pixels a side, and what is
/// counted in patches (neighbourhood, border, overlap) is counted in them.
/// Memory: what `pass_features` or `pass_tiles` takes, and the patches of one image twice. Bits depend on weights, images
/// and options alone. Test: tests/defects/tiles.cpp, tests/defects/defect_probe.cpp.
template <class Backbone, Backend B>
class PatchReader {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  SkipCounter::Warn on_skip;

  /// `extractor` must read patches, or references on a grid whose cells are whole pixels, hold its weights, and outlive the
  /// reader. Throws `OptionError`.
  PatchReader(Extractor& extractor, const PatchReaderOptions& options)
      : x_extractor(extractor),
        x_options((options.validate(), options)),
        x_renderer(detail::probe_input(extractor, options), defect_classes()) {
    x_cell = map_cell(extractor);
    if (options.tiles)
      options.tiles->validate(std::min(extractor.options().height, extractor.options().width), x_cell);
    x_make_room(extractor.grid());
  }

  [[nodiscard]] const PatchReaderOptions& options() const { return x_options; }
  /// Of images made to fit; with tiles, only its channels and values hold.
  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }
  [[nodiscard]] Extractor& extractor() const { return x_extractor; }
  /// Pixels a side of what a row of the maps stands for: a patch, or the part of one around a reference.
  [[nodiscard]] Index cell() const { return x_cell; }
  /// What the last pass by windows went over; nothing of other passes.
  [[nodiscard]] const TilePassCount& tiled() const { return x_tiled; }

  /// From now on that foreground is looked at.
  void set_foreground(const Foreground& foreground) {
    foreground.validate();
    x_options.foreground = foreground;
  }

  /// Calls each(PatchMap<T>&) for every readable image of a source, in order; masks become 1 for every pixel of a defect, and
  /// `ClassMap::ignored` off the foreground. An image of which `each` throws an `ImageError` is one that cannot be read too.
  /// Throws as `pass_features`.
  template <class Source, class Each>
  FeaturePassCount read(const Source& source, const std::stop_token& token, const Each& each) {
    const StandardisedImages<BinaryMasks<Source>> images(BinaryMasks<Source>(source, x_options.foreground), x_options.standardise_images, x_options.flatten);
    SkipCounter refused(x_options.skip, on_skip);
    const auto try_each = [&](PatchMap<T>& map) {
      std::vector<SkippedImage> skipped;
      try {
        each(map);
      } catch (const ImageError& error) {
        skipped.push_back(skipped_image(map.index, source.name(map.index), error));
      }
      refused.count(skipped);
    };
    const auto without_refused = [&](auto passed) {
      passed.images -= refused.unreadable();
      passed.unreadable += refused.unreadable();
      passed.unreadable_labels += refused.unreadable_labels();
      return passed;
    };
    const FeaturePassOptions pass{.loader = x_options.loader, .skip = x_options.skip};
    x_tiled = {};
    if (x_options.tiles) {
      x_tiled = without_refused(pass_tiles(x_extractor, *x_options.tiles, x_renderer, images, pass, on_skip, token, [&](PatchMap<T>& map) {
        x_make_room(map.grid);
        if (x_options.neighbourhood != 1) {
          const MatrixView<T> rows(x_from.data(), map.grid.size(), x_extractor.width());
          x_extractor.backend().upload(rows.data(), std::span<const T>(map.patches));
          x_average(map.patches, rows);
        }
        try_each(map);
      }));
      return x_tiled;
    }
    return without_refused(pass_features(x_extractor, x_renderer, images, pass, on_skip, token, [&](const PassedImage<T>& image) {
      PatchMap<T> map{.index = image.index,
                      .grid = x_extractor.grid(),
                      .height = x_renderer.options().height,
                      .width = x_renderer.options().width,
                      .patches = std::vector<T>(static_cast<std::size_t>(image.patches.size())),
                      .input = image.input};
      if (x_options.neighbourhood == 1) {
        x_extractor.backend().download(std::span<T>(map.patches), image.patches.data());
      } else {
        x_average(map.patches, image.patches);
      }
      try_each(map);
    }));
  }

 private:
  /// Means of the neighbourhoods of patches in the backend's memory, to the host.
  void x_average(std::span<T> out, MatrixView<const T> patches) {
    const MatrixView<T> mean(x_mean.data(), patches.rows(), patches.cols());
    x_extractor.backend().sample_rows_forward(mean, patches, x_taps);
    x_extractor.backend().download(out, static_cast<const T*>(mean.data()));
  }

  /// Buffers for that grid; those of before stay where it is the same.
  void x_make_room(GridSize grid) {
    if (x_grid.height == grid.height && x_grid.width == grid.width) return;
    x_grid = grid;
    const auto place = [&](Arena& arena) {
      x_mean = arena.template matrix<T>(grid.size(), x_extractor.width());
      x_from = arena.template matrix<T>(x_options.tiles ? grid.size() : Index{1}, x_extractor.width());
      x_taps = place_copy(x_extractor.backend(), arena, neighbourhood_taps<T>(grid, x_options.neighbourhood));
    };
    Arena measure;
    place(measure);
    if (measure.high_water() > x_room.bytes()) x_room = x_extractor.backend().allocate(measure.high_water());
    Arena live(x_room);
    place(live);
  }

  Extractor& x_extractor;
  PatchReaderOptions x_options;
  InputRenderer x_renderer;
  Index x_cell = 0;
  TilePassCount x_tiled;
  Buffer x_room;
  GridSize x_grid{};
  MatrixView<T> x_mean;  // (N,W) of one image
  MatrixView<T> x_from;  // (N,W) likewise, before
  VectorView<const Taps<T>> x_taps;
};

}  // namespace dssl
