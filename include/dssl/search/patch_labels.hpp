// Labels of pixels as labels of patches, and which patches of an image are kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// shares (N,C) =: the share that each class has of a patch's labelled pixels; all 0 where it has none.
///
/// labels (height, width): classes, or anything from C up for a pixel without a label. Patch (i, j) of the
/// grid covers rows [i height / h, (i + 1) height / h) and columns likewise; the labels are at least as fine
/// as the grid. Returns the number of patches with a labelled pixel. Throws `ShapeError`.
/// Test: tests/search/dense_retrieval.cpp.
inline Index patch_label_shares(MatrixView<float> shares, std::span<const std::uint8_t> labels, Index height,
                                Index width, GridSize grid) {
  require_shape(shares.rows() == grid.size() && static_cast<Index>(labels.size()) == height * width &&
                    height >= grid.height && width >= grid.width,
                "patch labels: ", labels.size(), " labels of ", height, " x ", width, " pixels for ",
                shares.rows(), " patches in a grid of ", grid.height, " x ", grid.width);
  std::fill_n(shares.data(), shares.size(), 0.0F);
  std::vector<Index> row_of(static_cast<std::size_t>(height));
  std::vector<Index> column_of(static_cast<std::size_t>(width));
  const auto fill = [](std::vector<Index>& cells, Index count) {
    const auto extent = static_cast<Index>(cells.size());
    for (Index i = 0; i < count; ++i) {
      for (Index at = i * extent / count; at < (i + 1) * extent / count; ++at)
        cells[static_cast<std::size_t>(at)] = i;
    }
  };
  fill(row_of, grid.height);
  fill(column_of, grid.width);
  std::vector<Index> labelled(static_cast<std::size_t>(grid.size()));
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      const auto label = static_cast<Index>(labels[static_cast<std::size_t>(y * width + x)]);
      if (label >= shares.cols()) continue;
      const Index patch =
          row_of[static_cast<std::size_t>(y)] * grid.width + column_of[static_cast<std::size_t>(x)];
      shares(patch, label) += 1.0F;
      ++labelled[static_cast<std::size_t>(patch)];
    }
  }
  Index with_label = 0;
  for (Index patch = 0; patch < grid.size(); ++patch) {
    const Index pixels = labelled[static_cast<std::size_t>(patch)];
    if (pixels == 0) continue;
    ++with_label;
    for (Index c = 0; c < shares.cols(); ++c) shares(patch, c) /= static_cast<float>(pixels);
  }
  return with_label;
}

/// Which patches of an image go into a bank that cannot hold all.
enum class PatchSampling : std::uint8_t {
  balanced,  ///< patches of classes that are rare in the image come first, as published
  uniform    ///< all alike
};

/// At most `count` different patches of an image, ascending; patches without a label are never taken.
///
/// Each patch draws u from [0, 1) and the lowest scores are taken: u itself (uniform), or u times the sum,
/// over the classes in the patch, of the number of patches of this image that hold the class (balanced).
/// shares (N,C) as from `patch_label_shares`. Depends on its arguments alone. Source: the public
/// open-hummingbird-eval, hbird/hbird_eval.py. Test: tests/search/dense_retrieval.cpp.
[[nodiscard]] inline std::vector<std::int32_t> sample_patches(MatrixView<const float> shares, Index count,
                                                              PatchSampling sampling, const RandomKey& key) {
  std::vector<double> patches_with(static_cast<std::size_t>(shares.cols()), 0.0);
  for (Index patch = 0; patch < shares.rows(); ++patch) {
    for (Index c = 0; c < shares.cols(); ++c) {
      if (shares(patch, c) > 0) patches_with[static_cast<std::size_t>(c)] += 1;
    }
  }
  RandomStream random(key);
  std::vector<std::pair<double, std::int32_t>> drawn;
  for (Index patch = 0; patch < shares.rows(); ++patch) {
    const double u = random.uniform();  // for every patch, so that labels do not shift the others' draws
    double weight = 0;
    for (Index c = 0; c < shares.cols(); ++c) {
      if (shares(patch, c) > 0) weight += patches_with[static_cast<std::size_t>(c)];
    }
    if (weight > 0) {
      drawn.emplace_back(sampling == PatchSampling::balanced ? u * weight : u,
                         static_cast<std::int32_t>(patch));
    }
  }
  const auto taken = static_cast<std::size_t>(std::clamp<Index>(count, 0, static_cast<Index>(drawn.size())));
  std::nth_element(drawn.begin(), drawn.begin() + static_cast<Index>(taken), drawn.end());
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < taken; ++i) out.push_back(drawn[i].second);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace dssl
