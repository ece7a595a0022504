// How many threads some work gets, of those that the process may use. Tests: tests/data/loader.cpp, tests/backend/cpu.cpp.
#pragma once

#include <cstddef>
#include <limits>

namespace dssl {

/// `wanted` threads (0: all), at most the `allowed` ones: who asks oneTBB for more than it has makes it print a warning.
[[nodiscard]] constexpr int threads_of(int wanted, std::size_t allowed) {
  constexpr int most = std::numeric_limits<int>::max() - 1;  // so that one more can be counted
  const int all = allowed < static_cast<std::size_t>(most) ? static_cast<int>(allowed) : most;
  return wanted == 0 || wanted > all ? all : wanted;
}

}  // namespace dssl
