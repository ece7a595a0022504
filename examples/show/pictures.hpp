// The work of dssl-show.
#pragma once

#include "show/settings.hpp"

namespace dssl::programs {

/// Draws the sheet that the settings ask for and writes it. Throws what went wrong.
void show(const ShowSettings& settings);

}  // namespace dssl::programs
