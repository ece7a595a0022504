// Scores of a segmentation, to read and as JSON.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include <dssl/features/class_map.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/metrics/boundary.hpp>
#include <dssl/metrics/confusion.hpp>

#include "common/labelled_set.hpp"
#include "common/program.hpp"

namespace dssl::programs {

/// {"miou", "boundary_miou", "pixel_accuracy", "per_class", "excluded"}: the scores, each class by its mask id and name; what
/// is of boundaries only where there is any.
[[nodiscard]] inline nlohmann::ordered_json scores_json(const SegmentationScores& scores,
                                                        const ClassMap& classes, const LabelledSets& sets,
                                                        const BoundaryScores* boundary = nullptr) {
  using Json = nlohmann::ordered_json;
  Json per_class = Json::array();
  Json excluded = Json::array();
  for (Index c = 0; c < classes.classes(); ++c) {
    const std::uint8_t id = classes.id_of(c);
    const double iou = scores.iou[static_cast<std::size_t>(c)];
    per_class.push_back({{"id", id}, {"name", sets.class_name(id)}, {"iou", number_or_null(iou)}});
    if (boundary) per_class.back()["boundary_iou"] = number_or_null(boundary->iou[static_cast<std::size_t>(c)]);
    if (!std::isfinite(iou)) excluded.push_back(id);
  }
  Json out{{"miou", number_or_null(scores.mean_iou)}};
  if (boundary) out["boundary_miou"] = number_or_null(boundary->mean_iou);
  out.update({{"pixel_accuracy", number_or_null(scores.pixel_accuracy)}, {"per_class", per_class}, {"excluded", excluded}});
  return out;
}

/// {"void_share", "unclaimed_share", "unclaimed_ids"} of the pixels of masks.
[[nodiscard]] inline nlohmann::ordered_json labels_json(const LabelCensus& census, const ClassMap& classes) {
  const LabelShares shares = LabelShares::of(census, classes);
  return {{"void_share", shares.void_share},
          {"unclaimed_share", shares.unclaimed_share},
          {"unclaimed_ids", shares.unclaimed_ids}};
}

/// Says how many pixels were left out, where there are any.
inline void print_labels(const char* what, const LabelCensus& census, const ClassMap& classes) {
  const std::string text = LabelShares::of(census, classes).text();
  if (!text.empty()) std::printf("%s: %s\n", what, text.c_str());
}

/// Warns on stderr of ids that nobody named, which is seldom meant.
inline void warn_of_unclaimed(const char* program, const LabelCensus& census, const ClassMap& classes) {
  const LabelShares shares = LabelShares::of(census, classes);
  if (shares.unclaimed_share > 0) {
    print_error(program, join("warning: ", shares.text(), ": neither learned nor scored; --classes, --only or --void say "
                                                          "what these ids are"));
  }
}

/// Prints the IoU of each class, pixel accuracy, mean IoU and that of boundaries where there is any, of how many of the images where some were unreadable.
template <class Result>
void print_scores(const Result& result, const SegmentationScores& scores, const ClassMap& classes,
                  const LabelledSets& sets, bool absent_zero, const BoundaryScores* boundary = nullptr) {
  for (Index c = 0; c < classes.classes(); ++c) {
    const std::string name = sets.class_name(classes.id_of(c));
    const double iou = scores.iou[static_cast<std::size_t>(c)];
    if (std::isfinite(iou)) {
      std::printf("%-20s %5.1f %%\n", name.c_str(), 100 * iou);
    } else {
      std::printf("%-20s absent\n", name.c_str());
    }
  }
  std::string left_out;
  if (scores.absent > 0)
    left_out = join(" (", scores.absent, " absent classes ", absent_zero ? "count 0)" : "left out)");
  std::printf("%-20s %5.1f %%\n%-20s %5.1f %%%s\n", "pixel accuracy", 100 * scores.pixel_accuracy, "mean IoU",
              100 * scores.mean_iou, left_out.c_str());
  if (boundary) std::printf("%-20s %5.1f %%\n", "mean boundary IoU", 100 * boundary->mean_iou);
  const Index all = result.images + result.unreadable;
  const Index images = result.unreadable - result.unreadable_labels;
  if (images > 0) std::printf("%td of %td images could not be read\n", images, all);
  if (result.unreadable_labels > 0) std::printf("%td of %td masks could not be read\n", result.unreadable_labels, all);
  print_labels("labels of the evaluation", result.census, classes);
}

/// A row for each true class, a column for each predicted one.
[[nodiscard]] inline nlohmann::ordered_json confusion_json(const ConfusionMatrix& confusion) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (Index c = 0; c < confusion.classes(); ++c) {
    nlohmann::ordered_json row = nlohmann::ordered_json::array();
    for (Index p = 0; p < confusion.classes(); ++p) row.push_back(confusion(c, p));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace dssl::programs
