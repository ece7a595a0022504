// The pilot's report as one HTML page.
#pragma once

#include <string>

#include "defect_pilot/settings.hpp"
#include "defect_pilot/study.hpp"

namespace dssl::programs {

[[nodiscard]] std::string pilot_report(const PilotSettings& settings, const PilotSets& sets,
                                       const Study& study);

}  // namespace dssl::programs
