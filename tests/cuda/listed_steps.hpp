// Two updates of a sum of terms on Cuda, held to the oracle's losses, gradients and states, with equal bits in every order of
// threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>

#include "catch.hpp"
#include "cuda/rig.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

namespace dssl::test {

/// A sum of the catalogue on Cuda, in every way of running, held to the oracle.
template <class Loss, class Tokens>
void check_on_cuda() {
  const auto options = options_of<Loss>();
  TrainingStep<Tiny<Loss, Tokens>, Reference<double>> oracle({}, options);
  const auto should = outcome_of(oracle);
  std::vector<float> bits;
  for (int way = 0; way < ways_of_running(); ++way) {
    run_in_way(way);
    TrainingStep<Tiny<Loss, Tokens>, Cuda> step(Cuda(), options);
    const auto is = outcome_of(step);
    check_outcome(is, should, oracle.layout(), {.losses = 1e-3, .gradients = 1e-3, .least = 1, .states = 1e-2});
    if (bits.empty()) bits = is.gradients;
    CHECK(is.gradients == bits);
  }
  run_in_way(0);
}

/// The same for each of a part of the catalogue.
template <class... Entries>
void check_on_cuda(const std::tuple<Entries...>& list) {
  for_each_listed(list, []<class Entry>(const Entry& entry) {
    INFO(entry.name);
    check_on_cuda<typename Entry::Loss, typename Entry::Tokens>();
  });
}

}  // namespace dssl::test
