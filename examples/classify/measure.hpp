// The work of dssl-classify.
#pragma once

#include "classify/settings.hpp"

namespace dssl::programs {

/// Classifies the test images in the ways asked for; prints their accuracy and writes it to the output
/// folder. Throws what went wrong.
void classify(const ClassifySettings& settings);

}  // namespace dssl::programs
