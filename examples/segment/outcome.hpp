// What both ways of dssl-segment report, and the files they write.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/probe/segmentation_result.hpp>

#include "common/labelled_set.hpp"
#include "segment/settings.hpp"

namespace dssl::programs {

/// Beside the scores.
struct Outcome {
  LabelCensus trained_on{};
  double last_loss = 0;
  double train_seconds = 0, evaluation_seconds = 0;
  std::string prefix, backend;
  nlohmann::ordered_json tuning{};  ///< of --by tune; null
};

/// All files that a run writes or takes away.
[[nodiscard]] std::vector<std::string> outcome_files(const SegmentSettings& settings, const LabelledSets& sets);

/// Takes an earlier run's result, classifier and overlays away, as the evaluation begins.
void remove_earlier_outcome(const SegmentSettings& settings, const LabelledSets& sets);

/// Writes the overlay of an image of the evaluation, if it is one of those that are shown. `renderer` has the values of
/// its input.
void write_overlay(const SegmentSettings& settings, const LabelledSets& sets, const ProbePrediction& prediction,
                   const InputRenderer& renderer);

/// Prints the scores and writes result.json.
void report_outcome(const SegmentSettings& settings, const LabelledSets& sets, const SegmentationResult& result,
                    const ClassMap& classes, const Outcome& outcome);

}  // namespace dssl::programs
