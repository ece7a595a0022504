// Which patches of an image are compared, and what is taken out of their features first.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// What is done with the patches of an image before they are learned or scored; the defaults do nothing.
struct PatchRules {
  Index border = 0;          ///< outer rows and columns of an image's patches that do not count
  bool standardise = false;  ///< each feature less its mean over the image's patches that count, over its deviation there
  /// Share of the image's extent at which patches count as far apart in place as any two are in their features; 0: place
  /// does not matter. See `append_places`.
  double place = 0;
  Foreground foreground{};  ///< patches count of which at least half is on it

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (border < 0) throw OptionError("border", border, "0 or more patches");
    foreground.validate();
    if (!(place >= 0 && std::isfinite(place))) throw OptionError("place", place, "0 (off), or a share of the image above it");
  }
};

/// Patches of a grid with a pixel of the image in them, or with a foreground those of which at least half is on it, in order, but
/// for the rules' `border` outermost rows and columns of these.
///
/// labels (h,w) are `ClassMap::ignored` outside the image and off its foreground; a patch that reaches beyond h or w is judged by
/// what is inside. Empty where the image has no pixel and there is no foreground; throws `ImageError` naming the image where no
/// patch of it is on the foreground, `DataError` where the border leaves no patch of it.
/// Test: tests/defects/patch_rules.cpp, tests/defects/foreground.cpp.
[[nodiscard]] inline std::vector<std::int32_t> counted_patches(std::span<const std::uint8_t> labels, Index height, Index width,
                                                               GridSize grid, Index patch, const PatchRules& rules,
                                                               const std::string& name) {
  require_shape(static_cast<Index>(labels.size()) == height * width, "labels of ", labels.size(), " pixels; expected ", height,
                " x ", width);
  std::vector<Index> pixels(static_cast<std::size_t>(grid.size())), shown(pixels.size());
  for (Index y = 0; y < std::min(height, grid.height * patch); ++y) {
    for (Index x = 0; x < std::min(width, grid.width * patch); ++x) {
      const auto cell = static_cast<std::size_t>(y / patch * grid.width + x / patch);
      ++pixels[cell];
      shown[cell] += labels[static_cast<std::size_t>(y * width + x)] != ClassMap::ignored ? 1 : 0;
    }
  }
  const bool half = rules.foreground.any();
  const auto counts = [&](Index y, Index x) {
    const auto cell = static_cast<std::size_t>(y * grid.width + x);
    return shown[cell] > 0 && (!half || 2 * shown[cell] >= pixels[cell]);
  };
  Index top = grid.height, bottom = -1, left = grid.width, right = -1;
  for (Index y = 0; y < grid.height; ++y) {
    for (Index x = 0; x < grid.width; ++x) {
      if (!counts(y, x)) continue;
      top = std::min(top, y);
      bottom = std::max(bottom, y);
      left = std::min(left, x);
      right = std::max(right, x);
    }
  }
  if (half && bottom < 0) throw ImageError(name, "has no patch at least half of which is on its foreground");
  std::vector<std::int32_t> out;
  for (Index y = top + rules.border; y <= bottom - rules.border; ++y) {
    for (Index x = left + rules.border; x <= right - rules.border; ++x) {
      if (counts(y, x)) out.push_back(static_cast<std::int32_t>(y * grid.width + x));
    }
  }
  if (out.empty() && bottom >= 0) {
    throw DataError(join(name, ": has ", bottom - top + 1, " x ", right - left + 1, " patches; a border of ", rules.border,
                         " leaves none of them"));
  }
  return out;
}

/// Whether a patch of `patch` pixels a side is learned as a defect's, that a defect has so many pixels of: a quarter of it, or no
/// fewer than of any other patch of the image that counts (`largest`). Others that a defect touches are neither a defect's nor
/// normal.
[[nodiscard]] constexpr bool shows_defect(Index pixels, Index largest, Index patch) {
  return pixels > 0 && (4 * pixels >= patch * patch || pixels == largest);
}

/// values (n,W) =: each column less its mean, over its deviation; a column that does not vary becomes 0.
///
///   x(i, d) = (x(i, d) - m(d)) / s(d),   m, s: mean and deviation over the n rows, in double
///
/// What all patches of an image have in common (its exposure, its material) is thereby gone, and every feature weighs the
/// same. Test: tests/defects/patch_rules.cpp.
template <class T>
void standardise_columns(std::span<T> values, Index width) {
  require_shape(width >= 1 && static_cast<Index>(values.size()) % width == 0, "rows of width ", width, " in ", values.size(),
                " values");
  const auto columns = static_cast<std::size_t>(width);
  const std::size_t rows = values.size() / columns;
  if (rows == 0) return;
  std::vector<double> mean(columns), square(columns);
  for (std::size_t i = 0; i < values.size(); ++i) mean[i % columns] += static_cast<double>(values[i]);
  for (double& m : mean) m /= static_cast<double>(rows);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double from = static_cast<double>(values[i]) - mean[i % columns];
    square[i % columns] += from * from;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t d = i % columns;
    const double deviation = std::sqrt(square[d] / static_cast<double>(rows));
    // What differs by rounding alone is the same number.
    const bool varies = deviation > 1e-6 * (std::abs(mean[d]) + 1e-6);
    values[i] = varies ? static_cast<T>((static_cast<double>(values[i]) - mean[d]) / deviation) : T{0};
  }
}

/// How far apart two of rows (n,W) typically are: the root of the mean squared distance of two rows drawn at random,
/// sqrt(2 sum over d of s(d)^2).
template <class T>
[[nodiscard]] double typical_distance(std::span<const T> values, Index width) {
  const auto columns = static_cast<std::size_t>(width);
  const std::size_t rows = values.size() / columns;
  double sum = 0;
  for (std::size_t d = 0; d < columns && rows > 0; ++d) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < rows; ++i) mean += static_cast<double>(values[i * columns + d]) / static_cast<double>(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      const double from = static_cast<double>(values[i * columns + d]) - mean;
      square += from * from / static_cast<double>(rows);
    }
    sum += square;
  }
  return std::sqrt(2 * sum);
}

/// out (n,W+2) = rows (n,W) of the patches of `cells`, and beside them their places, so that a distance of rows is
///
///   d^2 = |f - f'|^2 + (unit / radius)^2 ((y - y')^2 + (x - x')^2)
///
/// with y and x the middle of the patch in shares of the grid. `unit`: what features are typically apart
/// (`typical_distance`). Patches `radius` apart in place are as far apart as any two, so that a patch is compared with
/// those from about its own place; there is no sharp edge. Test: tests/defects/patch_rules.cpp.
template <class T>
[[nodiscard]] std::vector<T> append_places(std::span<const T> rows, Index width, std::span<const std::int32_t> cells,
                                           GridSize grid, double unit, double radius) {
  require_shape(rows.size() == cells.size() * static_cast<std::size_t>(width), "places of ", cells.size(), " patches for ",
                rows.size(), " values of width ", width);
  std::vector<T> out;
  out.reserve(rows.size() + 2 * cells.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto from = rows.begin() + static_cast<Index>(i) * width;
    out.insert(out.end(), from, from + width);
    const double y = (static_cast<double>(cells[i] / grid.width) + 0.5) / static_cast<double>(grid.height);
    const double x = (static_cast<double>(cells[i] % grid.width) + 0.5) / static_cast<double>(grid.width);
    out.push_back(static_cast<T>(y * unit / radius));
    out.push_back(static_cast<T>(x * unit / radius));
  }
  return out;
}

}  // namespace dssl
