// A source of images of any size through a backbone of one size: window by window, one map of features an image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
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
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/tiles.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// The patches of an image, or its references on a grid, in host memory.
template <class T>
struct PatchMap {
  Index index = 0;          ///< in the source
  GridSize grid{};          ///< patches down and across
  Index height = 0;         ///< of `input`
  Index width = 0;
  std::vector<T> patches;   ///< (N,W)
  LabelledInput input{};    ///< (C,h,w) and labels (h,w); the last patches of a row or column may reach beyond them
};

/// What a pass by windows went over.
struct TilePassCount : FeaturePassCount {
  Index windows = 0;
  Index smaller = 0;  ///< images that do not fill a window, which were mirrored beyond their ends

  TilePassCount& operator+=(const TilePassCount& other) {
    FeaturePassCount::operator+=(other);
    windows += other.windows;
    smaller += other.smaller;
    return *this;
  }
};

/// Pixels a side of a cell of an extractor's map: its patch, or where it reads n x n references a patch, an n-th of it.
///
/// Throws `OptionError` naming the field where that is no whole number, or the map is of points of a list, which has no cells.
/// Test: tests/defects/reference_maps.cpp.
template <class Extractor>
[[nodiscard]] Index map_cell(const Extractor& extractor) {
  const Index patch = extractor.config().patch;
  if constexpr (requires { extractor.options().references; }) {
    const auto& map = extractor.options().references;
    if (!map.points.empty()) throw OptionError("references.points", join(map.points.size(), " points"), "a grid of references, which is a map of the image");
    if (map.per_patch == 0) return patch;
    if (!map.has_whole_cells(patch))
      throw OptionError("references.per_patch", map.per_patch, join("a number of which the patch, ", patch, " pixels, is a multiple"));
    return patch / map.per_patch;
  } else {
    return patch;
  }
}

namespace detail {

/// An image whose windows are on their way.
template <class T>
struct TiledImage {
  TilePlan plan;
  PatchMap<T> map{};
  Index waiting = 0;  ///< windows that were not read yet
};

/// window (C,h,w) =: what of an image (C,H,W) lies under it from (top, left) on, mirrored beyond the ends.
inline void cut_window(std::span<float> window, Index height, Index width, std::span<const float> image, Index image_height,
                       Index image_width, Index channels, Index top, Index left) {
  float* to = window.data();
  for (Index c = 0; c < channels; ++c) {
    const float* const plane = image.data() + c * image_height * image_width;
    for (Index y = 0; y < height; ++y) {
      const float* const row = plane + mirrored(top + y, image_height) * image_width;
      for (Index x = 0; x < width; ++x) *to++ = row[mirrored(left + x, image_width)];
    }
  }
}

}  // namespace detail

