// A run with a token scheme that no part of dssl::cpu knows.
#pragma once

#include <vector>

namespace dssl::test {

struct OwnScheme {
  std::vector<double> cpu;        ///< the loss of each step on Cpu
  std::vector<double> reference;  ///< and on Reference, from the same start
};

OwnScheme train_with_own_scheme();

}  // namespace dssl::test
