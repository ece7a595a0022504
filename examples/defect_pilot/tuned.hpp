// The pilot's other path for labels: a whole backbone trained on crops of the images, at their own resolution.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/probe/held_out_tuning.hpp>

#include "common/program.hpp"
#include "defect_pilot/patches.hpp"
#include "defect_pilot/scoring.hpp"
#include "defect_pilot/settings.hpp"
#include "defects/inspected.hpp"

namespace dssl::programs {

/// A set that was scored by windows: what its images are, without their patches, and their scores.
struct TunedSet {
  PatchSet shape;
  SetScores scores;  ///< patch: logit of a defect less that of none; image: the mean of the `top` largest inside the border
};

/// Labelled images that were held out of a training, and normal ones that nothing learns from, by its weights.
struct HeldOutFold {
  std::vector<Index> labelled;       ///< places in the draw
  SetScores defects, normal;         ///< of images alone
  std::vector<Index> normal_images;  ///< of the set that is held out from everything
  std::vector<Index> defect_patches, normal_patches;  ///< of each image, that its score was chosen from
};

struct TunedPath {
  HeldOutTuning tuning;
  TunedSet held_out, test_normal, test_defects;
  std::vector<HeldOutFold>
      folds;  ///< at the steps that were kept; none where `compare` was off or nothing could be held out
};

/// Throws `OptionError` for settings of it that cannot be, before anything is trained.
void require_tunable(const PilotSettings& settings);

/// Trains from `weights` on the drawn images of `defects` and all normal ones, then scores the other sets. `compare`:
/// also what the figures of held-out labelled images are made of.
[[nodiscard]] TunedPath tuned_path(const PilotSettings& settings, const Inspected& normal, const Inspected& defects,
                                   const Inspected& held_out, const Inspected& test_normal,
                                   const Inspected& test_defects, const std::vector<Index>& drawn,
                                   const std::string& weights, const LookSettings& look, std::uint64_t seed,
                                   bool compare, const std::string& label, const Interruption& interruption);

/// Scores of patches of one grid as those of another over the same image, as `on_other_grid`; image scores stay.
[[nodiscard]] SetScores on_grids_of(const SetScores& scores, const PatchSet& from, const PatchSet& to);

}  // namespace dssl::programs
