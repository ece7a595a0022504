// The same work as each translation unit of this test compiles it.
#pragma once

#include <string>
#include <vector>

namespace dssl::test {

struct WayResult {
  std::vector<float> numbers;  ///< what every kind of kernel computed from the same inputs
  std::string kernels;         ///< the namespace of the backend
};

WayResult run_header_only();
WayResult run_compiled();
/// Header-only too, for processors of other generations than the rest of this program.
WayResult run_for_an_older_processor();
WayResult run_for_a_newer_processor();

}  // namespace dssl::test
