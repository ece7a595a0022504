// Figures and overlays of dssl-segment.
#include "segment/outcome.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <dssl/io/png.hpp>
#include <dssl/metrics/confusion.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/version.hpp>
#include <dssl/views/image.hpp>

#include "common/earlier_outputs.hpp"
#include "common/classifier_file.hpp"
#include "common/program.hpp"
#include "common/segmentation_scores.hpp"

namespace dssl::programs {

std::vector<std::string> outcome_files(const SegmentSettings& settings, const LabelledSets& sets) {
  std::vector<std::string> files = measured_files(settings.out, sets.val, every_shown(sets.val.size(), settings.overlays));
  files.push_back(classifier_file(settings.out));
  return with_earlier_pictures(std::move(files), settings.out, "overlays");
}

void remove_earlier_outcome(const SegmentSettings& settings, const LabelledSets& sets) {
  const Index every = every_shown(sets.val.size(), settings.overlays);
  remove_earlier_outputs(settings.out, {"result.json", "classifier.safetensors"}, "overlays",
                         names_in(settings.out, "overlays", measured_files(settings.out, sets.val, every)));
}

void write_overlay(const SegmentSettings& settings, const LabelledSets& sets, const ProbePrediction& prediction,
                   const InputRenderer& renderer) {
  const Index every = every_shown(sets.val.size(), settings.overlays);
  if (every == 0 || prediction.index % every != 0) return;
  const Image<std::uint8_t> picture =
      prediction_overlay(renderer.picture(prediction.input, prediction.height, prediction.width), prediction.truth,
                         prediction.predicted, renderer.classes());
  write_png(overlay_file(settings.out, sets.val, prediction.index), picture);
}

void report_outcome(const SegmentSettings& settings, const LabelledSets& sets, const SegmentationResult& result,
                    const ClassMap& classes, const Outcome& outcome) {
  const bool absent_zero = settings.set.absent_zero;
  const AbsentClasses absent = absent_zero ? AbsentClasses::zero : AbsentClasses::excluded;
  const auto scores = result.scores(absent);
  const BoundaryScores boundary = result.boundary.scores(absent);
  print_scores(result, scores, classes, sets, absent_zero, &boundary);
  nlohmann::ordered_json report = scores_json(scores, classes, sets, &boundary);
  report.update(
      {{"images", result.images},
       {"unreadable", result.unreadable},
       {"unreadable_masks", result.unreadable_labels},
       {"labels",
        {{"training", labels_json(outcome.trained_on, classes)}, {"evaluation", labels_json(result.census, classes)}}},
       {"final_loss", outcome.last_loss},
       {"seconds", {{"training", outcome.train_seconds}, {"evaluation", outcome.evaluation_seconds}}},
       {"confusion", confusion_json(result.confusion)}});
  if (!outcome.tuning.is_null()) report["tuning"] = outcome.tuning;
  report.update({{"settings", settings.json()},
                 {"weights_prefix", outcome.prefix},
                 {"backend", outcome.backend},
                 {"version", version_string}});
  write_json(settings.out + "/result.json", report);
}

}  // namespace dssl::programs
