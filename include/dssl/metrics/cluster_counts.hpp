// Which cluster covers which class, and the scores once clusters are named after classes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/metrics/assignment.hpp>
#include <dssl/metrics/confusion.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Counts of pixels (K,C): a row for each cluster, a column for each class.
///
/// Test: tests/metrics/cluster_counts.cpp.
class ClusterCounts {
 public:
  /// Throws `ShapeError` unless there is at least one of each.
  ClusterCounts(Index clusters, Index classes) : x_clusters(clusters), x_classes(classes) {
    require_shape(clusters >= 1 && classes >= 1, "cluster counts of ", clusters, " clusters and ", classes,
                  " classes; expected at least 1 of each");
    x_counts.resize(static_cast<std::size_t>(clusters * classes));
  }

  [[nodiscard]] Index clusters() const { return x_clusters; }
  [[nodiscard]] Index classes() const { return x_classes; }
  [[nodiscard]] std::int64_t operator()(Index cluster, Index label) const {
    return x_counts[static_cast<std::size_t>(cluster * x_classes + label)];
  }
  [[nodiscard]] std::span<const std::int64_t> counts() const { return x_counts; }
  /// The counts become their sums over ranks.
  void sum_over(const Communicator& ranks) { ranks.all_sum(std::span(x_counts)); }

  /// Counts pairs; those whose label is outside 0..C-1 (void) are passed over.
  /// Throws `ShapeError` if the spans differ in length or a cluster is outside 0..K-1.
  template <class Label>
  void add(std::span<const std::int32_t> clusters, std::span<const Label> labels) {
    require_shape(clusters.size() == labels.size(), "cluster counts: ", clusters.size(), " clusters and ",
                  labels.size(), " labels");
    for (std::size_t i = 0; i < labels.size(); ++i) x_add(clusters[i], static_cast<Index>(labels[i]));
  }

  /// Counts the pixels of an image: clusters of its patches (N), labels (height, width). A pixel belongs to
  /// the patch that it lies in: row y to row floor(y h / height) of the grid. Throws `ShapeError`.
  template <class Label>
  void add(std::span<const std::int32_t> clusters, GridSize grid, std::span<const Label> labels, Index height,
           Index width) {
    require_shape(static_cast<Index>(clusters.size()) == grid.size() &&
                      static_cast<Index>(labels.size()) == height * width,
                  "cluster counts: ", clusters.size(), " patches in a grid of ", grid.height, " x ",
                  grid.width, ", ", labels.size(), " labels of ", height, " x ", width, " pixels");
    for (Index y = 0; y < height; ++y) {
      const std::int32_t* const row = clusters.data() + y * grid.height / height * grid.width;
      for (Index x = 0; x < width; ++x)
        x_add(row[x * grid.width / width],
              static_cast<Index>(labels[static_cast<std::size_t>(y * width + x)]));
    }
  }

 private:
  void x_add(std::int32_t cluster, Index label) {
    require_shape(cluster >= 0 && cluster < x_clusters, "cluster counts of ", x_clusters,
                  " clusters: cluster ", cluster);
    if (label >= 0 && label < x_classes)
      ++x_counts[static_cast<std::size_t>(static_cast<Index>(cluster) * x_classes + label)];
  }

  Index x_clusters;
  Index x_classes;
  std::vector<std::int64_t> x_counts;
};

/// The class of each cluster, -1 for none, one to one: the matching with the most pixels in it (Hungarian).
/// With more clusters than classes the others name nothing, and their pixels count as missed.
/// Test: brute force (tests/metrics/cluster_counts.cpp).
[[nodiscard]] inline std::vector<Index> hungarian_match(const ClusterCounts& counts) {
  std::vector<double> cost;
  for (const std::int64_t n : counts.counts()) cost.push_back(-static_cast<double>(n));
  return minimum_assignment(MatrixView<const double>(cost.data(), counts.clusters(), counts.classes()));
}

/// The class of each cluster: the one that most of its pixels have (the lowest among equals); -1 for a
/// cluster without labelled pixels. Several clusters may name one class. It rises with the number of clusters
/// by itself: compare equal numbers only.
[[nodiscard]] inline std::vector<Index> majority_match(const ClusterCounts& counts) {
  std::vector<Index> out;
  for (Index k = 0; k < counts.clusters(); ++k) {
    Index best = 0;
    for (Index c = 1; c < counts.classes(); ++c) {
      if (counts(k, c) > counts(k, best)) best = c;
    }
    out.push_back(counts(k, best) > 0 ? best : -1);
  }
  return out;
}

/// IoU, their mean and accuracy once each cluster's pixels are taken for its class in `match` (-1: for none
/// of them). Throws `ShapeError`. Test: tests/metrics/cluster_counts.cpp.
[[nodiscard]] inline SegmentationScores matched_scores(const ClusterCounts& counts,
                                                       std::span<const Index> match,
                                                       AbsentClasses rule = AbsentClasses::excluded) {
  require_shape(static_cast<Index>(match.size()) == counts.clusters(), "a match of ", match.size(),
                " clusters; expected ", counts.clusters());
  const auto classes = static_cast<std::size_t>(counts.classes());
  std::vector<std::int64_t> right(classes, 0);
  std::vector<std::int64_t> either(classes, 0);
  std::int64_t all = 0;
  std::int64_t all_right = 0;
  for (Index k = 0; k < counts.clusters(); ++k) {
    const Index named = match[static_cast<std::size_t>(k)];
    require_shape(named >= -1 && named < counts.classes(), "a match with class ", named, "; expected -1 to ",
                  counts.classes() - 1);
    for (Index c = 0; c < counts.classes(); ++c) {
      const std::int64_t n = counts(k, c);
      all += n;
      either[static_cast<std::size_t>(c)] += n;
      if (named == c) {
        right[static_cast<std::size_t>(c)] += n;
        all_right += n;
      } else if (named >= 0) {
        either[static_cast<std::size_t>(named)] += n;
      }
    }
  }
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  SegmentationScores out;
  double sum = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    const bool absent = either[c] == 0;
    if (absent) ++out.absent;
    out.iou.push_back(!absent ? static_cast<double>(right[c]) / static_cast<double>(either[c])
                      : rule == AbsentClasses::zero ? 0.0
                                                    : undefined);
    if (!absent) sum += out.iou.back();
  }
  const Index counted = counts.classes() - (rule == AbsentClasses::zero ? 0 : out.absent);
  out.mean_iou = counted > 0 ? sum / static_cast<double>(counted) : undefined;
  out.pixel_accuracy = all > 0 ? static_cast<double>(all_right) / static_cast<double>(all) : undefined;
  return out;
}

}  // namespace dssl
