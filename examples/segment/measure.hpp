// The work of dssl-segment.
#pragma once

#include "segment/settings.hpp"

namespace dssl::programs {

/// Trains and evaluates the probe; prints its numbers and writes them, with overlays, to the output folder.
/// Throws what went wrong.
void measure_segmentation(SegmentSettings settings);

}  // namespace dssl::programs
