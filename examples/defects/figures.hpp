// What scores are worth, as JSON and as lines to read.
#pragma once

#include <array>
#include <cstdio>
#include <limits>
#include <string>

#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/metrics/detection.hpp>
#include <dssl/metrics/found_regions.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/score_tally.hpp>

namespace dssl::programs {

/// Positives, negatives, AUROC, average precision, the best F1, and the share of positives missed at 1 % and
/// 5 % false alarms; the figures are null where there are positives or negatives alone.
[[nodiscard]] inline nlohmann::ordered_json ranking_figures(const ScoreTally& tally) {
  using Json = nlohmann::ordered_json;
  Json out{{"positives", tally.positives()}, {"negatives", tally.negatives()}};
  if (!(tally.positives() > 0 && tally.negatives() > 0)) {
    out.update(
        {{"auroc", nullptr}, {"average_precision", nullptr}, {"best_f1", nullptr}, {"missed", nullptr}});
    return out;
  }
  const OperatingPoint best = best_f1(tally);
  out["auroc"] = auroc(tally);
  if (!tally.exact()) out["auroc_error"] = auroc_error(tally);
  out["average_precision"] = average_precision(tally);
  out["best_f1"] = Json{{"f1", best.f1()},
                        {"threshold", best.threshold},
                        {"precision", best.precision},
                        {"recall", best.recall}};
  out["missed"] = Json{{"at_1_percent_false_alarms", at_false_alarms(tally, 0.01).missed()},
                       {"at_5_percent_false_alarms", at_false_alarms(tally, 0.05).missed()}};
  return out;
}

/// "AUROC 93.1 %, AP 80.2 %, F1 75.0 %, missed 12.5 % at 1 % and 3.1 % at 5 % false alarms".
[[nodiscard]] inline std::string ranking_text(const nlohmann::ordered_json& figures) {
  if (figures.at("auroc").is_null()) return "no figures: normal images and defects are needed";
  char text[200];
  std::snprintf(text, sizeof text,
                "AUROC %5.1f %%, AP %5.1f %%, best F1 %5.1f %%, missed %5.1f %% at 1 %% and %5.1f %% at 5 %% "
                "false alarms",
                100 * figures.at("auroc").get<double>(), 100 * figures.at("average_precision").get<double>(),
                100 * figures.at("best_f1").at("f1").get<double>(),
                100 * figures.at("missed").at("at_1_percent_false_alarms").get<double>(),
                100 * figures.at("missed").at("at_5_percent_false_alarms").get<double>());
  return text;
}

/// Which regions of the masks are found, by their area in pixels of the maps, where the highest score in them reaches what
/// that of 5 % of the normal images reaches anywhere; null where there are no regions or no normal images.
[[nodiscard]] inline nlohmann::ordered_json region_figures(const DetectionTally& tally) {
  using Json = nlohmann::ordered_json;
  const ScoreTally& peaks = tally.peaks();
  if (!(peaks.positives() > 0 && peaks.negatives() > 0)) return nullptr;
  constexpr double false_alarms = 0.05;
  constexpr std::array<Index, 3> bounds{16, 64, 256};
  const OperatingPoint at = at_false_alarms(peaks, false_alarms);
  const FoundRegions found = found_regions(tally.region_peaks(), at.threshold, bounds);
  Json by_area = Json::array();
  for (const AreaClass& c : found.classes) {
    by_area.push_back({{"from", c.from},
                       {"below", c.below ? Json(*c.below) : Json(nullptr)},
                       {"regions", c.regions},
                       {"found", c.regions > 0 ? Json(static_cast<double>(c.found) / static_cast<double>(c.regions)) : Json(nullptr)}});
  }
  return {{"false_alarms", false_alarms},
          {"threshold", at.threshold < std::numeric_limits<double>::infinity() ? Json(at.threshold) : Json(nullptr)},
          {"normal_images", static_cast<Index>(peaks.negatives())},
          {"found", at.recall},
          {"by_area", std::move(by_area)},
          {"half_found_from", found.half_from ? Json(*found.half_from) : Json(nullptr)}};
}

/// "found at 5 % false alarms: 10.0 % of 20 regions below 16 pixels, 50.0 % of 8 regions of 16 to 63 pixels; at least half from
/// 40 pixels on".
[[nodiscard]] inline std::string region_text(const nlohmann::ordered_json& figures) {
  std::string out;
  for (const auto& c : figures.at("by_area")) {
    if (c.at("found").is_null()) continue;
    char text[120];
    std::snprintf(text, sizeof text, "%s%.1f %% of %td regions ", out.empty() ? "" : ", ", 100 * c.at("found").get<double>(), c.at("regions").get<Index>());
    out += text;
    const auto from = c.at("from").get<Index>();
    if (c.at("below").is_null()) {
      out += join("of ", from, " pixels and more");
    } else {
      const auto below = c.at("below").get<Index>();
      out += from == 1 ? join("below ", below, " pixels") : join("of ", from, " to ", below - 1, " pixels");
    }
  }
  const auto& half = figures.at("half_found_from");
  return join("found at 5 % false alarms: ", out, "; ",
              half.is_null() ? std::string("of no size half of them") : join("at least half from ", half.get<Index>(), " pixels on"));
}

}  // namespace dssl::programs
