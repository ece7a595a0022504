// Which class was taken for which: confusion matrix, intersection over union, accuracy.
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

namespace dssl {

/// What a class counts that occurs neither in the truth nor in the predictions, so that its IoU is 0/0.
enum class AbsentClasses : std::uint8_t {
  excluded,  ///< left out of the mean
  zero       ///< IoU 0, as published
};

/// Numbers of one confusion matrix.
struct SegmentationScores {
  std::vector<double> iou;    ///< (C) in [0, 1]; of an absent class NaN where those are excluded, else 0
  double mean_iou = 0;        ///< NaN where every class is absent and excluded
  double pixel_accuracy = 0;  ///< share of the labelled pixels that are right; NaN where there are none
  Index absent = 0;           ///< classes without a pixel in truth and predictions
};

/// Counts of pixels (C,C): a row for each true class, a column for each predicted one.
class ConfusionMatrix {
 public:
  /// Throws `ShapeError` unless there is at least one class.
  explicit ConfusionMatrix(Index classes) : x_classes(classes) {
    require_shape(classes >= 1, "confusion matrix of ", classes, " classes; expected at least 1");
    x_counts.resize(static_cast<std::size_t>(classes * classes));
  }

  [[nodiscard]] Index classes() const { return x_classes; }
  [[nodiscard]] std::int64_t operator()(Index truth, Index predicted) const {
    return x_counts[static_cast<std::size_t>(truth * x_classes + predicted)];
  }
  [[nodiscard]] std::span<const std::int64_t> counts() const { return x_counts; }
  /// The counts become their sums over ranks.
  void sum_over(const Communicator& ranks) { ranks.all_sum(std::span(x_counts)); }

  /// Counts pixels; those whose truth is outside 0..C-1 (void) are passed over.
  /// Throws `ShapeError` if the spans differ in length or a prediction is outside 0..C-1.
  template <class Truth, class Predicted>
  void add(std::span<const Truth> truth, std::span<const Predicted> predicted) {
    require_shape(truth.size() == predicted.size(), "confusion matrix: ", truth.size(), " true and ",
                  predicted.size(), " predicted classes");
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const auto t = static_cast<Index>(truth[i]);
      if (t < 0 || t >= x_classes) continue;
      const auto p = static_cast<Index>(predicted[i]);
      require_shape(p >= 0 && p < x_classes, "confusion matrix of ", x_classes, " classes: class ", p,
                    " predicted");
      ++x_counts[static_cast<std::size_t>(t * x_classes + p)];
    }
  }

  /// IoU of class c = n(c,c) / (sum over row c + sum over column c - n(c,c)), their mean, and the share that
  /// is right. Test: evaluation.safetensors (tests/probe/linear_segmenter.cpp).
  [[nodiscard]] SegmentationScores scores(AbsentClasses rule = AbsentClasses::excluded) const {
    constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
    SegmentationScores out;
    std::int64_t right = 0;
    std::int64_t all = 0;
    double sum = 0;
    Index counted = 0;
    for (Index c = 0; c < x_classes; ++c) {
      std::int64_t either = -(*this)(c, c);
      for (Index other = 0; other < x_classes; ++other) {
        either += (*this)(c, other) + (*this)(other, c);
        all += (*this)(c, other);
      }
      right += (*this)(c, c);
      if (either == 0) {
        ++out.absent;
        out.iou.push_back(rule == AbsentClasses::zero ? 0.0 : undefined);
        if (rule == AbsentClasses::zero) ++counted;
        continue;
      }
      out.iou.push_back(static_cast<double>((*this)(c, c)) / static_cast<double>(either));
      sum += out.iou.back();
      ++counted;
    }
    out.mean_iou = counted > 0 ? sum / static_cast<double>(counted) : undefined;
    out.pixel_accuracy = all > 0 ? static_cast<double>(right) / static_cast<double>(all) : undefined;
    return out;
  }

 private:
  Index x_classes;
  std::vector<std::int64_t> x_counts;
};

}  // namespace dssl
