// Points drawn where a map of weights says, a user's own; and the map of where an image has edges.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// How much each part of a scene is worth a point: cells (h,w) of equal size over the whole of it.
///
/// What `SalientPoints` and `WeightedPoints` make of a scene. Test: tests/points/weighted_points.cpp.
class PointWeights {
 public:
  /// Takes over weights (h,w), row by row. Throws `ShapeError` unless there are h * w, at least one, and `OptionError`
  /// unless each is finite and at least 0.
  PointWeights(Index rows, Index columns, std::vector<double> weights)
      : x_rows(rows), x_columns(columns), x_weights(std::move(weights)) {
    require_shape(rows >= 1 && columns >= 1 && x_weights.size() == static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns),
                  "PointWeights: ", x_weights.size(), " weights for ", rows, " x ", columns, " cells; expected one each");
    for (const double weight : x_weights) {
      if (!(weight >= 0) || !std::isfinite(weight)) throw OptionError("weights", weight, "finite weights of at least 0");
    }
  }

  [[nodiscard]] Index rows() const noexcept { return x_rows; }
  [[nodiscard]] Index columns() const noexcept { return x_columns; }
  [[nodiscard]] double operator()(Index row, Index column) const {
    return x_weights[static_cast<std::size_t>(row * x_columns + column)];
  }

  /// Points of `region`, a rectangle of the scene in its unit square, relative to it: `out` (K) in [0, 1]^2.
  ///
  /// Each is drawn alone, with a density that is the weight of the cell that it lies in: y by the sums of rows, x by
  /// the cells of that row, both exactly, cells that the region cuts with their part. Uniform where all weights in the
  /// region are 0, or it has no area. Two numbers of the stream a point, y first. Cost: the cells of the region, and
  /// its rows and columns a point. Throws `ShapeError` unless the region lies in [0, 1]^2, first before last.
  void sample(std::span<Point> out, RandomStream& random, const ViewFrame& region) const {
    const Point& first = region.first;
    const Point& last = region.last;
    require_shape(first.x >= 0 && first.y >= 0 && first.x <= last.x && first.y <= last.y && last.x <= 1 && last.y <= 1,
                  "PointWeights: region (", first.x, ", ", first.y, ") to (", last.x, ", ", last.y,
                  "); expected it in [0, 1]^2, first before last");
    const Part across(first.x, last.x, x_columns);
    const Part down(first.y, last.y, x_rows);
    std::vector<double> of_rows;
    std::vector<double> of_columns(static_cast<std::size_t>(across.count()));
    const auto weigh_row = [&](Index row) {
      for (Index c = 0; c < across.count(); ++c)
        of_columns[static_cast<std::size_t>(c)] = (*this)(row, across.cell + c) * across.extent(c);
      double sum = 0;
      for (const double weight : of_columns) sum += weight;
      return sum;
    };
    for (Index r = 0; r < down.count(); ++r) of_rows.push_back(weigh_row(down.cell + r) * down.extent(r));
    for (Point& p : out) {
      const double v = random.uniform();
      const double u = random.uniform();
      Index row = 0;
      p.y = down.place(of_rows, v, row);
      weigh_row(down.cell + row);
      Index column = 0;
      p.x = across.place(of_columns, u, column);
    }
  }

 private:
  /// The cells along one side that a region meets.
  struct Part {
    Part(double from, double to, Index cells) : first(from * static_cast<double>(cells)), last(to * static_cast<double>(cells)) {
      cell = std::min(static_cast<Index>(first), cells - 1);
      end = std::max(cell + 1, static_cast<Index>(std::ceil(last)));
    }
    [[nodiscard]] Index count() const { return end - cell; }
    [[nodiscard]] double begins(Index i) const { return std::max(first, static_cast<double>(cell + i)); }
    /// Of cell i, how much lies in the region, in cells.
    [[nodiscard]] double extent(Index i) const {
      return std::max(0.0, std::min(last, static_cast<double>(cell + i + 1)) - begins(i));
    }

    /// Where `share` of all weights lies before, relative to the region; `which` is the cell.
    [[nodiscard]] double place(const std::vector<double>& weights, double share, Index& which) const {
      double total = 0;
      for (const double weight : weights) total += weight;
      if (!(total > 0) || !(last > first)) {
        which = std::clamp(static_cast<Index>(first + share * (last - first)) - cell, Index{0}, count() - 1);
        return share;
      }
      double rest = share * total;
      // The last cell with a weight takes what rounding leaves over.
      Index chosen = 0;
      for (Index i = 0; i < count(); ++i) {
        const double weight = weights[static_cast<std::size_t>(i)];
        if (weight == 0) continue;
        chosen = i;
        if (rest < weight) break;
        rest -= weight;
      }
      which = chosen;
      const double inside = std::clamp(rest / weights[static_cast<std::size_t>(chosen)], 0.0, 1.0);
      return std::clamp((begins(chosen) + inside * extent(chosen) - first) / (last - first), 0.0, 1.0);
    }

    double first;
    double last;
    Index cell;
    Index end;
  };

  Index x_rows;
  Index x_columns;
  std::vector<double> x_weights;
};