/// Calls each(PatchMap&) for every readable image of a source, whole, in order, with the patches of all of it.
///
/// Each image is resized by the options' one factor, rendered as `base` says otherwise (its height, width and fit take no
/// part), and covered by windows of the extractor's size (`TilePlan`); a patch of the image has the features it has in the
/// one window it is read from. Every pixel is covered. Where an image does not fill a window, the rest of the window is
/// its mirror image, whose patches are not read. Windows of several images share a batch; memory is that of the images of
/// a batch of windows and of `loader.prefetch` more. Throws as `pass_features`, and `OptionError` for windows that
/// overlap too far, or a map without cells (`map_cell`), in whose units windows lie. Test: tests/defects/tiles.cpp.
template <class Extractor, class Source, class Each>
TilePassCount pass_tiles(Extractor& extractor, const TileOptions& tiles, const InputRenderer& base, const Source& source,
                         const FeaturePassOptions& options, const SkipCounter::Warn& on_skip, const std::stop_token& token,
                         const Each& each) {
  using T = typename Extractor::T;
  const GridSize grid = extractor.grid();
  const Index patch = map_cell(extractor);
  const Index height = extractor.options().height, width = extractor.options().width, channels = extractor.options().channels;
  tiles.validate(std::min(height, width), patch);
  options.validate();
  TilePassCount count;
  detail::FeatureWatch<T> watch;
  std::deque<detail::TiledImage<T>> open;  // references to its entries stay while it grows and shrinks at its ends
  struct Window {
    detail::TiledImage<T>* image;
    Index down, across;
  };
  std::vector<Window> batch;
  std::vector<float> pixels;
  const auto flush = [&] {
    if (batch.empty()) return;
    extractor.forward(pixels);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      auto& [plan, map, waiting] = *batch[i].image;
      const MatrixView<const T> read = extractor.patch_map(static_cast<Index>(i));
      if (options.require_sound) {
        watch.see(extractor.backend(), PassedImage<T>{.index = map.index, .input = map.input, .patches = read, .class_token = {}},
                  source.name(map.index));
      }
      std::vector<T> host(static_cast<std::size_t>(read.size()));
      extractor.backend().download(std::span<T>(host), read.data());
      for (Index y = 0; y < plan.down.cells; ++y) {
        if (plan.down.window[static_cast<std::size_t>(y)] != batch[i].down) continue;
        for (Index x = 0; x < plan.across.cells; ++x) {
          if (plan.across.window[static_cast<std::size_t>(x)] != batch[i].across) continue;
          const Index row = (y - plan.down.begins[static_cast<std::size_t>(batch[i].down)]) * grid.width + x -
                            plan.across.begins[static_cast<std::size_t>(batch[i].across)];
          std::copy_n(host.begin() + row * read.cols(), read.cols(),
                      map.patches.begin() + (y * plan.across.cells + x) * read.cols());
        }
      }
      --waiting;
    }
    batch.clear();
    pixels.clear();
    while (!open.empty() && open.front().waiting == 0) {
      each(open.front().map);
      open.pop_front();
    }
  };

  struct Loaded {
    Index index = 0, height = 0, width = 0;
    LabelledInput input{};
    std::vector<SkippedImage> skipped{};
  };
  SkipCounter skips(options.skip, on_skip);
  OrderedLoader<Loaded> loader(
      source.size(),
      [&](Index i) -> std::optional<Loaded> {
        Loaded out{.index = i};
        try {
          const LabelledImage picture = detail::with_mask(source.load(i));
          out.height = tiles.resized(picture.mask.height());
          out.width = tiles.resized(picture.mask.width());
          InputOptions own = base.options();
          own.height = out.height;
          own.width = out.width;
          own.fit = InputFit::stretch;
          out.input = InputRenderer(own, base.classes()).render(picture, out.height, out.width);
        } catch (const ImageError& error) {
          out.skipped.push_back(skipped_image(i, source.name(i), error));
        }
        return out;
      },
      options.loader, token);
  while (!token.stop_requested()) {
    std::optional<Loaded> next = loader.next();
    if (!next) break;
    skips.count(next->skipped);
    if (next->input.image.empty()) continue;
    ++count.images;
    count.census += next->input.census;
    if (next->height < height || next->width < width) ++count.smaller;
    open.push_back({.plan = TilePlan(next->height, next->width, patch, grid, tiles.overlap)});
    detail::TiledImage<T>& image = open.back();
    image.waiting = image.plan.windows();
    count.windows += image.waiting;
    image.map = {.index = next->index,
                 .grid = image.plan.grid(),
                 .height = next->height,
                 .width = next->width,
                 .patches = std::vector<T>(static_cast<std::size_t>(image.plan.grid().size() * extractor.width())),
                 .input = std::move(next->input)};
    const auto down = static_cast<Index>(image.plan.down.begins.size()), across = static_cast<Index>(image.plan.across.begins.size());
    for (Index y = 0; y < down; ++y) {
      for (Index x = 0; x < across; ++x) {
        pixels.resize(pixels.size() + static_cast<std::size_t>(extractor.image_size()));
        detail::cut_window(std::span<float>(pixels).last(static_cast<std::size_t>(extractor.image_size())), height, width,
                           image.map.input.image, image.map.height, image.map.width, channels,
                           image.plan.down.begins[static_cast<std::size_t>(y)] * patch,
                           image.plan.across.begins[static_cast<std::size_t>(x)] * patch);
        batch.push_back({&image, y, x});
        // The last window of an image may complete it and take it from the list: nothing of it is touched after that.
        if (static_cast<Index>(batch.size()) == extractor.options().batch) flush();
        if (token.stop_requested()) return count;
      }
    }
  }
  if (!token.stop_requested()) flush();
  if (options.require_sound && !token.stop_requested()) watch.require_different();
  count.unreadable = skips.unreadable();
  count.unreadable_labels = skips.unreadable_labels();
  return count;
}

}  // namespace dssl
