// Settings chosen without labels: by defects that are pasted on normal images.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/program.hpp"
#include "defect_pilot/patches.hpp"
#include "defect_pilot/settings.hpp"
#include "defects/inspected.hpp"

namespace dssl::programs {

/// One setting that was tried.
struct TriedLook {
  LookSettings look;
  double found = 0;  ///< mean share of pasted defects found at 2, 5, 10 and 20 % false alarms: what it is chosen by
  double auroc = 0;
  double missed_5 = 0;
  static constexpr double by_chance = 0.0925;  ///< `found` of scores that tell nothing
};

struct Choice {
  std::vector<TriedLook> tried;  ///< the best first, the earlier tried among equals; empty: nothing was chosen
  std::vector<std::string> left_out;  ///< settings that cannot be for these images, and why
  Index learned = 0, normal = 0, pasted = 0;  ///< images of the banks, and those they were judged by

  [[nodiscard]] nlohmann::ordered_json json() const;
};

/// The setting's words, "windows at own resolution, images standardised, border 2, mean of top 5".
[[nodiscard]] std::string in_words(const LookSettings& look);

/// Tries a list of settings: banks of the first normal images to learn from, judged on the last fifth of them against
/// pasted defects on the same. A border that leaves nothing of an image of `all`, as the bank or the tuned path sees it, is left
/// out; of these images the size alone, and the foreground, is looked at. Throws what went wrong.
[[nodiscard]] Choice choose_look(const PilotSettings& settings, const Inspected& normal, const std::vector<const Inspected*>& all,
                                 SetReader& reader, const Interruption& interruption);

}  // namespace dssl::programs