/// Where an image has edges and texture: the mean over each cell's pixels and channels of g_x^2 + g_y^2, with
/// g_x = (value(x + 1) - value(x - 1)) / 2 in units of full scale, at the border the pixel itself in the missing one's
/// place. At most `rows` x `columns` cells, and no more than pixels. Cost: one pass over the image.
/// Throws `OptionError` unless both are at least 1. Test: tests/points/weighted_points.cpp.
[[nodiscard]] inline PointWeights gradient_energy(const AnyImageView& image, Index rows = 32, Index columns = 32) {
  if (rows < 1) throw OptionError("rows", rows, "at least 1 row of cells");
  if (columns < 1) throw OptionError("columns", columns, "at least 1 column of cells");
  return std::visit(
      [&]<class T>(const ImageView<T>& view) {
        const Index h = view.height();
        const Index w = view.width();
        const Index tall = std::min(rows, h);
        const Index wide = std::min(columns, w);
        std::vector<double> sums(static_cast<std::size_t>(tall * wide), 0.0);
        std::vector<double> counts(sums.size(), 0.0);
        constexpr double half = 0.5 / static_cast<double>(full_scale<T>);
        for (Index y = 0; y < h; ++y) {
          const T* const above = view.row(std::max<Index>(y - 1, 0));
          const T* const here = view.row(y);
          const T* const below = view.row(std::min(y + 1, h - 1));
          for (Index x = 0; x < w; ++x) {
            const Index left = std::max<Index>(x - 1, 0);
            const Index right = std::min(x + 1, w - 1);
            const auto cell = static_cast<std::size_t>(y * tall / h * wide + x * wide / w);
            for (Index c = 0; c < view.channels(); ++c) {
              const Index n = view.channels();
              const double across = half * (static_cast<double>(here[right * n + c]) - static_cast<double>(here[left * n + c]));
              const double down = half * (static_cast<double>(below[x * n + c]) - static_cast<double>(above[x * n + c]));
              sums[cell] += across * across + down * down;
              counts[cell] += 1;
            }
          }
        }
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] /= counts[i];
        return PointWeights(tall, wide, std::move(sums));
      },
      static_cast<const std::variant<ImageView<std::uint8_t>, ImageView<std::uint16_t>, ImageView<float>>&>(image));
}

/// A map of weights from an image (H,W,1) of any pixel type: a cell a pixel, its value in units of full scale. 8 bytes a
/// pixel. Throws `ShapeError` unless it has one channel, `OptionError` as `PointWeights`.
[[nodiscard]] inline PointWeights weights_of(const AnyImageView& map) {
  return std::visit(
      []<class T>(const ImageView<T>& view) {
        require_shape(view.channels() == 1, "weights_of: a map of ", view.channels(), " channels; expected 1");
        std::vector<double> weights;
        weights.reserve(static_cast<std::size_t>(view.height() * view.width()));
        constexpr auto full = static_cast<double>(full_scale<T>);
        for (Index y = 0; y < view.height(); ++y)
          for (Index x = 0; x < view.width(); ++x) weights.push_back(static_cast<double>(view(y, x, 0)) / full);
        return PointWeights(view.height(), view.width(), std::move(weights));
      },
      static_cast<const std::variant<ImageView<std::uint8_t>, ImageView<std::uint16_t>, ImageView<float>>&>(map));
}

/// K points a pair of views, each drawn alone by a map of weights of the scene: the user's own, from a file
/// (`WeightFiles`, dssl/data/weight_files.hpp) or a function.
///
/// A place of weight 0 has no point where both views show another one that has a weight; where they show none, and in
/// scenes that have no map, points are uniform. Cost: that of `PointWeights::sample` a pair, of the function a scene. Test:
/// tests/points/scene_points.cpp.
class WeightedPoints {
 public:
  /// The map of a scene, or nothing where it has none. A pure function of the scene; called by several threads at once, it
  /// may throw, which ends the run.
  using Maps = std::function<std::optional<PointWeights>(const SampledScene&)>;

  /// `maps_words`: tells these maps from others in checkpoints, as `WeightFiles::fingerprint`; empty: they are not told apart.
  /// Throws `OptionError` unless `points` is at least 1 and `maps` can be called.
  WeightedPoints(Index points, Maps maps, std::string maps_words = {})
      : x_count(points), x_maps(std::move(maps)), x_words(std::move(maps_words)) {
    if (points < 1) throw OptionError("points", points, "at least 1 point a view pair");
    if (!x_maps) throw OptionError("maps", "empty", "a function that gives a scene's weights");
  }

  [[nodiscard]] Index count() const noexcept { return x_count; }
  /// "weighted", or "weighted (maps WORDS)".
  [[nodiscard]] std::string words() const {
    return x_words.empty() ? std::string("weighted") : join("weighted (maps ", x_words, ")");
  }

  [[nodiscard]] PointWeights look(const SampledScene& scene) const {
    std::optional<PointWeights> map = x_maps(scene);
    return map ? std::move(*map) : PointWeights(1, 1, {1.0});
  }

 private:
  Index x_count;
  Maps x_maps;
  std::string x_words;
};

}  // namespace dssl
