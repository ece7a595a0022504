// What filters learned of labelled images, as JSON and as a line to read.
#pragma once

#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/defects/filter_labels.hpp>

namespace dssl::programs {

[[nodiscard]] inline nlohmann::ordered_json choice_json(const FilterLabelChoice& c) {
  using Json = nlohmann::ordered_json;
  return {{"images", c.images},
          {"patches", c.patches},
          {"folds", c.folds},
          {"trees", c.trees},
          {"share", c.share},
          {"found", c.folds > 0 ? Json(c.found) : Json(nullptr)},
          {"found_without", c.folds > 0 ? Json(c.found_without) : Json(nullptr)}};
}

/// "learned from 10 labelled images (35 patches of defects): 50 trees, share 0.5; found 43.0 % of those held out in 5 folds, ..."
[[nodiscard]] inline std::string in_words(const FilterLabelChoice& c) {
  std::string out = join("learned from ", c.images, " labelled images (", c.patches, " patches of defects): ", c.trees, " trees that count ", c.share);
  if (c.folds == 0) return out + ", not chosen: one image cannot be held out";
  char text[160];
  std::snprintf(text, sizeof text, "; held out in %td folds %.1f %% are found, without labels %.1f %% (mean over 2, 5, 10 and 20 %% false alarms)",
                c.folds, 100 * c.found, 100 * c.found_without);
  return out + text;
}

}  // namespace dssl::programs
