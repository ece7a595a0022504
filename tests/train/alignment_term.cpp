// Patch kernel alignment as a term of a whole training step of a small model: beside points, its value. What every term is
// held to: dense_terms.cpp.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "catch.hpp"
#include "train/term_steps.hpp"

#include <dssl/loss/alignment_term.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

using Alone = WeightedSum<KernelAlignment>;
using AfterPoints = WeightedSum<PointLevel, KernelAlignment>;

double loss_of(TrainingStep<Tiny<Alone>, Reference<double>>& step, const ViewBatch& batch) {
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4);
  return report.term("kernel-alignment").loss;
}

}  // namespace

TEST_CASE("kernel alignment: slopes beside points that are read of the same map, and smaller views") {
  check_slopes<AfterPoints, FeatureMap>({}, {{4, 4}});
}

TEST_CASE("kernel alignment is a mean over views, and 0 where the teacher is the student") {
  const auto options = options_of<Alone>();
  TrainingStep<Tiny<Alone>, Reference<double>> step({}, options);
  draw(step);
  ViewBatch batch = drawn_batch(options.shape, 5);
  const double both = loss_of(step, batch);
  CHECK(both > 1e-3);
  CHECK(both < 1);
  // Each view by itself is what both are where they are the same.
  double mean = 0;
  for (const std::size_t view : {std::size_t{0}, std::size_t{1}}) {
    ViewBatch same = batch;
    same.images[1 - view] = batch.images[view];
    mean += loss_of(step, same) / 2;
  }
  CHECK(both == Approx(mean).epsilon(1e-12));
  std::copy(step.student().flat().begin(), step.student().flat().end(), step.teacher().data());
  CHECK(std::abs(loss_of(step, batch)) < 1e-12);
}

TEST_CASE("kernel alignment refuses views of one patch") {
  auto options = options_of<Alone>();
  for (auto& view : options.shape.views) view = {2, 2};
  CHECK(refusal_of<Alone>(options) ==
        "option 'patches of a view' is 1; expected at least 2: the term 'kernel-alignment' compares the patches of a view");
}
