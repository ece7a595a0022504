// What ways of segmenting report: where their training is, an image predicted, and the counts of a set.
#pragma once

#include <cstdint>
#include <span>

#include <dssl/core/communicator.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/metrics/boundary.hpp>
#include <dssl/metrics/confusion.hpp>

namespace dssl {

/// Where a probe's training is.
struct ProbeStep {
  Index epoch = 0;   ///< from 0
  Index step = 0;    ///< steps done, all epochs together
  Index steps = 0;   ///< of the whole training
  Index images = 0;  ///< images seen so far
  double loss = 0;
  double learning_rate = 0;
};

/// One evaluated image, at the size of the input, or by windows at its own; valid during the callback.
struct ProbePrediction {
  Index index = 0;               ///< in the source
  std::span<const float> input;  ///< (C,h,w) normalised; `SegmentationProbe::renderer` makes it a picture
  std::span<const std::uint8_t> truth;      ///< (h,w) classes, or `ClassMap::ignored`
  std::span<const std::uint8_t> predicted;  ///< (h,w) classes
  Index height = 0, width = 0;
};

/// What an evaluation found.
struct SegmentationResult {
  explicit SegmentationResult(Index classes) : confusion(classes), boundary(classes) {}

  ConfusionMatrix confusion;
  BoundaryTally boundary;       ///< the bands along the classes' outlines, at the size of predictions
  Index images = 0;             ///< evaluated
  Index unreadable = 0;         ///< left out
  Index unreadable_labels = 0;  ///< those of them whose mask alone could not be read
  LabelCensus census{};         ///< of the ids in the masks, void ones and unclaimed ones among them

  /// Counts an image. Throws `ShapeError`.
  void add(const ProbePrediction& image) {
    confusion.add(image.truth, image.predicted);
    boundary.add(image.truth, image.predicted, image.height, image.width);
    ++images;
  }
  /// The counts of pixels become their sums over ranks.
  void sum_over(const Communicator& ranks) {
    confusion.sum_over(ranks);
    boundary.sum_over(ranks);
  }
  [[nodiscard]] SegmentationScores scores(AbsentClasses rule = AbsentClasses::excluded) const {
    return confusion.scores(rule);
  }
};

}  // namespace dssl
