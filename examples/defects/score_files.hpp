// What dssl-defects writes of each image: a line of scores.jsonl and scores.csv, and a score map.
#pragma once

#include <string>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/defect_score.hpp>

#include "defects/inspected.hpp"
#include "defects/settings.hpp"

namespace dssl::programs {

/// An image that was scored.
struct ScoredImage {
  Index index = 0;
  double score = 0;
  Truth truth = Truth::unknown;
  std::string map;       ///< its score map's file below the output folder; empty: not written
  double map_white = 0;  ///< the score that is white in it
};

/// Where the map of the image of that id lies below the output folder; ids that differ by a slash alone share
/// it.
[[nodiscard]] std::string map_file(const std::string& id);

/// Writes the map of the image of that id; returns the score that is white in it. Throws `FileError`.
[[nodiscard]] double write_map(const std::string& id, const DefectScore& score, const DefectSettings& settings);

/// Writes scores.jsonl and scores.csv. An alarm is a score of at least `threshold`; NaN: there is none.
/// Throws `FileError`.
void write_scores(const std::vector<ScoredImage>& scored, const Inspected& images, double threshold,
                  const std::string& folder);

}  // namespace dssl::programs
