// Steps of every objective on the Cuda backend: the oracle's losses, gradients and states, with equal bits in every order of
// threads.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/loss/dense_terms.hpp>

#include "cuda/rig.hpp"
#include "train/term_steps.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <class Step>
std::vector<typename Step::T> host_of(const Step& step, VectorView<typename Step::T> values) {
  std::vector<typename Step::T> out(static_cast<std::size_t>(values.size()));
  step.backend().download(std::span<typename Step::T>(out), static_cast<const typename Step::T*>(values.data()));
  return out;
}

/// The largest difference, over the largest number or `least`: what should be 0 is compared with that.
double distance_of(const std::vector<float>& is, const std::vector<double>& should, double least = 1e-12) {
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

template <class Loss>
void check() {
  const auto options = options_of<Loss>();
  TrainingStep<Tiny<Loss>, Reference<double>> oracle({}, options);
  const auto should = two_updates(oracle);
  std::vector<float> bits;
  for (int way = 0; way < ways_of_running(); ++way) {
    run_in_way(way);
    TrainingStep<Tiny<Loss>, Cuda> step(Cuda(), options);
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

constexpr MlpConfig moco_projector = by_head(moco_v2_projector);

}  // namespace

TEST_CASE("objectives with a teacher on Cuda hold to the oracle", "[cuda]") {
  if (!device_is_there()) return;
  check<WeightedSum<Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>>>();
  check<WeightedSum<InfoNce<by_head(moco_v3_projector), by_head(moco_v3_predictor)>>>();
  check<WeightedSum<QueueContrast<moco_projector>, DenseContrast<moco_projector>>>();
  check<WeightedSum<SinkhornImageLevel<>, SinkhornMaskedLevel<>, KoLeo>>();
  check<WeightedSum<MaskedLevel>>();
  check<WeightedSum<IbotLevel>>();
}

TEST_CASE("objectives without a teacher on Cuda hold to the oracle", "[cuda]") {
  if (!device_is_there()) return;
  check<WeightedSum<NtXent<by_head(simclr_projector)>>>();
  check<WeightedSum<CrossCorrelation<by_head(barlow_projector)>>>();
  check<WeightedSum<VarianceCovariance<by_head(vicreg_expander)>>>();
}
