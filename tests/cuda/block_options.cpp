// The published recipe on backbones with options of other families, on Cuda: the oracle's losses and gradients.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>

#include "compare.hpp"
#include "cuda/kinds.hpp"
#include "cuda/rig.hpp"
#include "train/option_steps.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <ViTConfig Size>
void check(bool recompute) {
  INFO(ViTFamily::describe(Size) << ", recompute " << recompute);
  const StepOutcome expected = outcome_of<WithOptions<Size>>(Reference<double>());
  const StepOutcome first = outcome_of<WithOptions<Size>>(Cuda(), recompute);
  CHECK(std::abs(first.loss - expected.loss) < 1e-5);
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    const auto& [name, gradient] = expected.gradients[i];
    INFO("gradient of " << name);
    if (std::all_of(gradient.begin(), gradient.end(), [](double v) { return v == 0; })) continue;  // not trained
    CHECK(relative_difference<double, double>(first.gradients[i].second, gradient) < 1e-4);
  }
  for (int way = 1; way < ways_of_running(); ++way) {
    run_in_way(way);
    CHECK(outcome_of<WithOptions<Size>>(Cuda(), recompute).gradients == first.gradients);
  }
  run_in_way(0);
}

}  // namespace

TEST_CASE("a step on Cuda with a backbone as DINOv2's or DINOv3's, or with norms of class tokens' own, gives the oracle's gradients", "[cuda]") {
  if (!device_is_there()) return;
  for (const bool recompute : {false, true}) {
    check<options_of_dinov2>(recompute);
    check<options_of_dinov3>(recompute);
    check<options_of_class_norms>(recompute);
  }
}
