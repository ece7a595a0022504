// The published recipe on backbones with options of other families: slopes of whole steps in double, the same on Cpu.
#include <algorithm>
#include <cmath>
#include <string>

#include "../compare.hpp"
#include "catch.hpp"
#include "train/instances.hpp"
#include "train/option_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/testing/gradients.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

/// The same step in every way of running, on the oracle and on Cpu.
template <ViTConfig Size>
void check_ways(std::size_t dropped) {
  const StepOutcome expected = outcome_of<WithOptions<Size>>(Reference<double>(), false, false, dropped);
  for (const bool recompute : {false, true}) {
    for (const bool stream_views : {false, true}) {
      INFO("recompute " << recompute << ", stream_views " << stream_views);
      const StepOutcome exact = outcome_of<WithOptions<Size>>(Reference<double>(), recompute, stream_views, dropped);
      const StepOutcome got = outcome_of<WithOptions<Size>>(Cpu({.threads = 2}), recompute, stream_views, dropped);
      CHECK(std::abs(exact.loss - expected.loss) < 1e-12);
      CHECK(std::abs(got.loss - expected.loss) < 1e-5);
      for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
        const auto& [name, gradient] = expected.gradients[i];
        INFO("gradient of " << name);
        if (std::all_of(gradient.begin(), gradient.end(), [](double v) { return v == 0; })) continue;  // not trained
        CHECK(relative_difference<double, double>(exact.gradients[i].second, gradient) < 1e-10);
        CHECK(relative_difference<double, double>(got.gradients[i].second, gradient) < 1e-4);
      }
    }
  }
}

template <ViTConfig Size>
void check() {
  INFO(ViTFamily::describe(Size));
  const StepOptions options = option_step(false, false);
  TrainingStep<WithOptions<Size>, Reference<double>> step({}, options);
  const ViewBatch batch = prepare(step, options);
  Index checked = 0;
  for (const ParameterGradient& p : gradient_differences(step, batch, 0.4)) {
    INFO("gradient of " << p.name << ", norm " << p.found.norm << ", difference " << p.found.difference);
    CHECK(p.found.small());
    if (p.trained && p.name.find("gamma") != std::string::npos) {
      CHECK(p.found.norm > 1e-4);
      ++checked;
    }
    if (p.name.find("cls_norm") != std::string::npos) {
      CHECK(p.found.norm > 1e-4);
      ++checked;
    }
  }
  CHECK(checked == 4);  // of two blocks, or of two norms

  check_ways<Size>(0);
}

}  // namespace

TEST_CASE("a step on a backbone as DINOv2's has its slopes as gradients") { check<options_of_dinov2>(); }

TEST_CASE("a step on a backbone as DINOv3's, with references at points, has its slopes as gradients") {
  check<options_of_dinov3>();
}

TEST_CASE("a step with last norms of class tokens' own has its slopes as gradients, in every way of running") {
  check<options_of_class_norms>();
}

TEST_CASE("branches that stochastic depth drops, of blocks with options: the oracle's gradients in every way of running") {
  for (const std::size_t dropped : {1, 2, 3}) {  // all of them, too
    INFO("one of " << dropped << " dropped");
    const StepOutcome none = outcome_of<WithOptions<options_of_dinov2>>(Reference<double>());
    const StepOutcome some = outcome_of<WithOptions<options_of_dinov2>>(Reference<double>(), false, false, dropped);
    CHECK(std::abs(none.loss - some.loss) > 1e-6);
    check_ways<options_of_dinov2>(dropped);
    check_ways<options_of_dinov3>(dropped);
    check_ways<options_of_class_norms>(dropped);
  }
}
