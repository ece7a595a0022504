// The work of dssl-defects.
#pragma once

#include "common/ranks.hpp"
#include "defects/settings.hpp"

namespace dssl::programs {

/// Learns, calibrates, scores; prints what the scores are worth and writes everything to the output folder. Ranks share the
/// images, each writes the maps of its own, and the first does the rest. Throws what went wrong.
void inspect(DefectSettings settings, RunRanks& ranks);

}  // namespace dssl::programs
