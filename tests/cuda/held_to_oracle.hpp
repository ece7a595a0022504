// One primitive's call on a CUDA backend, held to the same call on the oracle.
#pragma once

#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>

#include "backend/board.hpp"
#include "cuda/rig.hpp"

namespace dssl::test {

/// How far results may be from the oracle's.
enum class Measure {
  largest,  ///< largest difference, as a fraction of the largest expected magnitude
  norm      ///< norm of the difference, as a fraction of the expected norm
};

/// The distance; infinite where something is not finite.
inline double distance(Measure measure, const std::vector<double>& got, const std::vector<double>& expected) {
  double most = 0;
  double scale = 0;
  double squares = 0;
  double scale_squares = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(got[i])) return std::numeric_limits<double>::infinity();
    const double off = std::abs(got[i] - expected[i]);
    most = std::max(most, off);
    scale = std::max(scale, std::abs(expected[i]));
    squares += off * off;
    scale_squares += expected[i] * expected[i];
  }
  if (most == 0) return 0;
  return measure == Measure::largest ? most / scale : std::sqrt(squares / scale_squares);
}

/// Visits a table's cases: each within `tolerance`, and with the same bits in every way of running it.
template <class B>
struct HeldToOracle {
  const B& backend;
  double tolerance = 1e-5;
  Measure measure = Measure::largest;
  int ways = ways_of_running();
  Reference<double> oracle{};
  std::uint64_t seed = 1;

  template <class Call>
  void operator()(const std::string& name, const Call& call) {
    INFO(name);
    ++seed;
    const auto expected = x_outcome(oracle, call);
    auto first = x_outcome(backend, call);
    REQUIRE(first.size() == expected.size());
    for (std::size_t n = 0; n < expected.size(); ++n) {
      INFO("output " << n);
      CHECK(distance(measure, first[n].values, expected[n].values) <= tolerance);
    }
    for (int way = 1; way < ways; ++way) {
      INFO("way of running " << way);
      run_in_way(way);
      const auto again = x_outcome(backend, call);
      run_in_way(0);
      for (std::size_t n = 0; n < expected.size(); ++n) {
        INFO("output " << n);
        CHECK(again[n].bytes == first[n].bytes);
      }
    }
  }

 private:
  template <class Some, class Call>
  auto x_outcome(const Some& some, const Call& call) {
    Board<Some> board(some, seed);
    call(some, board);
    CHECK(board.guards_hold());
    return board.written();
  }
};

template <class B>
HeldToOracle(const B&, double) -> HeldToOracle<B>;
template <class B>
HeldToOracle(const B&, double, Measure, int) -> HeldToOracle<B>;

}  // namespace dssl::test
