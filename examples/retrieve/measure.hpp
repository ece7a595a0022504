// The work of dssl-retrieve.
#pragma once

#include "retrieve/settings.hpp"

namespace dssl::programs {

/// Measures retrieval and clusters; prints their mean IoU and writes it, with overlays, to the output folder.
/// Throws what went wrong.
void retrieve(RetrieveSettings settings);

}  // namespace dssl::programs
