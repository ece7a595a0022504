// The work of dssl-defects.
#pragma once

#include "defects/settings.hpp"

namespace dssl::programs {

/// Learns, calibrates, scores; prints what the scores are worth and writes everything to the output folder.
/// Throws what went wrong.
void inspect(DefectSettings settings);

}  // namespace dssl::programs
