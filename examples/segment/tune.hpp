// Segmentation by a backbone that is trained as a whole.
#pragma once

#include "common/labelled_set.hpp"
#include "segment/settings.hpp"

namespace dssl::programs {

/// Trains on crops for as long as held-out training images say, evaluates by windows, reports as the probe. Throws what
/// went wrong.
void measure_tuned(const SegmentSettings& settings, const LabelledSets& sets);

}  // namespace dssl::programs
