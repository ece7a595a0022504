// Every combination's step, measured in turn.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "compare/settings.hpp"

namespace dssl::programs {

/// A combination and what came of it.
struct Row {
  Combination combination;
  std::string reason{};         ///< why it cannot run here; empty where it ran
  std::string describe{};       ///< the backend's own words
  std::vector<double> seconds{};  ///< of each turn
  double loss = 0;              ///< of the first step
  double gradient_norm = 0;
  std::size_t plan = 0;         ///< bytes
  std::size_t peak = 0;         ///< bytes: of the process in timed steps; on a device those of the plan
  std::size_t at_start = 0;     ///< bytes of the process before the step was laid out

  [[nodiscard]] bool ran() const { return reason.empty(); }
};

/// The first step by Reference in double: what every row's loss is held against.
struct Oracle {
  double loss = 0;
  double gradient_norm = 0;
};

struct Comparison {
  std::vector<Row> rows;  ///< one for each combination, in their order
  std::optional<Oracle> oracle;
  double parameters = 0;
  double others_load = 0;  ///< share of all processors that others used in the timed turns

  [[nodiscard]] bool any() const;
};

/// Runs every combination that can run here, in processes of their own: a step to compare losses, those of the warm-up,
/// and the timed ones in turn, the order moved on by one each turn, so that what disturbs them disturbs all alike.
/// Progress goes to stderr. Throws `Error` where Reference itself cannot run.
[[nodiscard]] Comparison compare(const CompareSettings& settings);

}  // namespace dssl::programs
