// Figures of a step's terms by name, for tests of recipes that may lack one.
#pragma once

#include <string_view>

#include <dssl/train/report.hpp>

namespace dssl::test {

/// The loss of a term, 0 where the objective has none of that name.
inline double loss_of(const StepReport& report, std::string_view name) {
  const TermReport* const term = report.find(name);
  return term == nullptr ? 0 : term->loss;
}

}  // namespace dssl::test
