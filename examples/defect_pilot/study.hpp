// What the pilot finds out.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "defect_pilot/patches.hpp"
#include "defect_pilot/scoring.hpp"
#include "defect_pilot/settings.hpp"
#include "defects/inspected.hpp"

namespace dssl::programs {

/// What scores of a test set are worth.
struct Worth {
  double auroc = 0;
  double missed_1 = 0;  ///< share of defects missed at 1 % false alarms among the test's normal images
  double missed_5 = 0;
  double aupro = 0;          ///< to 30 %
  double false_alarms = -1;  ///< at the threshold from held-out images; below 0: there is none
  double missed = -1;        ///< likewise
};

/// A way, with so many labelled images; one entry a draw.
struct WayFigures {
  std::string way;
  Index labels = 0;
  std::vector<Worth> draws;
};

/// An image to show.
struct ShownCase {
  std::string caption;
  bool defect = false;
  Index index = 0;  ///< in the test set of its kind
  double score = 0;
  std::vector<float> patches;
};

struct Study {
  std::vector<WayFigures> ways;
  std::vector<ShownCase> best, worst, false_alarms;
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, Worth>>>>
      exposures;  ///< name; way and worth
  std::vector<std::pair<std::string, std::pair<Index, Worth>>>
      kinds;                 ///< label; images and worth, without labels
  double low = 0, high = 1;  ///< of the heat maps' colours
  double threshold = 0;      ///< of the bank's image scores; not a number: there is none
  double milliseconds = 0;   ///< an image: reading, features, search
  Index learned = 0, held_out = 0, defects = 0, test_normal = 0, test_defects = 0, unreadable = 0, bank = 0;
  std::string description, weights;
  GridSize grid{};

  [[nodiscard]] nlohmann::ordered_json json() const;
};

/// The sets, split: `held_out` are normal images that only thresholds are taken from, and nothing is learned
/// from.
struct PilotSets {
  Inspected normal, held_out, defects, test_normal, test_defects;
};

/// Opens and splits the images. Throws `DataError`, `OptionError`; `DataError` also for an image in two sets
/// and for images with defects that have no mask.
[[nodiscard]] PilotSets open_pilot_sets(const PilotSettings& settings);

/// Throws what settings of backbone and bank are wrong, before anything is trained. Throws `OptionError`.
void require_usable(const PilotSettings& settings);

/// Does all of it. Throws what went wrong.
[[nodiscard]] Study run_study(const PilotSettings& settings, const PilotSets& sets,
                              const std::string& weights, const Interruption& interruption);

}  // namespace dssl::programs
