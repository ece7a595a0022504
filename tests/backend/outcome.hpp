// What a primitive's call wrote, and how far it is from what it should be.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "../catch.hpp"
#include "backend/board.hpp"

namespace dssl::test {

/// Largest difference as a fraction of the largest expected magnitude; infinite where something is not
/// finite.
inline double distance(const std::vector<double>& got, const std::vector<double>& expected) {
  double most = 0;
  double scale = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(got[i])) return std::numeric_limits<double>::infinity();
    most = std::max(most, std::abs(got[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return most == 0 ? 0 : most / scale;
}

/// Norm of the difference as a fraction of the expected norm; NaN where something is not finite.
inline double norm_distance(const std::vector<double>& got, const std::vector<double>& expected) {
  double off = 0;
  double size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    off += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return off == 0 ? 0 : std::sqrt(off / size);
}

/// The outputs of one call, from operands drawn with a seed; guard words are checked.
template <class B, class Call>
auto outcome(const B& backend, const Call& call, std::uint64_t seed) {
  Board<B> board(backend, seed);
  call(backend, board);
  CHECK(board.guards_hold());
  return board.written();
}

}  // namespace dssl::test
