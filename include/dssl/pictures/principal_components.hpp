// Principal components of patch features, and the colours they make of the patches of a set of images.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <dssl/backend/symmetric_eigen.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// The directions along which rows vary most.
struct PrincipalComponents {
  std::vector<double> mean;       ///< (D)
  std::vector<double> axes;       ///< (K,D): unit length, orthogonal
  std::vector<double> variances;  ///< (K): of the rows along each, the largest first
  double total = 0;               ///< sum of the variances of all D

  [[nodiscard]] Index count() const { return static_cast<Index>(variances.size()); }

  /// The coordinates (K) of a row (D): axis . (row - mean). Throws `ShapeError`.
  template <class T>
  [[nodiscard]] std::vector<double> coordinates(std::span<const T> row) const {
    require_shape(row.size() == mean.size(), "a row of ", row.size(), " values; the components have ",
                  mean.size());
    std::vector<double> out(variances.size(), 0.0);
    for (std::size_t k = 0; k < out.size(); ++k) {
      const double* const axis = axes.data() + k * mean.size();
      for (std::size_t d = 0; d < mean.size(); ++d)
        out[k] += axis[d] * (static_cast<double>(row[d]) - mean[d]);
    }
    return out;
  }
};

/// The K first principal components of those of rows (M,D) in host memory that `use` (M) names; empty: all.
///
/// Covariance over the number of rows, sums in double about the mean. Signs as `symmetric_eigen`. Cost: M D^2
/// + 5 D^3 FLOP. Throws `DataError` for fewer rows than 2, `ShapeError`. Test:
/// tests/pictures/principal_components.cpp.
template <class T>
[[nodiscard]] PrincipalComponents principal_components(MatrixView<const T> rows, Index count,
                                                       std::span<const std::uint8_t> use = {}) {
  const auto width = static_cast<std::size_t>(rows.cols());
  require_shape(
      count >= 1 && count <= rows.cols() && (use.empty() || static_cast<Index>(use.size()) == rows.rows()),
      "principal components: ", count, " of rows of ", rows.cols(), ", ", use.size(), " marks for ",
      rows.rows(), " rows");
  std::vector<const T*> used;
  for (Index i = 0; i < rows.rows(); ++i) {
    if (use.empty() || use[static_cast<std::size_t>(i)] != 0) used.push_back(rows.row(i));
  }
  if (used.size() < 2)
    throw DataError(join("principal components of ", used.size(), " patches; expected at least 2"));
  const double share = 1.0 / static_cast<double>(used.size());
  PrincipalComponents out;
  out.mean.assign(width, 0.0);
  for (const T* const row : used) {
    for (std::size_t d = 0; d < width; ++d) out.mean[d] += share * static_cast<double>(row[d]);
  }
  std::vector<double> covariance(width * width, 0.0), centred(width);
  for (const T* const row : used) {
    for (std::size_t d = 0; d < width; ++d) centred[d] = static_cast<double>(row[d]) - out.mean[d];
    for (std::size_t i = 0; i < width; ++i) {
      double* const to = covariance.data() + i * width;
      const double factor = share * centred[i];
      for (std::size_t j = 0; j <= i; ++j) to[j] += factor * centred[j];
    }
  }
  const SymmetricEigen eigen = symmetric_eigen(covariance, rows.cols(), count);
  out.axes = eigen.vectors;
  for (std::size_t k = 0; k < static_cast<std::size_t>(count); ++k)
    out.variances.push_back(std::max(0.0, eigen.values[k]));
  for (std::size_t d = 0; d < width; ++d) out.total += covariance[d * width + d];
  return out;
}

/// How components become colours.
struct ComponentColourOptions {
  /// Above 0: only patches whose first component lies above this share of its range are coloured, by the
  /// components of these patches alone; the others are black.
  double foreground = 0;
  bool reversed = false;  ///< the foreground lies below instead: which side it is on is chance
  double clip =
      0.01;  ///< share of the patches at each end of a component that take its darkest or brightest value

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (!(foreground >= 0 && foreground < 1)) throw OptionError("foreground", foreground, "0 to below 1");
    if (!(clip >= 0 && clip < 0.5)) throw OptionError("clip", clip, "0 to below 0.5");
  }
};

