// How well outlines are drawn: intersection over union of the bands along classes' boundaries.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/metrics/confusion.hpp>

namespace dssl {

/// Numbers of one boundary tally.
struct BoundaryScores {
  std::vector<double> iou;  ///< (C) in [0, 1]; of an absent class NaN where those are excluded, else 0
  double mean_iou = 0;      ///< NaN where every class is absent and excluded
  Index absent = 0;         ///< classes without a pixel in truth and predictions
};

/// Pixels of the band for an image of height x width: `share` of its diagonal, rounded, at least 1.
[[nodiscard]] inline Index boundary_width(Index height, Index width, double share) {
  return std::max<Index>(
      1, static_cast<Index>(std::lround(share * std::hypot(static_cast<double>(height), static_cast<double>(width)))));
}

/// band (H,W) = 1 where a pixel of `labels` (H,W) is within r pixels of the boundary of its own class, else 0.
///
/// Distances are the larger of those down and across: a pixel is in the band exactly where the square of 2 r + 1 pixels a
/// side around it holds another label, or ends outside the image. O(H W), whatever r and the number of classes, by the
/// lengths of runs of one label. Throws `ShapeError`. Test: tests/metrics/boundary.cpp.
template <class Label>
[[nodiscard]] std::vector<std::uint8_t> boundary_band(std::span<const Label> labels, Index height, Index width, Index r) {
  require_shape(height >= 1 && width >= 1 && static_cast<Index>(labels.size()) == height * width && r >= 1, "a band of ", r,
                " pixels in ", labels.size(), " labels; expected ", height, " x ", width, " and at least 1 pixel");
  std::vector<std::uint8_t> band(labels.size(), 1), inside_row(labels.size(), 0);
  // Of each line, the pixels that have at least r of their kind before and behind them.
  const auto each_deep = [r](Index count, const auto& same, const auto& deep) {
    for (Index begin = 0, i = 1; i <= count; ++i) {
      if (i < count && same(i - 1, i)) continue;
      for (Index at = begin + r; at < i - r; ++at) deep(at);
      begin = i;
    }
  };
  const auto at = [width](Index y, Index x) { return static_cast<std::size_t>(y * width + x); };
  for (Index y = 0; y < height; ++y) {
    each_deep(
        width, [&](Index a, Index b) { return labels[at(y, a)] == labels[at(y, b)]; }, [&](Index x) { inside_row[at(y, x)] = 1; });
  }
  for (Index x = 0; x < width; ++x) {
    // Rows of pixels all of one label, under each other: pixels that are not inside their row are of no run.
    each_deep(
        height,
        [&](Index a, Index b) { return inside_row[at(a, x)] != 0 && inside_row[at(b, x)] != 0 && labels[at(a, x)] == labels[at(b, x)]; },
        [&](Index y) { band[at(y, x)] = 0; });
  }
  return band;
}

/// Counts where the bands along the boundaries of classes meet, an image at a time.
///
///   band(M) = {pixels of M within r of a pixel that is not of M}
///   r       = `share` of the image's diagonal in pixels, rounded, at least 1
///   IoU(c)  = sum over images of |band(T(c)) and band(P(c))| / sum over images of |band(T(c)) or band(P(c))|
///
/// with T(c), P(c) the pixels of class c in the truth and in the prediction, and distances the larger of those down and
/// across. Pixels outside the image are of no class, so that its edge is a boundary too; pixels whose truth is void are of
/// no class either, in truth and prediction. The insides of large regions, which decide the plain IoU, count nothing here.
/// Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021, equation 4,
/// with its share of 2 %. O(H W) time and 11 bytes a pixel for an image. Test: tests/metrics/boundary.cpp.
class BoundaryTally {
 public:
  /// Throws `ShapeError` unless there is at least one class, `OptionError` for a share outside (0, 1].
  explicit BoundaryTally(Index classes, double share = 0.02) : x_classes(classes), x_share(share) {
    require_shape(classes >= 1, "boundaries of ", classes, " classes; expected at least 1");
    if (!(share > 0 && share <= 1)) throw OptionError("share", share, "above 0, up to 1");
    x_both.resize(static_cast<std::size_t>(classes));
    x_either.resize(static_cast<std::size_t>(classes));
  }

  [[nodiscard]] Index classes() const { return x_classes; }
  [[nodiscard]] double share() const { return x_share; }
  /// Pixels of class c in both bands, and in either, of all images so far.
  [[nodiscard]] std::int64_t both(Index c) const { return x_both[static_cast<std::size_t>(c)]; }
  [[nodiscard]] std::int64_t either(Index c) const { return x_either[static_cast<std::size_t>(c)]; }
  /// The counts become their sums over ranks.
  void sum_over(const Communicator& ranks) {
    ranks.all_sum(std::span(x_both));
    ranks.all_sum(std::span(x_either));
  }

  /// Counts an image (H,W); pixels whose truth is outside 0..C-1 are void.
  /// Throws `ShapeError` if sizes differ or a prediction that counts is outside 0..C-1.
  template <class Truth, class Predicted>
  void add(std::span<const Truth> truth, std::span<const Predicted> predicted, Index height, Index width) {
    require_shape(height >= 1 && width >= 1 && static_cast<Index>(truth.size()) == height * width && truth.size() == predicted.size(),
                  "boundaries of ", truth.size(), " true and ", predicted.size(), " predicted classes; expected ", height, " x ", width);
    std::vector<std::int32_t> t(truth.size(), -1), p(truth.size(), -1);
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const auto own = static_cast<Index>(truth[i]), other = static_cast<Index>(predicted[i]);
      if (own < 0 || own >= x_classes) continue;
      require_shape(other >= 0 && other < x_classes, "boundaries of ", x_classes, " classes: class ", other, " predicted");
      t[i] = static_cast<std::int32_t>(own);
      p[i] = static_cast<std::int32_t>(other);
    }
    const Index r = boundary_width(height, width, x_share);
    const auto true_band = boundary_band(std::span<const std::int32_t>(t), height, width, r);
    const auto predicted_band = boundary_band(std::span<const std::int32_t>(p), height, width, r);
    for (std::size_t i = 0; i < t.size(); ++i) {
      if (t[i] < 0) continue;
      const bool of_true = true_band[i] != 0, of_predicted = predicted_band[i] != 0;
      if (of_true) ++x_either[static_cast<std::size_t>(t[i])];
      if (of_true && of_predicted && t[i] == p[i]) {
        ++x_both[static_cast<std::size_t>(t[i])];
      } else if (of_predicted) {
        ++x_either[static_cast<std::size_t>(p[i])];
      }
    }
  }

  /// The IoU of each class's bands, and their mean. A class of which there is a pixel has a band.
  [[nodiscard]] BoundaryScores scores(AbsentClasses rule = AbsentClasses::excluded) const {
    constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
    BoundaryScores out;
    double sum = 0;
    for (Index c = 0; c < x_classes; ++c) {
      const bool absent = either(c) == 0;
      out.absent += absent ? 1 : 0;
      out.iou.push_back(!absent                         ? static_cast<double>(both(c)) / static_cast<double>(either(c))
                        : rule == AbsentClasses::zero ? 0.0
                                                        : undefined);
      if (!absent) sum += out.iou.back();
    }
    const Index counted = rule == AbsentClasses::zero ? x_classes : x_classes - out.absent;
    out.mean_iou = counted > 0 ? sum / static_cast<double>(counted) : undefined;
    return out;
  }

 private:
  Index x_classes;
  double x_share;
  std::vector<std::int64_t> x_both, x_either;
};

}  // namespace dssl
