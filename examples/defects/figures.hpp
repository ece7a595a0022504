// What scores are worth, as JSON and as lines to read.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

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

}  // namespace dssl::programs