/// Patches of a set of images as colours in one basis.
struct ComponentColours {
  PrincipalComponents components;        ///< three (fewer where the width is)
  std::vector<std::uint8_t> foreground;  ///< (M): 1 where a patch is coloured
  std::vector<std::uint8_t> colours;     ///< (M,3)
};

/// Colours for patch features (M,D) of all images of a set, in host memory: the three first principal
/// components as red, green and blue, each stretched over the set from its `clip` quantile to the opposite
/// one.
///
/// Alike patches of different images have alike colours. Source: the pictures of Oquab et al., "DINOv2",
/// 2023. Throws `DataError` where fewer than two patches are in the foreground, `OptionError`. Test:
/// tests/pictures/principal_components.cpp.
template <class T>
[[nodiscard]] ComponentColours component_colours(MatrixView<const T> patches,
                                                 const ComponentColourOptions& options = {}) {
  options.validate();
  const auto count = static_cast<std::size_t>(patches.rows());
  const auto row = [&](std::size_t i) {
    return std::span<const T>(patches.row(static_cast<Index>(i)), static_cast<std::size_t>(patches.cols()));
  };
  ComponentColours out;
  out.foreground.assign(count, 1);
  if (options.foreground > 0) {
    const PrincipalComponents first = principal_components(patches, 1);
    std::vector<double> along(count);
    for (std::size_t i = 0; i < count; ++i) along[i] = first.coordinates(row(i))[0];
    const auto [low, high] = std::minmax_element(along.begin(), along.end());
    for (std::size_t i = 0; i < count; ++i) {
      const double place = *high > *low ? (along[i] - *low) / (*high - *low) : 1.0;
      out.foreground[i] = (options.reversed ? 1 - place : place) > options.foreground ? 1 : 0;
    }
  }
  out.components = principal_components(patches, std::min<Index>(3, patches.cols()), out.foreground);
  const auto used =
      static_cast<std::size_t>(std::accumulate(out.foreground.begin(), out.foreground.end(), 0));
  const auto clipped = static_cast<std::size_t>(options.clip * static_cast<double>(used - 1));
  out.colours.assign(3 * count, 0);
  std::vector<std::vector<double>> coordinates(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (out.foreground[i] != 0) coordinates[i] = out.components.coordinates(row(i));
  }
  for (std::size_t k = 0; k < static_cast<std::size_t>(out.components.count()); ++k) {
    std::vector<double> sorted;
    for (const auto& c : coordinates) {
      if (!c.empty()) sorted.push_back(c[k]);
    }
    std::sort(sorted.begin(), sorted.end());
    const double low = sorted[clipped];
    const double high = sorted[used - 1 - clipped];
    for (std::size_t i = 0; i < count; ++i) {
      if (coordinates[i].empty()) continue;
      const double place = high > low ? std::clamp((coordinates[i][k] - low) / (high - low), 0.0, 1.0) : 0.5;
      out.colours[3 * i + k] = static_cast<std::uint8_t>(255 * place + 0.5);
    }
  }
  return out;
}

/// The colours of one image's patches, (N,3) of `ComponentColours::colours`, as a picture of height x width
/// pixels. Throws `ShapeError`.
[[nodiscard]] inline Image<std::uint8_t> component_picture(std::span<const std::uint8_t> colours,
                                                           GridSize grid, Index height, Index width,
                                                           Enlargement how = Enlargement::nearest) {
  require_shape(static_cast<Index>(colours.size()) == 3 * grid.size(), "a picture of ", colours.size(),
                " colour values; expected 3 of each of ", grid.height, " x ", grid.width, " patches");
  Image<std::uint8_t> cells(grid.height, grid.width, 3);
  std::copy(colours.begin(), colours.end(), cells.pixels().begin());
  return enlarged(cells, height, width, how);
}

}  // namespace dssl
