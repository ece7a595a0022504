// The work of dssl-retrieve.
#pragma once

#include "common/ranks.hpp"
#include "retrieve/settings.hpp"

namespace dssl::programs {

/// Measures retrieval and clusters; prints their mean IoU and writes it, with overlays, to the output folder. Ranks share the
/// images, each writes the overlays of its own, and the first does the rest. Throws what went wrong.
void retrieve(RetrieveSettings settings, RunRanks& ranks);

}  // namespace dssl::programs
