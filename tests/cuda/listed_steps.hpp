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

template <class Step>
std::vector<typename Step::T> host_of(const Step& step, VectorView<typename Step::T> values) {
  std::vector<typename Step::T> out(static_cast<std::size_t>(values.size()));
  step.backend().download(std::span<typename Step::T>(out), static_cast<const typename Step::T*>(values.data()));
  return out;
}

/// The largest difference, over the largest number or `least`: what should be 0 is compared with that.
inline double distance_of(const std::vector<float>& is, const std::vector<double>& should, double least = 1e-12) {
  REQUIRE(is.size() == should.size());
  double off = 0;
  double largest = least;
  for (std::size_t i = 0; i < is.size(); ++i) {
    off = std::max(off, std::abs(static_cast<double>(is[i]) - should[i]));
    largest = std::max(largest, std::abs(should[i]));
  }
  return off / largest;
}

/// Two updates, and what they give.
template <class Step>
struct Outcome {
  std::vector<double> losses;
  std::vector<typename Step::T> gradients;  // of the first pass
  decltype(states_of(std::declval<const Step&>())) states;
};

template <class Step>
Outcome<Step> two_updates(Step& step) {
  Outcome<Step> out;
  draw(step);
  for (Index i = 0; i < 2; ++i) {
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(step.options().shape, 7, 4 * i), 0.2);
    if (i == 0) out.gradients = host_of(step, step.gradients());
    step.update(report, {.optimiser = {.learning_rate = 1e-3, .step = i}, .teacher_momentum = 0.9});
    out.losses.push_back(report.loss);
  }
  out.states = states_of(step);
  return out;
}

/// A sum of the catalogue on Cuda, in every way of running, held to the oracle.
template <class Loss, class Tokens>
void check_on_cuda() {
  const auto options = options_of<Loss>();
  TrainingStep<Tiny<Loss, Tokens>, Reference<double>> oracle({}, options);
  const auto should = two_updates(oracle);
  std::vector<float> bits;
  for (int way = 0; way < ways_of_running(); ++way) {
    run_in_way(way);
    TrainingStep<Tiny<Loss, Tokens>, Cuda> step(Cuda(), options);
    const auto is = two_updates(step);
    for (std::size_t i = 0; i < 2; ++i) CHECK(is.losses[i] == Approx(should.losses[i]).epsilon(1e-3));
    CHECK(distance_of(is.gradients, should.gradients) < 1e-3);
    REQUIRE(is.states.size() == should.states.size());
    for (std::size_t i = 0; i < is.states.size(); ++i) {
      INFO(is.states[i].first);
      CHECK(is.states[i].first == should.states[i].first);
      CHECK(distance_of(is.states[i].second, should.states[i].second, 0.1) < 1e-2);
    }
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
