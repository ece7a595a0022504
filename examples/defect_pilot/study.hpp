// What the pilot finds out.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/defects/filter_labels.hpp>

#include "defect_pilot/choice.hpp"
#include "defect_pilot/patches.hpp"
#include "defect_pilot/scoring.hpp"
#include "defect_pilot/settings.hpp"
#include "defect_pilot/tuned.hpp"
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

/// What the tuned ways took of a draw of labels.
struct TunedCost {
  std::string weights;
  Index labels = 0, draw = 0;
  double seconds = 0;  ///< of the processor, of all threads together: trainings and scoring
};

/// The labelled images of a draw, by name.
struct DrawnLabels {
  Index labels = 0, draw = 0;
  std::vector<std::string> names;
  std::vector<Index> images;  ///< their numbers in the set
};

/// What fixed filters learned of a draw of labels.
struct DrawnFilters {
  Index draw = 0;
  FilterLabelChoice choice;
};

/// Labelled images that nothing could be learned from.
struct NothingLearned {
  std::string way;  ///< the backbone's, of a frozen head, or "local filters"
  Index labels = 0, draw = 0;
  Index fold = -1;  ///< of those that leave some of the labelled images out; -1: of all
  std::string why;
};

/// An image to show.
struct ShownCase {
  std::string caption;
  bool defect = false;
  Index index = 0;  ///< in the test set of its kind
  double score = 0;
  GridSize grid{};
  std::vector<float> patches;  ///< (N) of the grid
};

/// How well a figure that knows nothing of defects tells the test's defects from its normal images.
struct Confounder {
  std::string name;
  double auroc = 0.5;
  double error = 0;  ///< standard error of the AUROC of what tells nothing, of so many images
  /// By more than ten points, and more than chance.
  [[nodiscard]] bool tells() const { return std::abs(auroc - 0.5) > std::max(0.1, 2 * error); }
};

/// Where the highest patches of the test's images lie.
struct EdgeShares {
  double normal = 0, defects = 0;  ///< share of images whose highest patch is in the outer two rows or columns
  double by_chance = 0;            ///< share of the patches that count that lie there, of normal images
};

/// A way to use all labelled images, by those that were held out of its training.
struct HeldOutWay {
  std::string way;   ///< as in `WayFigures`
  double auroc = 0;  ///< of held-out labelled images against normal ones that nothing learned from; mean over folds
};

struct Study {
  std::vector<WayFigures> ways;
  std::vector<DrawnFilters> filters;
  std::vector<NothingLearned> nothing_learned;
  std::vector<DrawnLabels> drawn;  ///< of the main backbone; any other's are the same
  std::vector<HeldOutWay> held_out_ways;  ///< of the main backbone, the best first; none where nothing was compared
  Index tuned_trainings = 0, tuned_steps = 0;  ///< of all draws and backbones
  std::vector<TunedCost> tuned_costs;
  std::vector<ShownCase> best, worst, false_alarms;
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, Worth>>>>
      exposures;  ///< name; way and worth
  std::vector<std::pair<std::string, std::pair<Index, Worth>>>
      kinds;                 ///< label; images and worth, without labels
  double low = 0, high = 1;  ///< of the heat maps' colours
  double threshold = 0;      ///< of the bank's image scores; not a number: there is none
  double milliseconds = 0;   ///< an image: reading, features, search
  Index learned = 0, held_out = 0, defects = 0, test_normal = 0, test_defects = 0, unreadable = 0, bank = 0;
  Index patch = 0, windows = 0, smaller = 0;
  std::string description, weights;
  LookSettings look;  ///< that hold: chosen, or asked for
  Choice choice;
  std::vector<Confounder> confounders;
  EdgeShares edge;

  /// With all labels: of the way that held-out images chose, or of both together where none was compared; null: there are no labels.
  [[nodiscard]] const WayFigures* with_all_labels() const;
  /// What can be relied on (`verdict`).
  [[nodiscard]] std::string relied_on() const;

  /// What a reader must not miss, a line each.
  [[nodiscard]] std::vector<std::string> warnings() const;

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
